"""``api-host serve`` and ``api-host demo``: a host from its start to Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import time
from collections.abc import Callable

import pytest
import requests

from api_host.cli import exits
from tests.cli.terminal import (
    CTRL_C,
    TIMEOUT_S,
    Cli,
    Start,
    Terminal,
    interrupt,
    listening_at,
    serving_url,
)
from tests.fakes.asking import free_port

SERVE = ("serve", "--model", "demo", "--no-tunnel", "--port", "0")
TOKEN = "my-long-secret"


def test_serve_answers_until_ctrl_c_and_leaves_nothing_behind(start: Start) -> None:
    process = start(*SERVE, API_HOST_TOKEN=TOKEN)
    assert process.stdout is not None
    assert TOKEN in process.stdout.readline()
    url = serving_url(process)
    assert ask(url).status_code == 200
    code, err = interrupt(process)
    assert code == 0
    assert "Traceback" not in err
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1)


def ask(url: str, **parameters: object) -> requests.Response:
    body = {"model": "demo", "inputs": "A cat sat on", "parameters": {"max_tokens": 4, **parameters}}
    return requests.post(
        f"{url}/api", json=body, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=TIMEOUT_S
    )


def test_serve_ends_cleanly_on_sigterm_too(start: Start) -> None:
    process = start(*SERVE)
    serving_url(process)
    code, err = interrupt(process, signal.SIGTERM)
    assert code == exits.TERMINATED
    assert "Traceback" not in err


def test_serve_without_a_token_asks_for_none(start: Start) -> None:
    process = start(*SERVE, "--no-token")
    url = serving_url(process)
    assert requests.get(f"{url}/api/models", timeout=TIMEOUT_S).status_code == 200
    assert interrupt(process)[0] == 0


def test_at_a_terminal_the_facts_stand_on_a_screen_that_is_drawn_in_place(
    terminal: Callable[..., Terminal],
) -> None:
    shown = terminal(*SERVE, API_HOST_TOKEN=TOKEN)
    shown.until("Access token: ", "Local URL", "loaded")
    url = re.findall(r"http://127\.0\.0\.1:\d+", shown.screen)[0]
    assert ask(url).status_code == 200
    assert ask(url, temperature=-1).status_code == 400
    shown.until("2 ended", "Last error", "temperature")
    began = time.monotonic()
    # Ctrl-C drops what is on its way to a terminal, so it comes behind the last line of a picture.
    shown.until(*["api-host chat --url URL"] * 5)
    assert time.monotonic() - began > 2, "more than about once a second"
    assert not shown.echoes, "typed keys would spoil the screen"
    shown.type(f"nobody sees this{CTRL_C}")
    assert shown.to_the_end() == 0
    assert shown.echoes
    screen = shown.screen
    assert screen.count("Local URL") == 1 and "stopped after" in screen
    assert screen.count(TOKEN) == 1 and screen.startswith(f"Access token: {TOKEN}\n")
    assert re.search(r"Requests +2 ended, 0 running, 0 waiting", screen)
    assert re.search(r"Tokens +4 generated", screen)
    assert "^C" not in screen and "nobody" not in screen and "Traceback" not in screen


@pytest.mark.parametrize("why", [{"arguments": "--plain"}, {"CI": "true"}, {"TERM": "dumb"}])
def test_lines_come_where_no_screen_is_wanted(terminal: Callable[..., Terminal], why: dict[str, str]) -> None:
    arguments = [why.pop("arguments")] if "arguments" in why else []
    shown = terminal(*SERVE, *arguments, **why)
    shown.until("Access token: ", "Local URL: http://", "Model: demo is loaded")
    shown.type(CTRL_C)
    assert shown.to_the_end() == 0
    assert "\x1b" not in shown.raw and shown.raw.count("Local URL: ") == 1


def test_json_tells_each_change_in_a_line_and_the_token_once(start: Start) -> None:
    process = start(*SERVE, "--json", API_HOST_TOKEN=TOKEN)
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert first["token"] == TOKEN and first["local_url"].startswith("http://127.0.0.1:")
    assert (first["public_url"], first["no_public_url"]) == (None, None)
    line = first
    while line["models"][0]["status"] != "loaded":
        line = json.loads(process.stdout.readline())
        assert "token" not in line
    assert line["models"][0]["name"] == "demo" and line["models"][0]["n_ctx"] > 0
    assert interrupt(process)[0] == 0


def test_a_host_whose_reader_has_gone_ends_as_by_ctrl_c(start: Start) -> None:
    process = start("serve", "--no-tunnel", "--port", "0", "--json", API_HOST_TOKEN=TOKEN)
    assert process.stdout is not None and process.stderr is not None
    url = json.loads(process.stdout.readline())["local_url"]
    process.stdout.close()
    with contextlib.suppress(requests.ConnectionError):  # the host may end before its model has come
        assert ask(url).status_code in (200, 503)
    assert process.wait(TIMEOUT_S) == 0
    assert process.stderr.read() == ""
    process.stdout = None  # nothing is left to read for who ends it


def test_quiet_prints_nothing_but_a_token_that_was_made(start: Start) -> None:
    port = free_port()
    process = start("serve", "--quiet", "--no-tunnel", "--port", str(port))
    assert process.stdout is not None
    token = process.stdout.readline().strip()
    assert len(token) >= 24 and ":" not in token
    wait_for(f"http://127.0.0.1:{port}/health")
    assert interrupt(process)[0] == 0
    port = free_port()
    quiet = start("serve", "--quiet", "--no-tunnel", "--port", str(port), API_HOST_TOKEN=TOKEN)
    wait_for(f"http://127.0.0.1:{port}/health")
    quiet.send_signal(signal.SIGINT)
    out, err = quiet.communicate(timeout=TIMEOUT_S)
    assert (out, err, quiet.returncode) == ("", "", 0)


def wait_for(url: str) -> None:
    session = requests.Session()
    retries = requests.adapters.Retry(total=None, connect=200, backoff_factor=0.05, backoff_max=0.1)
    session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retries))
    with session:
        assert session.get(url, timeout=TIMEOUT_S).ok


def test_the_demo_answers_with_its_pace_and_says_how_to_go_on(cli: Cli) -> None:
    done = cli("demo")
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout and "Rome" in done.stdout
    paces = [float(pace) for pace in re.findall(r"\((\d+) tokens per second\)", done.stdout)]
    assert len(paces) == 3 and min(paces) > 0
    assert "api-host serve" in done.stdout
    assert cli("demo", "--quiet").stdout.splitlines()[0] == "The capital of France is Paris."


def test_the_demo_listens_to_this_machine_alone(start: Start) -> None:
    process = start("demo", API_HOST_ADDRESS="0.0.0.0")
    serving_url(process)
    assert listening_at(process) == {"127.0.0.1"}


def test_ctrl_c_in_the_demo_leaves_no_traceback(start: Start) -> None:
    process = start("demo")
    serving_url(process)
    code, err = interrupt(process)
    assert code == exits.INTERRUPTED
    assert "Traceback" not in err
