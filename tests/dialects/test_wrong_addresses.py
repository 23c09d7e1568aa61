"""Base URLs with a part too many or too few, as clients are given them: they work, or the error says what to change."""

from __future__ import annotations

import anthropic
import ollama
import openai
import pytest

from api_host_client import Client, errors
from tests.web.site import TOKEN, Site, read_all

HI = "Hello"


def without_v1(site: Site) -> openai.OpenAI:
    return openai.OpenAI(base_url=site.url, api_key=TOKEN, max_retries=0)


@pytest.mark.parametrize(
    "path", ["//v1/chat/completions", "///api", "//api/chat", "/v1//chat/completions", "/api//chat"]
)
def test_slashes_count_once(site: Site, path: str) -> None:
    turns = [{"role": "user", "content": HI}]
    body = {"inputs": HI} if path.endswith("api") else {"model": "demo", "messages": turns}
    head, _, _ = read_all(site.raw(body, path, "Connection: close")).partition(b"\r\n")
    assert head == b"HTTP/1.1 200 OK"


def test_slashes_of_a_query_are_its_own(site: Site) -> None:
    answered = read_all(site.raw({"inputs": HI}, "//api?a=b//c", "Connection: close"))
    assert answered.startswith(b"HTTP/1.1 200 OK")


def test_a_length_that_is_told_twice_is_refused_unless_it_is_the_same(site: Site) -> None:
    answered = read_all(site.raw({"inputs": HI}, "/api", "Content-Length: 0\nConnection: close"))
    assert answered.startswith(b"HTTP/1.1 400 Bad Request") and answered.count(b"HTTP/1.1") == 1


def test_a_base_url_with_a_slash_before_v1_works(site: Site) -> None:
    with openai.OpenAI(base_url=f"{site.url}//v1", api_key=TOKEN, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["demo"]


def test_an_absolute_address_is_still_refused(site: Site) -> None:
    answered = read_all(site.raw({"inputs": HI}, "http://elsewhere/api"))
    assert answered.startswith(b"HTTP/1.1 400 Bad Request")


def test_api_may_end_in_a_slash(site: Site) -> None:
    assert site.post({"inputs": HI}, "/api/").json()["answer"]["content"] == "Hello there"


def test_openais_client_without_v1_is_told_to_add_it(site: Site) -> None:
    with without_v1(site) as client:
        calls = [
            lambda: client.chat.completions.create(model="demo", messages=[{"role": "user", "content": HI}]),
            lambda: client.completions.create(model="demo", prompt=HI),
            lambda: client.responses.create(model="demo", input=HI),
            lambda: client.models.list(),
            lambda: client.models.retrieve("demo"),
        ]
        for call in calls:
            with pytest.raises(openai.NotFoundError, match="an OpenAI base URL ends in /v1") as caught:
                call()
            assert caught.value.code == "not_found"


def test_openais_client_with_v1_twice_is_told_to_leave_one_out(site: Site) -> None:
    client = openai.OpenAI(base_url=f"{site.url}/v1/v1", api_key=TOKEN, max_retries=0)
    with client, pytest.raises(openai.NotFoundError, match="the base URL has /v1 twice"):
        client.models.list()


def test_anthropics_client_with_v1_is_told_to_leave_it_out(site: Site) -> None:
    with anthropic.Anthropic(base_url=f"{site.url}/v1", api_key=TOKEN, max_retries=0) as client:
        with pytest.raises(
            anthropic.NotFoundError, match="an Anthropic base URL does not end in /v1"
        ) as caught:
            client.messages.create(model="demo", max_tokens=5, messages=[{"role": "user", "content": HI}])
        assert caught.value.body["error"]["type"] == "not_found_error"  # type: ignore[index,call-overload]


def test_ollamas_client_with_v1_or_api_is_told_to_leave_it_out(site: Site) -> None:
    for end in ("v1", "api"):
        client = ollama.Client(f"{site.url}/{end}", headers={"Authorization": f"Bearer {TOKEN}"})
        with pytest.raises(ollama.ResponseError) as caught:
            client.chat("demo", [{"role": "user", "content": HI}])
        assert caught.value.error.endswith(f"an Ollama base URL does not end in /{end}")
        client.close()


def test_this_projects_client_with_v1_is_told_to_leave_it_out(site: Site) -> None:
    with Client(f"{site.url}/v1", TOKEN) as client:
        for call in (lambda: client.chat(HI), client.models, client.health):
            with pytest.raises(errors.HostError, match="takes the host's URL alone, without /v1"):
                call()
