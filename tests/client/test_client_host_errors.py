"""The host's errors: each code has its type, and carries what the host said."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from api_host import errors as host_tree
from api_host_client import Client, errors
from api_host_client.errors import (
    ContextLengthExceeded,
    GatedRepo,
    HostError,
    InvalidRequest,
    ModelFileNotFound,
    ModelNotFound,
    Overloaded,
    QueueFull,
    WrongToken,
)
from api_host_client.host_errors import host_error_kinds
from api_host_client.reply import seconds_to_wait
from tests.fakes.edge import Edge, json_reply, whole


def raised(client: Client) -> HostError:
    with pytest.raises(HostError) as caught:
        client.chat("Hello")
    return caught.value


@pytest.mark.parametrize(("code", "kind"), sorted(host_error_kinds().items()))
def test_each_code_of_the_host_has_its_type(
    edge: Edge, client: Client, code: str, kind: type[HostError]
) -> None:
    edge.answers(json_reply({"error": "cause and cure", "code": code, "fact": 1}, 418))
    error = raised(client)
    assert type(error) is kind
    assert (error.message, error.status, error.code, error.details) == (
        "cause and cure",
        418,
        code,
        {"fact": 1},
    )
    assert "cause and cure" in str(error)
    assert f"[418 {code}]" in str(error)


def test_the_codes_are_those_of_the_hosts_own_tree() -> None:
    kinds = [kind for kind in vars(host_tree).values() if isinstance(kind, type)]
    codes = {kind.code for kind in kinds if issubclass(kind, host_tree.ApiHostError)}
    never_sent_or_general = {"internal_error", "tunnel_failed"}
    assert codes - set(host_error_kinds()) <= never_sent_or_general
    assert set(host_error_kinds()) <= codes


def test_every_class_of_the_tree_is_drawn_in_the_docstring() -> None:
    drawn = errors.__doc__ or ""
    assert [name for name in errors.__all__ if f" {name} " not in drawn.replace("\n", " ")] == []


def test_all_wrong_fields_are_listed(edge: Edge, client: Client) -> None:
    problems = ["max_tokens: 0 is below 1", "colour: unknown field"]
    edge.answers(json_reply({"error": problems, "code": "invalid_request"}, 400))
    error = raised(client)
    assert isinstance(error, InvalidRequest)
    assert error.problems == problems
    assert "max_tokens: 0 is below 1; colour: unknown field" in str(error)


def test_details_are_attributes(edge: Edge, client: Client) -> None:
    edge.answers(
        json_reply({"error": "x", "code": "context_length_exceeded", "n_prompt_tokens": 9, "n_ctx": 8}, 400),
        json_reply({"error": "x", "code": "gated_repo", "accept_at": "https://hub.example/o/n"}, 403),
        json_reply({"error": "x", "code": "file_not_found", "available": ["a.gguf"]}, 404),
    )
    too_long, gated, missing = raised(client), raised(client), raised(client)
    assert isinstance(too_long, ContextLengthExceeded)
    assert (too_long.n_prompt_tokens, too_long.n_ctx) == (9, 8)
    assert isinstance(gated, GatedRepo)
    assert gated.accept_at == "https://hub.example/o/n"
    assert isinstance(missing, ModelFileNotFound)
    assert isinstance(missing, ModelNotFound)
    assert missing.available == ["a.gguf"]


def test_a_wrong_token_without_a_code_says_where_the_right_one_is(edge: Edge, client: Client) -> None:
    edge.answers(json_reply({"error": "wrong token"}, 403))
    error = raised(client)
    assert isinstance(error, WrongToken)
    assert "first line that the host prints" in str(error)


def test_a_code_from_a_later_host_gets_the_type_of_its_status(edge: Edge, client: Client) -> None:
    edge.answers(
        json_reply({"error": "x", "code": "brand_new"}, 400),
        json_reply({"error": "x", "code": "brand_new"}, 503),
        json_reply({"error": "nothing at this address", "code": "not_found"}, 404),
        json_reply({"error": {"message": "in another dialect", "code": "queue_full"}}, 500),
    )
    first, second, third, fourth = (raised(client) for _ in range(4))
    assert (type(first), first.code) == (InvalidRequest, "brand_new")
    assert (type(second), second.code) == (Overloaded, "brand_new")
    assert (type(third), third.status) == (HostError, 404)
    assert (type(fourth), fourth.message) == (QueueFull, "in another dialect")


def test_an_error_in_plain_text_is_the_hosts_when_nothing_speaks_for_the_edge(
    edge: Edge, client: Client
) -> None:
    edge.answers(whole("Malformed Request-Line", 400, "text/plain"), whole("", 500, "text/plain"))
    first, second = raised(client), raised(client)
    assert (type(first), first.message) == (InvalidRequest, "Malformed Request-Line")
    assert (type(second), second.message) == (HostError, "the host gave no reason")


def test_an_error_survives_a_process_pool() -> None:
    import pickle

    error = QueueFull("full", status=429, details={"limit": 3}, retry_after=2.0)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.details, copy.retry_after) == (str(error), {"limit": 3}, 2.0)


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    in_a_minute = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=60), usegmt=True)
    assert seconds_to_wait("7") == 7.0
    assert seconds_to_wait(0.5) == 0.5
    assert 55 < (seconds_to_wait(in_a_minute) or 0) <= 60
    assert seconds_to_wait("Thu, 01 Jan 1970 00:00:00 GMT") == 0.0
    for too_large in ("Thu, 01 Jan 2020 00:00:00 +99999999999999", 10**400):
        assert seconds_to_wait(too_large) is None
    no_times: list[object] = [None, "", "soon", "-1", "nan", "inf", True, []]
    assert all(seconds_to_wait(value) is None for value in no_times)
