"""The token is in one header of each request, and nowhere else."""

from __future__ import annotations

import json
import logging
import traceback

import pytest

from api_host_client import Client, ClientError
from api_host_client.errors import HostError
from tests.fakes.edge import Edge, Reply, Seen, event, events, json_reply, raw, text, whole

TOKEN = "secret-token/with+signs"
ANSWER = {"answer": {"role": "assistant", "content": "yes"}}


def everything_shown(error: BaseException) -> str:
    shown = [repr(error), str(error), repr(vars(error)), *traceback.format_exception(error)]
    links = [link for link in (error.__cause__, error.__context__) if link]
    return "\n".join(shown + [everything_shown(link) for link in links])


def test_the_token_travels_in_a_header_only(edge: Edge, client: Client) -> None:
    edge.answers(json_reply(ANSWER), json_reply({"models": []}), json_reply({}))
    client.chat("Hello")
    client.models()
    client.unload("demo")
    for seen in edge.requests:
        assert seen.headers.pop("Authorization") == f"Bearer {TOKEN}"
        assert TOKEN not in f"{seen.path} {seen.headers} {seen.body.decode()}"


def test_a_client_does_not_show_its_token(edge: Edge, client: Client) -> None:
    assert TOKEN not in repr(client)
    assert "token=***" in repr(client)
    assert TOKEN not in repr(vars(client)) + repr(vars(client._transport))
    assert "token=None" in repr(Client(edge.url))


def echo_as(status: int, content_type: str) -> Reply:
    def reply(seen: Seen) -> Reply:
        said = seen.headers["Authorization"]
        body = json.dumps({"error": [said], "code": "invalid_request", "seen": {said: [said]}})
        return whole(body if "json" in content_type else f"you sent {said}", status, content_type)

    return reply  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("status", "content_type"),
    [
        (400, "application/json"),
        (200, "application/json"),
        (500, "text/plain"),
        (502, "text/html"),
        (200, "text/html"),
    ],
)
def test_an_edge_that_echoes_the_token_does_not_get_it_into_an_error(
    edge: Edge, client: Client, status: int, content_type: str
) -> None:
    edge.answers(echo_as(status, content_type))
    with pytest.raises(ClientError) as caught:
        client.chat("Hello")
    assert TOKEN not in everything_shown(caught.value)


def test_a_late_error_that_echoes_the_token_is_scrubbed(edge: Edge, client: Client) -> None:
    edge.answers(events(text("a"), event({"error": f"Bearer {TOKEN}", "code": "worker_died"}, "error")))
    with pytest.raises(HostError) as caught:
        client.stream_chat("Hello").answer()
    assert TOKEN not in everything_shown(caught.value)
    assert "***" in caught.value.message


def test_a_broken_connection_does_not_show_the_token_and_neither_does_the_log(
    edge: Edge, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    edge.answers(raw(), whole("error code: 1033", 530, "text/plain"))
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            client.chat("Hello")
        assert TOKEN not in everything_shown(caught.value)
    assert caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "schlüssel-wörtlich", "null\0byte"])
def test_a_token_that_no_header_can_carry_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(ValueError, match="token:") as caught:
        Client("https://host.example", token)
    assert token not in str(caught.value)


def test_white_space_around_a_pasted_token_is_taken_off(edge: Edge) -> None:
    edge.answers(json_reply(ANSWER))
    with Client(edge.url, f" {TOKEN}\n") as client:
        client.chat("Hello")
    assert edge.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_a_login_from_the_netrc_file_does_not_replace_the_token(
    edge: Edge, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    netrc = tmp_path / "netrc"  # type: ignore[operator]
    netrc.write_text("machine 127.0.0.1 login me password netrc-secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    edge.answers(json_reply(ANSWER), json_reply(ANSWER))
    for token in (TOKEN, None):
        with Client(edge.url, token) as client:
            client._transport._session().trust_env = True
            client.chat("Hello")
    assert [seen.headers.get("Authorization") for seen in edge.requests] == [f"Bearer {TOKEN}", None]
