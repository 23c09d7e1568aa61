"""``api-host serve`` and ``api-host demo``: a host from its start to Ctrl-C."""

from __future__ import annotations

import re
import signal
import socket

import pytest
import requests

from tests.cli.terminal import TIMEOUT_S, Cli, Start, interrupt, serving_url


def test_serve_answers_until_ctrl_c_and_leaves_nothing_behind(start: Start) -> None:
    process = start("serve", "--model", "demo", "--no-tunnel", "--port", "0", API_HOST_TOKEN="my-long-secret")
    assert process.stdout is not None
    assert "my-long-secret" in process.stdout.readline()
    url = serving_url(process)
    body = {"inputs": "A cat sat on", "parameters": {"max_tokens": 4}}
    answer = requests.post(
        f"{url}/api", json=body, headers={"Authorization": "Bearer my-long-secret"}, timeout=TIMEOUT_S
    )
    assert answer.status_code == 200, answer.text
    code, err = interrupt(process)
    assert code in (0, 130)
    assert "Traceback" not in err
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1)


def test_serve_ends_cleanly_on_sigterm_too(start: Start) -> None:
    process = start("serve", "--model", "demo", "--no-tunnel", "--port", "0")
    serving_url(process)
    code, err = interrupt(process, signal.SIGTERM)
    assert code == 143
    assert "Traceback" not in err


def test_serve_without_a_token_asks_for_none(start: Start) -> None:
    process = start("serve", "--no-tunnel", "--no-token", "--port", "0", "--model", "demo")
    url = serving_url(process)
    assert requests.get(f"{url}/api/models", timeout=TIMEOUT_S).status_code == 200
    assert interrupt(process)[0] in (0, 130)


def test_the_demo_answers_with_its_pace_and_says_how_to_go_on(cli: Cli) -> None:
    done = cli("demo")
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout and "Rome" in done.stdout
    paces = [float(pace) for pace in re.findall(r"\((\d+) tokens per second\)", done.stdout)]
    assert len(paces) == 3 and min(paces) > 0
    assert "api-host serve" in done.stdout


def test_ctrl_c_in_the_demo_leaves_no_traceback(start: Start) -> None:
    process = start("demo")
    serving_url(process)
    code, err = interrupt(process)
    assert code in (0, 130)
    assert "Traceback" not in err
