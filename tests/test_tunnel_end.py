"""How a tunnel ends: killed, disconnected, stopped, left alone; on a stand-in cloudflared in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from api_host.tunnel import Timing
from tests.fakes.processes import is_gone
from tests.fakes.tunnel_ground import Ground, failure_of, is_open, soon

pytest_plugins = ["tests.fakes.tunnel_fixtures"]


def test_a_killed_process_is_replaced_and_the_new_url_announced(ground: Ground) -> None:
    tunnel = ground.tunnel()
    first = tunnel.start()
    os.kill(ground.state["pid"], signal.SIGKILL)
    assert soon(lambda: len(ground.urls) == 2)
    assert ground.urls == [first, ground.state["url"]]
    assert tunnel.url == ground.state["url"] != first
    assert [said.split(" with ")[0] for said in ground.problems] == ["the tunnel ended"]


def test_a_process_whose_guard_was_killed_goes_too_and_is_replaced(ground: Ground) -> None:
    ground.tunnel().start()
    orphan = psutil.Process(ground.state["pid"])
    os.kill(orphan.ppid(), signal.SIGKILL)
    assert soon(lambda: len(ground.urls) == 2)
    assert is_gone(orphan)


def test_a_tunnel_that_loses_its_connection_is_replaced(ground: Ground) -> None:
    first = ground.tunnel("unready,ok").start()
    os.kill(ground.state["pid"], signal.SIGUSR1)
    assert soon(lambda: len(ground.urls) == 2)
    assert ground.urls == [first, ground.state["url"]]
    assert "lost its connection" in ground.problems[0]


def test_the_url_is_none_while_the_tunnel_is_down(ground: Ground) -> None:
    tunnel = ground.tunnel("dies,refuse_429")
    tunnel.start()
    os.kill(ground.state["pid"], signal.SIGUSR1)
    assert soon(lambda: len(ground.problems) == 2)
    assert tunnel.url is None
    assert "tunnel was deleted" in ground.problems[0]


def test_stop_leaves_no_process_thread_or_port(ground: Ground) -> None:
    tunnel = ground.tunnel()
    tunnel.start()
    state = ground.state
    process = psutil.Process(state["pid"])
    tunnel.stop()
    tunnel.stop()
    assert tunnel.url is None
    assert is_gone(process)
    assert not is_open(state["proxy"])
    assert not is_open(f"127.0.0.1:{state['metrics']}")


def test_a_process_that_ignores_sigterm_is_killed(ground: Ground) -> None:
    tunnel = ground.tunnel("stubborn")
    tunnel.start()
    process = psutil.Process(ground.state["pid"])
    began = time.monotonic()
    tunnel.stop()
    assert 1.5 < time.monotonic() - began < 15.0
    assert is_gone(process)


@pytest.mark.parametrize("mode", ["silent", "never_ready"])
def test_stop_in_the_middle_of_start_ends_both_at_once(ground: Ground, mode: str) -> None:
    tunnel = ground.tunnel(mode, Timing(silence=30.0))
    said: list[str] = []
    starting = threading.Thread(target=lambda: said.append(failure_of(tunnel)[0]))
    starting.start()
    assert soon(lambda: ground.state["launches"])
    process, began = psutil.Process(ground.state["pid"]), time.monotonic()
    tunnel.stop()
    starting.join()
    assert time.monotonic() - began < 10.0  # of 20 to 30 s that it would have waited
    assert "stopped" in said[0]
    assert is_gone(process)


def test_a_stopped_tunnel_can_be_started_again(ground: Ground) -> None:
    tunnel = ground.tunnel()
    first = tunnel.start()
    tunnel.stop()
    assert tunnel.start() != first
    assert ground.state["launches"] == 2


def test_a_listener_may_fail_or_stop_the_tunnel(ground: Ground) -> None:
    def listen(url: str) -> None:
        if not ground.urls:
            ground.urls.append(url)
            os.kill(ground.state["pid"], signal.SIGKILL)
            raise OSError("the cell's output is closed")
        tunnel.stop()
        ground.urls.append(url)

    tunnel = ground.tunnel(on_url=listen)
    tunnel.start_in_background()
    assert soon(lambda: len(ground.urls) == 2 and tunnel.url is None)
    assert ground.state["launches"] == 2


def test_the_killed_host_takes_cloudflared_along(ground: Ground) -> None:
    host = "; ".join(
        [
            "import sys, time",
            "from api_host.tunnel import Timing, Tunnel",
            "timing = Timing(silence=30.0, settle=0.01)",
            "tunnel = Tunnel(sys.argv[1], print, print, sys.argv[2], probe=bool, timing=timing)",
            "tunnel.start()",
            "time.sleep(60)",
        ]
    )
    arguments = [sys.executable, "-c", host, ground.local_url, ground.program]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        assert soon(lambda: "proxy" in ground.state)
        child = psutil.Process(ground.state["pid"])
        process.kill()
    gone = soon(lambda: is_gone(child))
    if not gone:
        child.kill()
    assert gone
