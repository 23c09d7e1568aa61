"""Cloudflare's own answers, told apart from the host's: one test for each number, in each of its dresses."""

from __future__ import annotations

import pytest

from api_host_client import Client
from api_host_client.errors import (
    AccessDenied,
    DownloadFailed,
    EdgeError,
    EdgeTimeout,
    HostUnreachable,
    NotAnAnswer,
    NotAnApiHost,
    Redirected,
    TooManyRequests,
    TunnelGone,
)
from tests.fakes.edge import Edge, json_reply, raw, whole

PAGE = """<!DOCTYPE html><html class="no-js"><head><title>{title}</title></head><body><h1>
<span class="cf-error-type" data-translate="error">Error</span>
<span class="cf-error-code">{code}</span></h1><p>Ray ID: 8c1f2a3b</p></body></html>"""
KINDS = [
    (502, HostUnreachable),
    (504, EdgeTimeout),
    (520, HostUnreachable),
    (521, HostUnreachable),
    (522, HostUnreachable),
    (523, HostUnreachable),
    (524, EdgeTimeout),
    (525, HostUnreachable),
    (526, HostUnreachable),
    (530, TunnelGone),
]


@pytest.mark.parametrize(("status", "kind"), KINDS)
def test_each_status_of_the_edge_has_its_type_as_a_page(
    edge: Edge, client: Client, status: int, kind: type[EdgeError]
) -> None:
    page = PAGE.format(title=f"name.trycloudflare.com | {status}: Bad", code=status)
    edge.answers(whole(page, status, "text/html; charset=UTF-8", CF_RAY="8c1f2a3b-FRA"))
    with pytest.raises(kind) as caught:
        client.chat("Hello")
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code, caught.value.ray) == (status, status, "8c1f2a3b-FRA")
    assert len(edge.requests) == 1, "a generation is not repeated: the host may have begun it"


@pytest.mark.parametrize(("status", "kind"), [pair for pair in KINDS if pair[0] != 504])
@pytest.mark.parametrize("body", ["error code: {status}", "", "Bad gateway, said some proxy"])
def test_each_status_of_the_edge_has_its_type_as_plain_text(
    edge: Edge, client: Client, status: int, kind: type[EdgeError], body: str
) -> None:
    edge.answers(whole(body.format(status=status), status, "text/plain"))
    with pytest.raises(kind) as caught:
        client.chat("Hello")
    assert caught.value.code == status


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (530, 1033, TunnelGone),
        (530, 1016, TunnelGone),
        (429, 1015, TooManyRequests),
        (403, 1010, AccessDenied),
        (403, 1020, AccessDenied),
        (403, 1006, AccessDenied),
    ],
)
def test_the_1000s_are_found_in_text_in_pages_and_in_json(
    edge: Edge, client: Client, status: int, code: int, kind: type[EdgeError]
) -> None:
    problem = {"title": f"Error {code}", "status": status, "error_code": code, "cloudflare_error": True}
    edge.answers(
        whole(f"error code: {code}\n", status, "text/plain; charset=UTF-8"),
        whole(PAGE.format(title="Attention", code=code), status),
        json_reply({**problem, "retry_after": 99}, status),
    )
    for _ in range(3):
        with pytest.raises(kind) as caught:
            client.chat("Hello")
        assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.retry_after == 99


@pytest.mark.parametrize(
    "body",
    ["[" * 100_000, '{"cloudflare_error": true, "error_code": 1015, "retry_after": 1' + "0" * 400 + "}"],
)
def test_json_that_nobody_can_read_is_the_edges_all_the_same(edge: Edge, client: Client, body: str) -> None:
    edge.answers(whole(body, 502, "application/json"))
    with pytest.raises(EdgeError) as caught:
        client.chat("Hello")
    assert (caught.value.status, caught.value.retry_after) == (502, None)


def test_a_gone_tunnel_says_to_take_the_new_url(edge: Edge, client: Client) -> None:
    edge.answers(whole("error code: 1033", 530, "text/plain"))
    with pytest.raises(TunnelGone, match="the URL that the host prints now"):
        client.chat("Hello")


def test_a_timeout_of_the_edge_says_to_stream(edge: Edge, client: Client) -> None:
    edge.answers(whole("error code: 524", 524, "text/plain"))
    with pytest.raises(EdgeTimeout, match="stream_chat"):
        client.chat("Hello")


def test_a_page_of_429_without_a_number_is_too_many_requests(edge: Edge, client: Client) -> None:
    edge.answers(whole("<html><body>Slow down</body></html>", 429))
    with pytest.raises(TooManyRequests):
        client.chat("Hello")


def test_a_challenge_is_access_denied(edge: Edge, client: Client) -> None:
    edge.answers(whole("<!doctype html><title>Just a moment...</title>", 403, cf_mitigated="challenge"))
    with pytest.raises(AccessDenied, match="challenge"):
        client.chat("Hello")


@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_web_page_is_no_api_host_whatever_its_status(edge: Edge, client: Client, status: int) -> None:
    edge.answers(
        whole("<!DOCTYPE html><html><body>Welcome to nginx! Error 404</body></html>", status),
        whole("\n <html>no type</html>", status, "application/octet-stream"),
        whole("<html></html>", status),
    )
    for ask in (lambda: client.chat("Hello"), client.models, lambda: client.stream_chat("Hello")):
        with pytest.raises(NotAnApiHost, match="check the URL"):
            ask()


def test_a_redirect_is_not_followed_and_its_query_not_shown(edge: Edge, client: Client) -> None:
    edge.answers(whole("", 302, Location="https://elsewhere.example/login?next=secret"))
    with pytest.raises(Redirected, match=r"https://elsewhere\.example/login; ") as caught:
        client.chat("Hello")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("place", [b"\xff", b"http://["])
def test_a_redirect_to_what_is_no_address_is_no_answer(edge: Edge, client: Client, place: bytes) -> None:
    edge.answers(raw(b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % place))
    with pytest.raises(NotAnAnswer, match="is this the URL of an API Host"):
        client.chat("Hello")


def test_a_502_in_the_hosts_own_words_stays_the_hosts(edge: Edge, client: Client) -> None:
    edge.answers(
        json_reply({"error": "the download failed", "code": "download_failed"}, 502, Server="cloudflare")
    )
    with pytest.raises(DownloadFailed):
        client.chat("Hello")


def test_a_stream_meets_the_edge_as_a_plain_request_does(edge: Edge, client: Client) -> None:
    edge.answers(whole("error code: 1033", 530, "text/plain"))
    with pytest.raises(TunnelGone):
        client.stream_chat("Hello")
