"""The fields of the Ollama API: what they become, and every way to be refused, on a pipeline without models."""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import pytest
import requests

from api_host.errors import InvalidRequest, QueueFull
from api_host.generation import GenerationRequest, Message, SamplingParams
from api_host.web.dialects.ollama.options import DEFAULTS, Options, Whole
from tests.fakes.pipeline import Step, answer
from tests.web.site import TOKEN, Site, read_all

HI = [{"role": "user", "content": "Hi"}]


def refused(response: requests.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    return str(response.json()["error"])


def asked(site: Site) -> GenerationRequest:
    return site.pipeline.requests[-1]


def test_a_prompt_becomes_a_chat_with_its_system_turn_unless_it_is_raw(site: Site) -> None:
    site.post({"prompt": "Hi", "system": "Be brief", "context": [1, 2]}, "/api/generate")
    assert asked(site).inputs == [Message("system", "Be brief"), Message("user", "Hi")]
    assert (asked(site).prefix_tokens, asked(site).want_tokens) == ([1, 2], True)
    site.post({"prompt": "Hi", "system": "Be brief", "raw": True}, "/api/generate")
    assert (asked(site).inputs, asked(site).want_tokens) == ("Hi", False)
    site.post({"prompt": "def f(", "suffix": "return x"}, "/api/generate")
    assert (asked(site).inputs, asked(site).suffix) == ("def f(", "return x")


def test_a_model_without_a_template_gets_the_prompt_as_text(site: Site) -> None:
    def script(request: GenerationRequest | None) -> list[Step]:
        assert request is not None
        if isinstance(request.inputs, str):
            return answer("plain")
        return [InvalidRequest("options.chat_format: this model carries no chat template")]

    site.pipeline.script = script
    body = site.post({"prompt": "Hi", "system": "Be brief", "stream": False}, "/api/generate").json()
    assert body["response"] == "plain"
    assert asked(site).inputs == "Be brief\n\nHi"
    named = {"prompt": "Hi", "stream": False, "options": {"chat_format": "nonsense"}}
    assert "options.chat_format: " in refused(site.post(named, "/api/generate"), 400)
    assert "options.chat_format: " in refused(site.post({"messages": HI}, "/api/chat"), 400)


def test_options_have_ollamas_names_and_defaults(site: Site) -> None:
    site.post({"prompt": "Hi"}, "/api/generate")
    expected = SamplingParams(max_tokens=1_000_000, **DEFAULTS)
    assert asked(site).sampling == expected
    assert (DEFAULTS["temperature"], DEFAULTS["top_k"], DEFAULTS["top_p"]) == (0.8, 40, 0.9)
    options = {"num_predict": 7, "num_ctx": 512, "seed": 3, "stop": ["x"], "mirostat": 2, "typical_p": 0.5}
    ignored = {
        "num_keep": 4,
        "num_batch": 8,
        "penalize_newline": True,
        "tfs_z": 1.0,
        "no_such": 1,
        "top_k": None,
    }
    site.post({"prompt": "Hi", "options": {**options, **ignored}}, "/api/generate")
    changed = {"max_tokens": 7, "seed": 3, "stop": ["x"], "mirostat": 2, "typical_p": 0.5}
    assert asked(site).sampling == dataclasses.replace(expected, **changed)
    assert (asked(site).options.ctx_length, asked(site).options.use_gpu) == (512, None)
    site.post({"prompt": "Hi", "options": {"num_predict": -1, "seed": -1, "num_gpu": 0}}, "/api/generate")
    seed = asked(site).sampling.seed
    assert seed is not None and asked(site).sampling == dataclasses.replace(expected, seed=seed)
    assert asked(site).options.use_gpu is False


def test_whole_numbers_of_options_may_be_written_with_a_point(site: Site) -> None:
    given = {"num_predict": 7.0, "num_ctx": 512.0, "seed": 3.0, "top_k": 5.0, "repeat_last_n": 8.0}
    site.post({"messages": HI, "options": {**given, "mirostat": 0.0, "num_gpu": 0.0}}, "/api/chat")
    sampling, options = asked(site).sampling, asked(site).options
    assert (sampling.max_tokens, sampling.seed, sampling.top_k, sampling.repeat_last_n) == (7, 3, 5, 8)
    assert (options.ctx_length, options.use_gpu) == (512, False)
    error = refused(site.post({"messages": HI, "options": {"num_ctx": 512.5}}, "/api/chat"), 400)
    assert error.startswith("options.num_ctx: 512.5 is not a whole number")


def test_ranges_are_those_of_the_house() -> None:
    ours, house = (get_type_hints(kind, include_extras=True) for kind in (Options, SamplingParams))
    shared = (ours.keys() & house.keys()) - {"seed"}  # -1 is a random one
    assert len(shared) == 13
    for name in shared:
        whole = house[name].__origin__ is int
        assert ours[name] == (Annotated[house[name], Whole] if whole else house[name]) | None


@pytest.mark.parametrize(
    ("form", "schema"),
    [("json", {"type": "object"}), ({"type": "array"}, {"type": "array"}), ("", None), (None, None)],
)
def test_a_format_becomes_a_schema(site: Site, form: Any, schema: Any) -> None:
    site.post({"messages": HI, "format": form}, "/api/chat")
    assert asked(site).sampling.json_schema == schema


BODIES: dict[str, dict[str, Any]] = {
    "/api/generate": {"prompt": "Hi"},
    "/api/chat": {"messages": HI},
    "/api/embed": {"input": "Hi"},
    "/api/embeddings": {"prompt": "Hi"},
    "/api/show": {"model": "demo"},
    "/api/pull": {"model": "demo"},
}


@pytest.mark.parametrize("path", BODIES)
def test_every_refusal_is_one_sentence_under_error(site: Site, path: str) -> None:
    good = BODIES[path]
    url = site.url + path
    assert "wrong token" in refused(requests.post(url, json=good, timeout=10), 401)
    assert "not valid JSON" in refused(site.session.post(url, data=b'{"a": ', timeout=10), 400)
    assert "empty" in refused(site.session.post(url, timeout=10), 400)
    assert "object" in refused(site.session.post(url, json=[1], timeout=10), 400)
    assert "model: 5 is not text" in refused(site.post({**good, "model": 5}, path), 400)
    assert "repo_id" in refused(site.post({**good, "model": None, "file_name": "x.gguf"}, path), 400)
    xml = {"Content-Type": "application/xml"}
    assert refused(site.session.post(url, data="<a/>", headers=xml, timeout=10), 415)
    assert "POST" in refused(site.session.put(url, json=good, timeout=10), 405)
    assert refused(site.session.post(f"{url}/none", json=good, timeout=10), 404)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {1 << 25}1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as sock:
        sock.sendall(head.encode())
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 413")
    assert "at most" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


@pytest.mark.parametrize(
    ("path", "change", "sentence"),
    [
        ("/api/generate", {"format": 5}, "format: 5 is not known"),
        (
            "/api/generate",
            {"think": "much"},
            'think: "much" is not known; allowed: true, false, low, medium, high',
        ),
        ("/api/generate", {"keep_alive": "soon"}, 'keep_alive: "soon" is no duration'),
        ("/api/generate", {"keep_alive": True}, "keep_alive: true is no duration"),
        ("/api/generate", {"images": ["aGk="]}, "images: this host reads no images"),
        ("/api/generate", {"template": "x"}, "template: is not accepted"),
        ("/api/generate", {"context": [-1]}, "context.0: -1 is too small"),
        ("/api/generate", {"context": [2**70]}, "context.0: "),
        ("/api/generate", {"options": {"stop": "x"}}, 'options.stop: "x" is not a list'),
        ("/api/generate", {"options": {"num_predict": -3}}, "options.num_predict: -3 is too small"),
        ("/api/generate", {"top_logprobs": 21}, "top_logprobs: 21 is too large"),
        ("/api/chat", {"messages": [{"content": "x"}]}, "messages.0.role: is missing"),
        ("/api/chat", {"messages": [{"role": "robot"}]}, 'messages.0.role: "robot" is not known'),
        ("/api/chat", {"messages": [{**HI[0], "images": ["x"]}]}, "messages.0.images: this host reads no"),
        ("/api/chat", {"messages": "x"}, 'messages: "x" is not a list'),
        ("/api/chat", {"tools": [{"function": {}}]}, "tools.0.function.name: is missing"),
        ("/api/embed", {"input": 5}, "input: 5 is neither text nor a list"),
        ("/api/embed", {"input": ["a", ""]}, 'input.1: "" is no text'),
        ("/api/embed", {"input": ["a"] * 3000}, "input: 3000 texts"),
        ("/api/embed", {"dimensions": 0}, "dimensions: 0 is too small"),
    ],
)
def test_a_wrong_field_is_named(site: Site, path: str, change: dict[str, Any], sentence: str) -> None:
    assert refused(site.post({**BODIES[path], **change}, path), 400).startswith(sentence)


def test_every_wrong_field_is_named_at_once_and_unknown_ones_are_ignored(site: Site) -> None:
    body = {"prompt": 5, "stream": "yes", "format": 5, "options": {"top_p": 2}, "no_such": 1}
    error = refused(site.post(body, "/api/generate"), 400)
    assert all(name in error for name in ("prompt: ", "stream: ", "format: ", "options.top_p: "))
    assert "no_such" not in error
    assert site.post({"prompt": "Hi", "no_such": 1}, "/api/generate").status_code == 200


def test_an_error_of_the_house_speaks_of_this_apis_fields(site: Site) -> None:
    def error(refusal: Exception, path: str) -> requests.Response:
        site.pipeline.refusal = refusal
        return site.post(BODIES[path], path)

    def schema() -> Exception:
        return InvalidRequest("parameters.json_schema: no grammar")

    inputs: Callable[[], Exception] = lambda: InvalidRequest("inputs: too long; ask for options.ctx_length")  # noqa: E731
    assert refused(error(schema(), "/api/chat"), 400) == "format: no grammar"
    assert refused(error(inputs(), "/api/chat"), 400) == "messages: too long; ask for options.num_ctx"
    assert refused(error(inputs(), "/api/generate"), 400) == "prompt: too long; ask for options.num_ctx"
    full = error(QueueFull("full", retry_after=3), "/api/chat")
    assert (refused(full, 429), full.headers["Retry-After"]) == ("full", "3")
