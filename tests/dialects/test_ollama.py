"""The Ollama API as its official client sees it, sync and async, on a host with the demo model and a loopback hub."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import ollama
import pytest
import requests

from api_host.host import ApiHost
from api_host.models.demo import DEMO_MODEL_PATH
from tests.fakes.asking import capital_of, model_of, within

GREEDY = {"temperature": 0}
FRANCE = "What is the capital of France?"
REPO = "owner/name-GGUF"
ANIMAL = {"type": "object", "properties": {"animal": {"enum": ["cat", "dog"]}}, "required": ["animal"]}


def authorization(host: ApiHost) -> dict[str, str]:
    return {"Authorization": f"Bearer {host.access_token}"}


@pytest.fixture
def client(demo_host: ApiHost) -> Iterator[ollama.Client]:
    client = ollama.Client(demo_host.local_url, headers=authorization(demo_host), timeout=30)
    yield client
    client.close()


def test_a_prompt_is_a_turn_of_a_chat_and_the_answer_tells_what_it_took(client: ollama.Client) -> None:
    client.generate("demo", keep_alive=0)
    answer = client.generate("demo", FRANCE, options=GREEDY)
    assert answer.response == "The capital of France is Paris."
    assert (answer.model, answer.done, answer.done_reason, answer.thinking) == ("demo", True, "stop", None)
    assert answer.prompt_eval_count and answer.eval_count and answer.context
    assert answer.total_duration and answer.prompt_eval_duration and answer.eval_duration
    assert answer.load_duration
    parts = answer.load_duration + answer.prompt_eval_duration + answer.eval_duration
    assert parts <= answer.total_duration < 30e9
    assert client.generate("demo", FRANCE, options=GREEDY).load_duration == 0
    assert answer.created_at and answer.created_at.endswith("Z")
    made = datetime.fromisoformat(answer.created_at.replace("Z", "+00:00"))
    assert abs((datetime.now(timezone.utc) - made).total_seconds()) < 60


def test_a_stream_brings_the_same_text_in_pieces_and_ends_with_the_numbers(client: ollama.Client) -> None:
    *pieces, last = client.generate("demo", FRANCE, options=GREEDY, stream=True)
    assert "".join(piece.response or "" for piece in pieces) == "The capital of France is Paris."
    assert not any(piece.done or piece.context for piece in pieces)
    assert (last.done, last.response, last.done_reason, last.eval_count) == (True, "", "stop", 11)


def test_the_context_of_an_answer_is_the_prompt_of_the_next_ones_beginning(client: ollama.Client) -> None:
    first = client.generate("demo", FRANCE, options=GREEDY)
    assert first.context and first.prompt_eval_count
    second = client.generate("demo", "What is the capital of Italy?", options=GREEDY, context=first.context)
    assert "Rome" in (second.response or "")
    assert second.context and list(second.context[: len(first.context)]) == list(first.context)
    assert second.prompt_eval_count and second.prompt_eval_count > len(first.context)


def test_a_raw_prompt_is_completed_as_it_stands(client: ollama.Client) -> None:
    raw = "<|user|>\nWhat is the capital of Italy?<|end|>\n<|assistant|>\n"
    answer = client.generate("demo", raw, raw=True, options=GREEDY)
    assert answer.response == "The capital of Italy is Rome."
    assert answer.context is None


def test_a_model_without_a_template_completes_the_prompt(demo_host: ApiHost, client: ollama.Client) -> None:
    assert demo_host.config.models_dir is not None
    plain = demo_host.config.models_dir / "plain.gguf"
    plain.write_bytes(
        DEMO_MODEL_PATH.read_bytes().replace(b"tokenizer.chat_template", b"tokenizer.chat_templat_")
    )
    prompt = "<|user|>\nWhat is the capital of Italy?<|end|>\n<|assistant|>\n"
    answer = client.generate("plain.gguf", prompt, options=GREEDY)
    assert answer.response == "The capital of Italy is Rome."
    with pytest.raises(
        ollama.ResponseError, match=r"options\.chat_format: this model carries no chat template"
    ):
        client.chat("plain.gguf", capital_of("Italy"))
    client.generate("plain.gguf", keep_alive=0)


def test_a_chat_is_answered_by_the_name_with_the_tag_latest_too(client: ollama.Client) -> None:
    for name in ("demo", "demo:latest"):
        answer = client.chat(name, capital_of("Italy"), options=GREEDY)
        assert (answer.message.role, answer.message.content) == ("assistant", "The capital of Italy is Rome.")
        assert (answer.model, answer.message.tool_calls) == (name, None)
    pieces = list(client.chat("demo", capital_of("Italy"), options=GREEDY, stream=True))
    assert "".join(piece.message.content or "" for piece in pieces) == "The capital of Italy is Rome."
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_a_chat_that_ends_with_the_assistants_turn_goes_on_with_it(client: ollama.Client) -> None:
    begun = {"role": "assistant", "content": "The capital of Italy"}
    answer = client.chat("demo", [*capital_of("Italy"), begun], options=GREEDY)
    assert answer.message.content == " is Rome."


def test_the_async_client_generates_chats_and_streams(demo_host: ApiHost) -> None:
    async def ask() -> tuple[str, str, str, int]:
        client = ollama.AsyncClient(demo_host.local_url, headers=authorization(demo_host))
        async with client:
            whole = await client.generate("demo", FRANCE, options=GREEDY)
            chat = await client.chat("demo", capital_of("Italy"), options=GREEDY)
            stream = await client.chat("demo", capital_of("France"), options=GREEDY, stream=True)
            streamed = "".join([part.message.content or "" async for part in stream])
            listed = await client.list()
        return whole.response or "", chat.message.content or "", streamed, len(listed.models)

    whole, chat, streamed, n_models = asyncio.run(ask())
    assert whole == streamed == "The capital of France is Paris."
    assert chat == "The capital of Italy is Rome."
    assert n_models >= 1


def test_options_reach_the_sampler(client: ollama.Client) -> None:
    short = client.generate("demo", FRANCE, options={**GREEDY, "num_predict": 3})
    assert (short.eval_count, short.done_reason) == (3, "length")
    cut = client.generate("demo", FRANCE, options={**GREEDY, "stop": [" is"], "num_predict": -1})
    assert (cut.response, cut.done_reason) == ("The capital of France", "stop")
    warm = {"temperature": 5.0, "seed": 7, "num_predict": 20, "top_k": 0, "top_p": 1.0}
    assert (
        client.generate("demo", "x", options=warm).response
        == client.generate("demo", "x", options=warm).response
    )
    likeliest = {**warm, "top_p": 0}
    assert (
        client.generate("demo", "x", options=likeliest).response
        == client.generate("demo", "x", options={**likeliest, **GREEDY}).response
    )


def test_a_format_holds_the_text_to_json(client: ollama.Client) -> None:
    schema = client.generate("demo", FRANCE, format=ANIMAL, options={**GREEDY, "num_predict": 200})
    assert json.loads(schema.response or "")["animal"] in ("cat", "dog")
    whole = client.chat("demo", capital_of("Italy"), format="json", options={**GREEDY, "num_predict": 20})
    assert (whole.message.content or "").lstrip().startswith("{")


def test_logprobs_are_told_for_each_token(client: ollama.Client) -> None:
    answer = client.generate("demo", FRANCE, options=GREEDY, logprobs=True, top_logprobs=2)
    assert answer.logprobs
    assert "".join(one.token for one in answer.logprobs) == answer.response
    assert all(one.logprob <= 0 and len(one.top_logprobs or []) == 2 for one in answer.logprobs)


def test_logprobs_tell_the_bytes_of_a_token_too(demo_host: ApiHost) -> None:
    body = {"prompt": FRANCE, "options": GREEDY, "logprobs": True, "top_logprobs": 1, "stream": False}
    url, token = f"{demo_host.local_url}/api/generate", demo_host.access_token
    answer = requests.post(url, json=body | {"model": "demo", "token": token}, timeout=30).json()
    for one in answer["logprobs"]:
        assert bytes(one["bytes"]).decode() == one["token"]
        assert bytes(one["top_logprobs"][0]["bytes"]).decode() == one["top_logprobs"][0]["token"]


def test_texts_are_embedded_and_cut_to_dimensions(client: ollama.Client) -> None:
    whole = client.embed("demo", ["The sea", "A cat"])
    assert len(whole.embeddings) == 2 and whole.prompt_eval_count and whole.total_duration
    assert [math.hypot(*vector) for vector in whole.embeddings] == pytest.approx([1, 1], abs=1e-5)
    (cut,) = client.embed("demo", "The sea", dimensions=4).embeddings
    assert len(cut) == 4 and math.hypot(*cut) == pytest.approx(1)
    ratios = [short / long for short, long in zip(cut, whole.embeddings[0], strict=False)]
    assert ratios == pytest.approx([ratios[0]] * 4)
    assert list(client.embeddings("demo", "The sea").embedding) == pytest.approx(
        list(whole.embeddings[0]), abs=1e-5
    )
    assert list(client.embed("demo", "").embeddings) == []
    long = client.embed("demo", "word " * 5000)
    assert len(long.embeddings) == 1
    with pytest.raises(ollama.ResponseError) as refusal:
        client.embed("demo", "word " * 5000, truncate=False)
    assert refusal.value.status_code == 400 and refusal.value.error.startswith("input: ")


def test_errors_name_the_fields_as_the_request_does(client: ollama.Client) -> None:
    def error(**body: Any) -> str:
        with pytest.raises(ollama.ResponseError) as refusal:
            client.generate("demo", **body)
        assert refusal.value.status_code == 400
        return str(refusal.value.error)

    assert error(prompt="word " * 5000).startswith("prompt: the prompt has ")
    assert "options.num_ctx" in error(prompt="word " * 5000)
    assert error(prompt="x", context=[99_999]).startswith("context: 99999 is no token")
    assert error(prompt="x", suffix="y").startswith("suffix: ")
    assert error(prompt="x", format={"$ref": "#/nowhere"}).startswith("format: ")
    assert "options.temperature: 99 is too large" in error(
        prompt="x", options={"temperature": 99, "top_p": 2}
    )
    assert "images: " in error(prompt="x", images=["aGVsbG8="])
    assert "template: " in error(prompt="x", template="{{ .Prompt }}")


def test_a_wrong_token_is_a_401_in_ollamas_shape(demo_host: ApiHost) -> None:
    client = ollama.Client(demo_host.local_url, headers={"Authorization": "Bearer wrong"})
    with client, pytest.raises(ollama.ResponseError) as refusal:
        client.list()
    assert (refusal.value.status_code, refusal.value.error) == (401, "wrong token")


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_frees_its_slot(demo_host: ApiHost, stream: bool) -> None:
    long = {"type": "array", "items": {"type": "boolean"}, "minItems": 500}
    with send(demo_host, "/api/generate", {"prompt": "A cat", "format": long, "stream": stream}):
        assert within(5, lambda: model_of(demo_host, "demo")["n_running"] == 1)
    assert within(1, lambda: model_of(demo_host, "demo")["n_running"] == 0)


def test_the_version_is_one_that_clients_take(demo_host: ApiHost) -> None:
    answer = requests.get(f"{demo_host.local_url}/api/version", headers=authorization(demo_host), timeout=10)
    version = [int(part) for part in answer.json()["version"].split(".")]
    assert version >= [0, 6, 4]
    assert requests.head(demo_host.local_url, timeout=10).status_code == 200


def send(host: ApiHost, path: str, body: dict[str, Any]) -> socket.socket:
    """Sends a request and reads nothing; closing the socket is the client's going."""
    content = json.dumps({"token": host.access_token, **body}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    sock = socket.create_connection(("127.0.0.1", int(host.local_url.rpartition(":")[2])))
    sock.sendall(head.encode() + content)
    return sock


def test_text_in_a_form_of_its_own_is_no_call(client: ollama.Client) -> None:
    shape = {"name": {"const": "Rome"}, "parameters": {"const": {}}}
    schema = {"type": "object", "properties": shape, "required": list(shape), "additionalProperties": False}
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    chat = [{"role": "user", "content": FRANCE}]
    answer = client.chat("demo", chat, tools=[tool], format=schema, options=GREEDY)
    assert json.loads(answer.message.content or "") == {"name": "Rome", "parameters": {}}
