"""What the Ollama API answers with, on a pipeline without models: thinking, calls of tools, late errors, slow ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import ollama
import pytest
import requests

from api_host.errors import Cancelled, GenerationFailed, InvalidRequest, ModelBusy
from api_host.generation import (
    Accepted,
    Chunk,
    Finished,
    GenerationRequest,
    Message,
    Timings,
    ToolCall,
    Usage,
    Waiting,
)
from api_host.web.dialects.ollama.generations import OrPlain
from tests.fakes.pipeline import FakeGeneration, Step, answer
from tests.web.site import ENDLESS, TOKEN, Site, until

HI = [{"role": "user", "content": "Hi"}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome", "days": 2}}\n</tool_call>'


@pytest.fixture
def client(site: Site) -> Iterator[ollama.Client]:
    client = ollama.Client(site.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    yield client
    client.close()


def says(site: Site, *texts: str, prompt: str | None = None, pause: float = 0.0) -> None:
    steps = answer(*texts, pause=pause)
    steps[0] = Accepted("demo", 5, prompt)
    site.pipeline.script = lambda request: steps


def lines(response: requests.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/x-ndjson"
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]


def asked(site: Site) -> GenerationRequest:
    return site.pipeline.requests[-1]


def refused(response: requests.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    return str(response.json()["error"])


def test_streaming_is_the_default_and_each_line_has_the_whole_shape(site: Site) -> None:
    *pieces, last = lines(site.post({"model": "demo", "prompt": "Hi"}, "/api/generate"))
    assert [(piece["response"], piece["done"], piece["model"]) for piece in pieces] == [
        ("Hello", False, "demo"),
        (" there", False, "demo"),
    ]
    assert set(pieces[0]) == {"model", "created_at", "response", "done"}
    assert (last["done"], last["done_reason"], last["response"]) == (True, "stop", "")
    assert (last["prompt_eval_count"], last["eval_count"]) == (5, 2)
    assert (last["prompt_eval_duration"], last["eval_duration"]) == (500_000_000, 2_000_000_000)
    (piece, *_) = lines(site.post({"messages": HI}, "/api/chat"))
    assert piece["message"] == {"role": "assistant", "content": "Hello"}
    assert piece["model"] == "demo"


def test_a_whole_answer_folds_the_stream(site: Site) -> None:
    body = site.post({"model": "demo", "prompt": "Hi", "stream": False}, "/api/generate").json()
    assert (body["response"], body["done"], body["eval_count"]) == ("Hello there", True, 2)
    body = site.post({"messages": HI, "stream": False}, "/api/chat").json()
    assert body["message"] == {"role": "assistant", "content": "Hello there"}


def test_thinking_is_told_apart_in_both_routes(site: Site, client: ollama.Client) -> None:
    says(site, "<think>Hm", "m</think>\n\nIt is", " so.")
    whole = client.chat("demo", HI, think=True)
    assert (whole.message.thinking, whole.message.content) == ("Hmm", "It is so.")
    assert asked(site).template_values == {"enable_thinking": True}
    pieces = list(client.generate("demo", "Hi", think="high", stream=True))
    assert "".join(piece.thinking or "" for piece in pieces) == "Hmm"
    assert "".join(piece.response or "" for piece in pieces) == "It is so."
    assert asked(site).template_values == {"enable_thinking": True, "reasoning_effort": "high"}
    off = client.generate("demo", "Hi", think=False)
    assert (off.thinking, off.response) == (None, "It is so.")
    assert asked(site).template_values == {"enable_thinking": False}


def test_thinking_that_the_template_has_opened_and_text_that_only_looks_like_it(site: Site) -> None:
    says(site, "Hm</think>Yes", prompt="<|assistant|>\n<think>\n")
    body = site.post({"messages": HI, "stream": False}, "/api/chat").json()
    assert body["message"] == {"role": "assistant", "content": "Yes", "thinking": "Hm"}
    says(site, "<think>Hm</think>Yes")
    raw = site.post({"prompt": "Hi", "raw": True, "stream": False}, "/api/generate").json()
    assert (raw["response"], "thinking" in raw) == ("<think>Hm</think>Yes", False)


def test_calls_of_tools_come_whole_and_with_objects_as_arguments(site: Site, client: ollama.Client) -> None:
    says(site, "Let me see. ", CALL[:30], CALL[30:50], CALL[50:])
    *pieces, last = client.chat("demo", HI, tools=[WEATHER], stream=True)
    calls = [call for piece in pieces for call in piece.message.tool_calls or []]
    assert [(call.function.name, call.function.arguments) for call in calls] == [
        ("weather", {"city": "Rome", "days": 2})
    ]
    assert "".join(piece.message.content or "" for piece in pieces).strip() == "Let me see."
    assert (last.done, last.done_reason) == (True, "stop")
    (tool,) = asked(site).tools
    assert (tool["type"], tool["function"]["name"]) == ("function", "weather")
    assert (asked(site).show_control, asked(site).want_prompt) == (True, True)
    says(site, CALL, CALL.replace("Rome", "Oslo"))
    body = site.post({"messages": HI, "tools": [WEATHER], "stream": False}, "/api/chat").json()
    first, second = body["message"]["tool_calls"]
    assert first["function"] == {"index": 0, "name": "weather", "arguments": {"city": "Rome", "days": 2}}
    assert (second["function"]["index"], second["function"]["arguments"]["city"]) == (1, "Oslo")
    assert first["id"] != second["id"]


def test_a_call_with_a_bare_line_break_or_half_a_character_is_a_call(site: Site) -> None:
    arguments = {"city": "Rome\n", "half": "\ufffd"}
    for stream in (True, False):
        says(site, '<tool_call>{"name": "f", "arguments": {"city": "Rome\n", "half": "\\ud83d"}}</tool_call>')
        body = {"model": "demo", "messages": HI, "tools": [WEATHER], "stream": stream}
        first, *_ = lines(site.post(body, "/api/chat")) if stream else [site.post(body, "/api/chat").json()]
        (call,) = first["message"]["tool_calls"]
        assert call["function"]["arguments"] == arguments


def test_a_call_that_is_nested_too_deeply_is_text(site: Site) -> None:
    arguments = f'{{"a": {"[" * 3000}{"]" * 3000}}}'
    says(site, f'<tool_call>{{"name": "f", "arguments": {arguments}}}</tool_call>')
    answered = site.post({"model": "demo", "messages": HI, "tools": [WEATHER], "stream": False}, "/api/chat")
    assert answered.json()["message"]["content"] == f"f{arguments}"


def test_a_call_that_is_cut_off_is_text(site: Site) -> None:
    cut = CALL.partition(', "days"')[0]
    site.pipeline.script = lambda request: [
        Accepted("demo", 1),
        Chunk(cut),
        Chunk("", finish_reason="length"),
        Finished(Usage(), Timings()),
    ]
    body = site.post({"messages": HI, "tools": [WEATHER], "stream": False}, "/api/chat").json()
    assert "tool_calls" not in body["message"]
    assert "Rome" in body["message"]["content"]
    assert body["done_reason"] == "length"


def test_without_tools_what_looks_like_a_call_is_text(site: Site) -> None:
    says(site, CALL)
    body = site.post({"messages": HI, "stream": False}, "/api/chat").json()
    assert body["message"] == {"role": "assistant", "content": CALL}


def test_results_of_tools_are_joined_to_the_calls_they_answer(site: Site) -> None:
    call = {"function": {"name": "weather", "arguments": {"city": "Rome"}}}
    clock = {"function": {"name": "clock", "arguments": {}}, "id": "mine"}
    turns = [
        *HI,
        {"role": "assistant", "tool_calls": [call, clock, call]},
        {"role": "tool", "content": "noon", "tool_name": "clock"},
        {"role": "tool", "content": "sun", "tool_name": "weather"},
        {"role": "tool", "content": "rain"},
    ]
    site.post({"messages": turns}, "/api/chat")
    _, assistant, *results = asked(site).inputs
    assert isinstance(assistant, Message) and assistant.content == ""
    assert assistant.tool_calls[1] == ToolCall("clock", "{}", "mine")
    assert json.loads(assistant.tool_calls[0].arguments) == {"city": "Rome"}
    ids = [made.id for made in assistant.tool_calls]
    assert len(set(ids)) == 3 and "" not in ids
    assert [result.tool_call_id for result in results if isinstance(result, Message)] == [
        ids[1],
        ids[0],
        ids[2],
    ]
    assert [result.name for result in results if isinstance(result, Message)] == ["clock", "weather", None]


def test_a_slow_stream_is_kept_alive_so_that_the_client_never_notices(
    site: Site, client: ollama.Client
) -> None:
    waiting: list[Step] = [Waiting("queued"), 0.06, Waiting("queued"), 0.06, Waiting("queued"), 0.06]
    site.pipeline.script = lambda request: [*waiting, *answer("Hello", pause=0.06)]
    response = site.post({"prompt": "Hi"}, "/api/generate")
    assert response.text.startswith(" ") and "\n\n" not in response.text and "\n \n" not in response.text
    assert "".join(piece.response or "" for piece in client.generate("demo", "Hi", stream=True)) == "Hello"
    whole = site.post({"prompt": "Hi", "stream": False}, "/api/generate")
    assert whole.json()["response"] == "Hello"


def test_a_late_error_is_the_last_line(site: Site, client: ollama.Client) -> None:
    site.pipeline.script = lambda request: [
        Accepted("demo", 1),
        Chunk("He"),
        0.3,
        Chunk("llo"),
        GenerationFailed("it broke"),
    ]
    first, second, last = lines(site.post({"prompt": "Hi"}, "/api/generate"))
    assert (first["response"], second["response"], last) == ("He", "llo", {"error": "it broke"})
    stream = client.chat("demo", HI, stream=True)
    assert [next(stream).message.content, next(stream).message.content] == ["He", "llo"]
    with pytest.raises(ollama.ResponseError, match="it broke"):
        next(stream)
    whole = site.post({"prompt": "Hi", "stream": False}, "/api/generate")
    assert (whole.status_code, whole.json()) == (200, {"error": "it broke"})


def test_a_client_that_goes_cancels_the_generation(site: Site) -> None:
    site.pipeline.script = lambda request: ENDLESS
    with site.raw({"messages": HI}, "/api/chat") as sock:
        assert sock.recv(100)
    assert until(lambda: site.pipeline.generations[-1].ended.is_set())


@pytest.mark.parametrize("keep_alive", [0, 0.0, "0", "0s", "0h0m"])
def test_keep_alive_0_unloads_the_model_after_the_answer(site: Site, keep_alive: Any) -> None:
    body = {"model": "demo:latest", "prompt": "Hi", "keep_alive": keep_alive}
    assert lines(site.post(body, "/api/generate"))[-1]["done"]
    assert until(lambda: site.pipeline.unloaded == ["demo"])
    assert site.pipeline.generations[-1].ended.is_set()


@pytest.mark.parametrize("keep_alive", [None, 5, -1, "5m", "-1", "24h", "1h30m", "300"])
def test_another_keep_alive_leaves_the_model_where_it_is(site: Site, keep_alive: Any) -> None:
    body = {"prompt": "Hi", "keep_alive": keep_alive, "stream": False}
    assert site.post(body, "/api/generate").json()["response"] == "Hello there"
    assert site.pipeline.unloaded == []


def test_a_model_that_is_in_use_is_not_unloaded_and_the_answer_is_whole(site: Site) -> None:
    def busy(model: str) -> None:
        raise ModelBusy("in use")

    site.pipeline.unload = busy  # type: ignore[method-assign]
    try:
        body = {"prompt": "Hi", "keep_alive": 0, "stream": False}
        assert site.post(body, "/api/generate").json()["done"]
        assert refused(site.post({"model": "demo", "keep_alive": 0}, "/api/generate"), 409) == "in use"
    finally:
        del site.pipeline.unload  # type: ignore[method-assign]


def test_no_prompt_loads_with_the_options(site: Site) -> None:
    site.pipeline.script = lambda request: [Accepted("demo", 0), Finished(Usage(), Timings())]
    (line,) = lines(site.post({"model": "demo", "options": {"num_ctx": 512}}, "/api/generate"))
    assert (line["done"], line["done_reason"], line["response"]) == (True, "load", "")
    assert site.pipeline.loads[-1][1].ctx_length == 512
    body = site.post({"model": "demo", "messages": [], "stream": False}, "/api/chat").json()
    assert (body["done_reason"], body["message"]) == ("load", {"role": "assistant", "content": ""})
    body = site.post({"model": "demo", "keep_alive": 0, "stream": False}, "/api/generate").json()
    assert (body["done_reason"], site.pipeline.unloaded) == ("unload", ["demo"])


def test_a_client_that_goes_before_the_plain_prompt_begins_cancels_that_one() -> None:
    plain = FakeGeneration(answer("plain"))
    refusal = InvalidRequest("options.chat_format: this model carries no chat template")
    either = OrPlain(FakeGeneration([Waiting("loading"), refusal]), lambda: plain)
    events = iter(either)
    assert next(events) == Waiting("loading")
    either.cancel()
    with pytest.raises(Cancelled):
        next(events)
    begun: list[FakeGeneration] = []

    def begin() -> FakeGeneration:
        either.cancel()
        begun.append(plain)
        return plain

    either = OrPlain(FakeGeneration([refusal]), begin)
    with pytest.raises(Cancelled):
        list(either)
    assert begun == [plain] and plain.cancelled.is_set()


def test_what_ends_a_line_for_python_ends_none_of_a_stream(site: Site, client: ollama.Client) -> None:
    text = "a\x85b\u2028c\u2029d\x1ee\x0cf"
    says(site, *text)
    assert "".join(piece.message.content or "" for piece in client.chat("demo", HI, stream=True)) == text


def test_a_turn_of_calls_at_the_end_is_not_gone_on_with(site: Site) -> None:
    calling = {"role": "assistant", "tool_calls": [{"function": {"name": "weather"}}]}
    site.post({"messages": [*HI, calling]}, "/api/chat")
    assert not asked(site).continue_last
