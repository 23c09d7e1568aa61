"""Getting a tunnel, on a stand-in cloudflared: real processes, real sockets, a real proxy."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest
import requests

from api_host.tunnel import connect, diagnosis
from tests.fakes.cloudflared import VISITOR
from tests.fakes.tunnel_ground import FAST, Ground, Origin, failure_of, soon

pytest_plugins = ["tests.fakes.tunnel_fixtures"]


def test_start_announces_the_url_it_returns(ground: Ground) -> None:
    tunnel = ground.tunnel()
    url = tunnel.start()
    assert ground.urls == [url] == [tunnel.url]
    assert url == ground.state["url"]
    assert url.endswith(".trycloudflare.com")


def test_a_request_through_the_tunnel_reaches_the_local_server(ground: Ground) -> None:
    ground.tunnel().start()
    seen = requests.get(f"{ground.state['proxy']}/health", timeout=5).json()
    assert seen["CF-Connecting-IP"] == VISITOR
    assert seen["Host"].endswith(".trycloudflare.com")


def test_a_stream_flows_through_the_tunnel_unbuffered(ground: Ground, origin: Origin) -> None:
    ground.tunnel().start()
    with requests.post(ground.state["proxy"], data=b"x", stream=True, timeout=5) as answer:
        lines = answer.iter_lines(chunk_size=1)
        assert next(lines) == b"first x"
        origin.go_on.set()
        assert next(lines) == b"second"


def test_start_twice_is_one_tunnel(ground: Ground) -> None:
    tunnel = ground.tunnel()
    assert tunnel.start() == tunnel.start()
    assert ground.state["launches"] == 1


def test_the_url_is_asked_of_the_metrics_port_when_the_log_does_not_tell_it(ground: Ground) -> None:
    assert ground.tunnel("unnamed").start() == ground.state["url"]


def test_the_public_url_is_probed_before_it_is_announced(
    ground: Ground, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CLOUDFLARED_PUBLIC", "proxy")
    paths: list[str] = []
    tunnel = ground.tunnel(
        probe=None, url_pattern=r"http://127\.0\.0\.1:\d+(?= )", on_url=lambda url: paths.extend(origin.paths)
    )
    assert tunnel.start() == ground.state["proxy"]
    assert paths == ["/health"]


def test_a_url_that_cannot_be_looked_up_here_is_announced_all_the_same(ground: Ground) -> None:
    probed: list[str] = []

    def miss(url: str) -> bool:
        probed.append(url)
        return False

    assert ground.tunnel(probe=miss).start() == ground.state["url"]
    assert probed == [ground.state["url"]] * FAST.probes


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("refuse_429", "429"), ("no_network", "no network"), ("outage", "outage")],
)
def test_a_refusal_is_told_in_one_line_at_once(ground: Ground, mode: str, reason: str) -> None:
    said, took = failure_of(ground.tunnel(mode))
    assert reason in said
    assert "\n" not in said
    assert took < FAST.silence / 2
    assert ground.urls == []


def test_a_network_that_swallows_everything_is_told_soon(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for visitor in (first, second):
            visitor.setblocking(False)
            visitor.connect_ex(deaf.getsockname())
        monkeypatch.setattr(connect, "API_ADDRESS", deaf.getsockname())
        said, took = failure_of(ground.tunnel("silent", replace(FAST, silence=0.5)))
    assert "no network" in said
    assert 1.0 < took < FAST.url / 2


def test_a_tunnel_that_never_connects_is_launched_twice_and_then_given_up(ground: Ground) -> None:
    said, _ = failure_of(ground.tunnel("never_ready", replace(FAST, ready=0.4)))
    assert "7844" in said
    assert ground.state["launches"] == 2


def test_the_second_launch_may_connect(ground: Ground) -> None:
    assert ground.tunnel("never_ready,ok", replace(FAST, ready=2.0)).start() == ground.state["url"]
    assert len(ground.urls) == 1


def test_in_the_background_a_failure_is_reported_and_tried_again(ground: Ground) -> None:
    tunnel = ground.tunnel("no_network,outage,ok")
    tunnel.start_in_background()
    assert soon(lambda: ground.urls)
    assert ground.urls == [ground.state["url"]]
    assert [said.split()[0] for said in ground.problems] == ["no", "Cloudflare's"]
    assert tunnel.start() == tunnel.url


def test_a_refusal_with_429_is_not_tried_again_soon(ground: Ground) -> None:
    ground.tunnel("refuse_429,ok").start_in_background()
    assert soon(lambda: ground.problems)
    assert not soon(lambda: ground.state["launches"] > 1, 0.5)
    assert len(ground.problems) == 1


def test_a_problem_that_goes_on_is_reported_once(ground: Ground) -> None:
    ground.tunnel("outage").start_in_background()
    assert soon(lambda: ground.state["launches"] > 2)
    assert len(ground.problems) == 1


def test_cloudflared_gets_no_secret_no_foreign_option_and_no_config(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_HOST_TOKEN", "HF_TOKEN", "OPENAI_API_KEY", "TUNNEL_HOSTNAME"):
        monkeypatch.setenv(name, "x")
    ground.tunnel().start()
    state = ground.state
    left = {"API_HOST_TOKEN", "HF_TOKEN", "OPENAI_API_KEY", "TUNNEL_HOSTNAME"} & set(state["environment"])
    assert left == set()
    assert {"PATH", "NO_AUTOUPDATE"} <= set(state["environment"])
    assert state["arguments"] == [
        *("tunnel", "--config", os.devnull, "--no-autoupdate", "--metrics", "127.0.0.1:0"),
        *("--grace-period", "2s", "--protocol", "http2", "--url", ground.local_url),
    ]


def test_an_unknown_end_is_told_with_the_last_error_of_the_log() -> None:
    log = [
        '2026-01-05T10:00:00Z ERR Couldn\'t start tunnel error="bad clock"',
        "2026-01-05T10:00:01Z INF bye",
    ]
    said = diagnosis.diagnose(log, 1).message
    assert 'code 1 (Couldn\'t start tunnel error="bad clock")' in said
