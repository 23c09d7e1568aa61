"""What cannot be sent, such as the missing value of a table: refused by name, as an error of this package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from api_host_client import Client, ClientError
from api_host_client.errors import BadArgument
from tests.fakes.edge import Edge, json_reply

NAN = float("nan")
ANSWER: dict[str, Any] = {"answer": {"role": "assistant", "content": "yes"}}

NO_ADDRESSES = [
    *("http://[::1", "[", "http://[zz]", "http://[", "http://]", "http://."),
    *("http://host:99999", "http://host:abc", "http://host:-1"),
    *(
        "http://exa mple.com",
        "exa mple.com",
        "http://exa\tmple.com",
        "http://a..b.c",
        f"http://{'a' * 300}.com",
    ),
    *("http://\u00fc..c", "http://\uff06.com"),
]
REFUSED: list[tuple[Callable[[Any], object], str]] = [
    (lambda c: c.chat(NAN), "messages: nan is no chat; allowed: a text, or turns of role and content"),
    (lambda c: c.chat(None), "messages: None is no chat; "),
    (lambda c: c.chat(5), "messages: 5 is no chat; "),
    (lambda c: c.chat(b"hi"), "messages: b'hi' is no chat; "),
    (
        lambda c: c.chat({"role": "user", "content": "Hi"}),
        "messages: {'role': 'user', 'content': 'Hi'} is no",
    ),
    (lambda c: c.chat(["Hi"]), "messages.0: 'Hi' is no turn; allowed: role and content, or an Answer"),
    (
        lambda c: c.chat([{"role": "user", "content": NAN}]),
        "messages.0.content: nan cannot be sent; allowed: ",
    ),
    (lambda c: c.chat("Hi", system=NAN), "system: nan is no text; allowed: a text"),
    (lambda c: c.chat("Hi", temperature=NAN), "temperature: nan cannot be sent; allowed: "),
    (lambda c: c.chat("Hi", temperature=np.float32(NAN)), "temperature: "),
    (lambda c: c.chat("Hi", stop={"a"}), "stop: {'a'} cannot be sent; allowed: "),
    (lambda c: c.chat("Hi", stop=["a", b"b"]), "stop.1: b'b' cannot be sent; allowed: "),
    (
        lambda c: c.chat("Hi", logit_bias={(1, 2): 3.0}),
        "logit_bias: (1, 2) is no key; allowed: a text or a whole",
    ),
    (lambda c: c.chat("Hi", model=NAN), "model: nan cannot be sent; allowed: "),
    (
        lambda c: c.chat("Hi", temperature=np.zeros(2)),
        "temperature: array([0., 0.]) cannot be sent; allowed: ",
    ),
    (lambda c: c.stream_chat(NAN), "messages: nan is no chat; "),
    (lambda c: c.complete(NAN), "text: nan is no text; allowed: a text"),
    (lambda c: c.stream(None), "text: None is no text; allowed: a text"),
    (lambda c: c.embed(None), "text: None is no text; allowed: a text, or a list of texts"),
    (lambda c: c.embed(b"hi"), "text: b'hi' is no text; allowed: a text, or a list of texts"),
    (lambda c: c.embed(["a", NAN]), "text.1: nan is no text; allowed: a text"),
    (lambda c: c.chat("a\udc80"), "messages: '\\udc80' at character 1 is half a character, "),
    (
        lambda c: c.chat([{"role": "user", "content": "\ud83d"}]),
        "messages.0.content: '\\ud83d' at character 0 is half",
    ),
    (lambda c: c.chat("Hi", system="\ud83d"), "system: '\\ud83d' at character 0 is half"),
    (lambda c: c.chat("Hi", json_schema={"\ud83d": 1}), "json_schema: '\\ud83d' at character 0 is half"),
    (lambda c: c.stream("\ud83d"), "text: '\\ud83d' at character 0 is half"),
    (lambda c: c.embed(["a", "\ud83d"]), "text.1: '\\ud83d' at character 0 is half"),
    (lambda c: c.load(NAN), "model: nan cannot be sent; allowed: "),
    (lambda c: c.load("demo", ctx_length=NAN), "ctx_length: nan cannot be sent; allowed: "),
    (lambda c: c.unload(b"demo"), "model: b'demo' cannot be sent; allowed: "),
]


@pytest.mark.parametrize(("ask", "told"), REFUSED, ids=[told[:40] for _, told in REFUSED])
def test_what_cannot_be_sent_is_an_error_of_this_package_that_names_the_argument(
    edge: Edge, client: Client, ask: Callable[[Any], object], told: str
) -> None:
    with pytest.raises(ClientError) as caught:
        ask(client)
    assert str(caught.value).startswith(told)
    assert isinstance(caught.value, BadArgument)
    assert isinstance(caught.value, ValueError)
    assert edge.requests == []


def test_a_long_value_is_shown_short(client: Client) -> None:
    with pytest.raises(BadArgument) as caught:
        client.chat(b"x" * 10_000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200


def test_a_missing_value_fails_its_row_alone(edge: Edge, client: Client) -> None:
    edge.answers(json_reply(ANSWER), json_reply(ANSWER))

    def annotate(row: Any) -> str:
        try:
            return client.chat(row).text
        except ClientError:
            return "failed"

    assert [annotate(row) for row in ["a", NAN, None, "b"]] == ["yes", "failed", "failed", "yes"]


def test_the_scalars_of_numpy_are_numbers_and_tuples_are_lists(edge: Edge, client: Client) -> None:
    edge.answers(json_reply(ANSWER))
    bias = {np.int64(7): np.float64(-1.5)}
    client.chat("Hi", temperature=np.float32(0), seed=np.int64(3), stop=("a", np.str_("b")), logit_bias=bias)
    assert edge.requests[0].json["parameters"] == {
        "temperature": 0.0,
        "seed": 3,
        "stop": ["a", "b"],
        "logit_bias": {"7": -1.5},
    }


def test_turns_may_come_from_anything_that_gives_them(edge: Edge, client: Client) -> None:
    edge.answers(json_reply(ANSWER), json_reply({"embeddings": [[1.0], [2.0]]}))
    client.chat({"role": "user", "content": text} for text in ["Hi"])
    client.embed(np.array(["a", "b"]))  # type: ignore[arg-type]
    assert edge.requests[0].json["inputs"] == [{"role": "user", "content": "Hi"}]
    assert edge.requests[1].json["inputs"] == ["a", "b"]


@pytest.mark.parametrize("url", [None, NAN, "", "ftp://host", *NO_ADDRESSES])
def test_an_address_that_is_none_is_an_error_of_this_package(url: Any) -> None:
    with pytest.raises(BadArgument, match="url:"):
        Client(url)
    with pytest.raises(BadArgument, match="token:"):
        Client("http://127.0.0.1:5000", "a b")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "localhost:5000",
            "http://[::1]:5000/api/",
            "https://gr\u00fcn.example",
            "my_host",
            "http://a.example.",
        ),
        *("http://127.0.0.1", "https://name.trycloudflare.com/"),
    ],
)
def test_an_address_in_any_spelling_is_one(url: str) -> None:
    assert Client(url).url.endswith(url.removesuffix("/").removesuffix("/api"))


@pytest.mark.parametrize("timeout", [0, -1.0, NAN, float("inf"), None, "5", (1.0, 0), (1.0,)])
def test_a_timeout_that_is_none_is_an_error_of_this_package(timeout: Any) -> None:
    with pytest.raises(BadArgument, match="timeout:"):
        Client("http://127.0.0.1:5000", timeout=timeout)
