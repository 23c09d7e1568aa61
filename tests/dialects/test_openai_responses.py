"""POST /v1/responses on a fake pipeline: what is told, whole and streamed, and how the official client reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import Response
from pydantic import BaseModel

from api_host import errors
from api_host.generation import Accepted, Chunk, Finished, Timings, TokenLogprob, Usage, Waiting
from tests.dialects.responses_asked import CALLED, PARIS, PATH, WEATHER, plays, says
from tests.fakes.pipeline import answer
from tests.web.site import ENDLESS, TOKEN, Site, until


@pytest.fixture(scope="module")
def client(shared_site: Site) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{shared_site.url}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


def whole(site: Site, **fields: Any) -> Any:
    response = site.post({"input": "Hi", **fields}, PATH)
    assert response.status_code == 200, response.text
    return response.json()


def events_of(site: Site, **fields: Any) -> list[Any]:
    """The events of a stream, whose names and numbers are as they should be."""
    response = site.post({"input": "Hi", "stream": True, **fields}, PATH)
    assert response.headers["Content-Type"].startswith("text/event-stream")
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    found = []
    for number, block in enumerate(blocks):
        name, data = block.split("\n")
        body = json.loads(data.removeprefix("data: "))
        assert (name, body["sequence_number"]) == (f"event: {body['type']}", number)
        found.append(body)
    return found


def test_an_answer_is_a_response_with_a_message(site: Site, client: openai.OpenAI) -> None:
    says(site, "Hello", " there")
    response = client.responses.create(
        model="demo", input="Hi", instructions="Be kind.", metadata={"a": "b"}, max_output_tokens=9
    )
    assert (response.status, response.output_text, response.model) == ("completed", "Hello there", "demo")
    assert response.id.startswith("resp_") and response.object == "response"
    [message] = response.output
    assert message.type == "message" and message.id.startswith("msg_") and message.status == "completed"
    assert (response.error, response.incomplete_details, response.instructions) == (None, None, "Be kind.")
    assert (response.metadata, response.max_output_tokens, response.temperature) == ({"a": "b"}, 9, 1.0)
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (
        5,
        2,
        7,
    )
    assert response.usage.input_tokens_details.cached_tokens == 2


def test_a_response_is_all_that_the_clients_types_ask_for(site: Site) -> None:
    says(site, "<think>so</think>", "Well", CALLED)
    body = whole(site, tools=[WEATHER], tool_choice="auto", text={"format": {"type": "text"}})
    Response.model_validate(body, strict=False)
    assert [item["type"] for item in body["output"]] == ["reasoning", "message", "function_call"]


def test_a_cut_answer_is_incomplete(site: Site) -> None:
    says(site, "Hel", reason="length")
    body = whole(site)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert body["output"][0]["status"] == "incomplete"
    last = events_of(site)[-1]
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "incomplete")


def test_silence_is_an_empty_message(site: Site) -> None:
    for texts in ((), ("<think>hm</think>",)):
        says(site, *texts)
        message = whole(site)["output"][-1]
        assert (message["type"], message["content"][0]["text"]) == ("message", "")


def test_reasoning_is_an_item_of_its_own(site: Site) -> None:
    says(site, "I", " see", "</think>", "\n\nYes", prompt="<think>\n")
    body = whole(site)
    reasoning, message = body["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "I see"}]
    assert reasoning["summary"] == [] and reasoning["id"].startswith("rs_")
    assert message["content"][0]["text"] == "Yes"
    assert body["usage"]["output_tokens_details"]["reasoning_tokens"] >= 2


def test_calls_are_items_that_an_input_may_repeat(site: Site, client: openai.OpenAI) -> None:
    says(site, "I look.\n", *CALLED, "\n", CALLED, " So.")
    response = client.responses.create(model="demo", input="Hi", tools=[WEATHER])
    message, first, second, _ = response.output
    assert first.type == second.type == "function_call" and first.call_id != second.call_id
    assert (first.name, first.arguments, first.status) == ("get_weather", PARIS, "completed")
    result = {"type": "function_call_output", "call_id": first.call_id, "output": "sun"}
    items: Any = [{"role": "user", "content": "Hi"}, *response.output, result]
    says(site, "Sunny")
    again = client.responses.create(model="demo", input=items)
    assert again.output_text == "Sunny"
    chat = site.pipeline.requests[-1].inputs
    assert isinstance(chat, list) and [turn.role for turn in chat] == ["user", "assistant", "tool"]
    assert [call.id for call in chat[1].tool_calls] == [first.call_id, second.call_id]
    assert chat[1].content == "I look.\n\n\n So." and message.type == "message"


def test_without_parallel_calls_the_first_counts(site: Site) -> None:
    says(site, CALLED, CALLED, "bye")
    body = whole(site, tools=[WEATHER], parallel_tool_calls=False)
    assert [item["type"] for item in body["output"]] == ["function_call", "message"]
    assert body["output"][0]["arguments"] == PARIS


def test_logprobs_stand_with_the_text(site: Site) -> None:
    top = [TokenLogprob("a", -0.5), TokenLogprob("b", float("-inf"))]
    chunk = Chunk("a", n_tokens=1, logprobs=[TokenLogprob("a", -0.5, top)])
    plays(site, Accepted("demo", 5), chunk, Chunk("", finish_reason="stop"), Finished(Usage(), Timings()))
    told = whole(site, top_logprobs=2)["output"][0]["content"][0]["logprobs"]
    assert [(one["token"], one["bytes"], one["logprob"]) for one in told] == [("a", [97], -0.5)]
    assert [one["logprob"] for one in told[0]["top_logprobs"]] == [-0.5, -9999.0]
    delta = next(event for event in events_of(site, top_logprobs=2) if event["type"].endswith("text.delta"))
    assert delta["logprobs"] == told


def test_the_events_come_in_openais_order(site: Site) -> None:
    says(site, "<think>so</think>", "Well", CALLED)
    events = events_of(site, tools=[WEATHER])
    assert [event["type"].removeprefix("response.") for event in events] == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done", "completed"),
    ]
    assert [event["output_index"] for event in events[2:-1]] == [0] * 6 + [1] * 6 + [2] * 4
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]
    assert events[0]["response"]["output"] == [] and events[0]["response"]["status"] == "in_progress"
    assert events[-1]["response"]["usage"]["input_tokens"] == 5


def test_text_goes_out_in_pieces(site: Site) -> None:
    says(site, "Hel", "lo", " there")
    deltas = [e["delta"] for e in events_of(site) if e["type"] == "response.output_text.delta"]
    assert deltas == ["Hel", "lo", " there"]


def test_the_clients_own_stream_adds_it_up(site: Site, client: openai.OpenAI) -> None:
    says(site, "<think>so</think>", "We", "ll", *CALLED)
    with client.responses.stream(model="demo", input="Hi", tools=[WEATHER]) as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots == ["We", "Well"]
    assert final.output_text == "Well"
    call = final.output[-1]
    assert call.type == "function_call" and call.arguments == PARIS


def test_waiting_is_told_with_comments(site: Site) -> None:
    plays(site, Waiting("loading"), 0.2, Waiting("loading"), 0.2, *answer("Hello"))
    response = site.post({"input": "Hi", "stream": True}, PATH)
    assert response.text.startswith(":\n\n")
    assert response.text.endswith("\n\n") and '"status":"completed"' in response.text


def test_a_late_failure_ends_the_stream_with_the_failed_response(site: Site, client: openai.OpenAI) -> None:
    plays(site, Accepted("demo", 5), Chunk("Hel", n_tokens=1), 0.1, errors.GenerationFailed("it broke"))
    *_, failed, alone = events_of(site)
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"] == {"code": "server_error", "message": "it broke"}
    assert (alone["type"], alone["code"], alone["message"]) == ("error", "generation_failed", "it broke")
    with pytest.raises(openai.APIError, match="it broke"):
        list(client.responses.create(model="demo", input="Hi", stream=True))


def test_a_failure_before_the_response_begins_is_an_error_alone(site: Site) -> None:
    plays(
        site,
        Waiting("loading"),
        0.2,
        Waiting("loading"),
        errors.QueueFull("too many", limit=3, retry_after=2),
    )
    [alone] = events_of(site)
    assert (alone["type"], alone["code"], alone["error"]["limit"]) == ("error", "queue_full", 3)


def test_a_late_failure_of_a_plain_answer_stands_in_its_body(site: Site) -> None:
    plays(site, Accepted("demo", 5), 0.4, Waiting("prefill"), errors.GenerationFailed("it broke"))
    error = json.loads(site.post({"input": "Hi"}, PATH).content)["error"]
    assert (error["message"], error["status"]) == ("it broke", 500)


def test_an_early_failure_keeps_its_status(site: Site, client: openai.OpenAI) -> None:
    plays(site, errors.ContextLengthExceeded("input: too long", n_prompt_tokens=9, n_ctx=8))
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="demo", input="Hi", stream=True)
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_cancels_its_generation(site: Site, stream: bool) -> None:
    site.pipeline.script = lambda request: list(ENDLESS)
    sock = site.raw({"input": "Hi", "stream": stream}, PATH)
    assert until(lambda: bool(site.pipeline.generations))
    sock.close()
    assert until(site.pipeline.generations[-1].cancelled.is_set)


def test_the_clients_parse_reads_text_and_arguments(site: Site, client: openai.OpenAI) -> None:
    class City(BaseModel):
        city: str

    says(site, '{"city": ', '"Paris"}')
    assert client.responses.parse(model="demo", input="Hi", text_format=City).output_parsed == City(
        city="Paris"
    )
    schema = site.pipeline.requests[-1].sampling.json_schema
    assert schema is not None and list(schema["properties"]) == ["city"]
    says(site, f'[{{"name": "get_weather", "arguments": {PARIS}}}]')
    strict: Any = {**WEATHER, "strict": True}
    strict["parameters"] = {**WEATHER["parameters"], "additionalProperties": False}
    parsed = client.responses.parse(
        model="demo",
        input="Hi",
        tools=[strict],
        tool_choice="required",
    )
    call = parsed.output[0]
    assert call.type == "function_call" and call.parsed_arguments == {"city": "Paris"}
