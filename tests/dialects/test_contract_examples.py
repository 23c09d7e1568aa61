"""One example request of each dialect, written as its own clients write it, and what has to come back."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator

import pytest
import requests

from tests.dialects.asked_host import CHAT, FILE, QUESTION, REPO, AskedHost, asked_host
from tests.web.site import events

PARIS = "The capital of France is Paris."


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedHost]:
    with asked_host(tmp_path_factory.mktemp("examples")) as host:
        yield host


# Native


def test_native_answers_a_chat_with_a_model_of_the_hub(host: AskedHost) -> None:
    body = {
        "token": host.token,
        "task": "text_generation",
        "repo_id": REPO,
        "file_name": FILE,
        "inputs": [{"role": "system", "content": "Be brief."}, *CHAT],
        "parameters": {"max_tokens": 32, "top_k": 1, "top_p": 0.95, "temperature": 1},
        "options": {"use_gpu": True, "ctx_lenght": 512, "chat_format": None},
        "stream": False,
    }
    answer = host.answered("/api", body, headers={})
    assert answer["answer"]["role"] == "assistant"
    assert "Paris" in answer["answer"]["content"]
    assert answer["model"] == f"{REPO}/{FILE}"
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] > 3 and "decode" in answer["timings"]


def test_native_completes_a_text_without_repeating_it_at_the_bare_address_too(host: AskedHost) -> None:
    body = {"inputs": "The capital of France is", "parameters": {"top_k": 1, "max_tokens": 8}}
    whole, bare = host.answered("/api", body), host.answered("/", body)
    assert "Paris" in whole["answer"]["content"] and "capital" not in whole["answer"]["content"]
    assert bare["answer"] == whole["answer"]


def test_native_spells_the_context_in_two_ways(host: AskedHost) -> None:
    for spelling in ("ctx_length", "ctx_lenght"):
        refused = host.post("/api", {"inputs": "word " * 100, "options": {spelling: 64}})
        assert (refused.status_code, refused.json()["code"]) == (400, "context_length_exceeded")
        assert refused.json()["n_ctx"] == 64 < refused.json()["n_prompt_tokens"]


def test_native_takes_another_template_for_one_request(host: AskedHost) -> None:
    body = {"inputs": CHAT, "parameters": {"top_k": 1, "max_tokens": 32}}
    other = host.answered("/api", {**body, "options": {"chat_format": "alpaca"}})
    own = host.answered("/api", body)
    assert own["answer"]["content"] == PARIS
    assert other["usage"]["prompt_tokens"] != own["usage"]["prompt_tokens"]


def test_native_embeds_and_loads(host: AskedHost) -> None:
    single = host.answered("/api", {"task": "embedding", "inputs": "A cat"})["embedding"]
    several = host.answered("/api", {"task": "embedding", "inputs": ["A cat", "A dog"]})["embeddings"]
    assert len(several) == 2 and single == pytest.approx(several[0], abs=1e-4)
    loaded = host.answered("/api", {"task": "none"})
    assert (loaded["answer"], loaded["loaded"]) == (None, True)


def test_native_streams_pieces_and_an_ending(host: AskedHost) -> None:
    answer = host.post("/api", {"inputs": CHAT, "parameters": {"top_k": 1}, "stream": True})
    told = events(answer.content)
    assert "".join(data["text"] for name, data in told if name == "message") == PARIS
    assert told[-1][0] == "done" and told[-1][1]["usage"]["completion_tokens"] > 3


def test_native_tells_every_wrong_field_at_once(host: AskedHost) -> None:
    wrong = {"inputs": 5, "parameters": {"top_p": 2, "tempreature": 1}, "strema": True}
    refused = host.post("/api", wrong)
    assert refused.status_code == 400
    named = {sentence.partition(":")[0] for sentence in refused.json()["error"]}
    assert named == {"inputs", "parameters.top_p", "parameters.tempreature", "strema"}


# Petals


def test_petals_takes_forms_queries_and_json(host: AskedHost) -> None:
    fields = {"model": "demo", "inputs": QUESTION, "max_new_tokens": "12"}
    url = f"{host.url}/api/v1/generate"
    answers = [
        requests.post(url, data=fields, headers=host.bearer, timeout=60).json(),
        requests.post(url, params=fields, headers=host.bearer, timeout=60).json(),
        requests.post(url, json={**fields, "max_new_tokens": 12}, headers=host.bearer, timeout=60).json(),
        requests.post(url, data={**fields, "do_sample": "0"}, headers=host.bearer, timeout=60).json(),
    ]
    assert answers[0].keys() == {"ok", "outputs"} and answers[0]["ok"] is True
    assert PARIS in answers[0]["outputs"] and QUESTION not in answers[0]["outputs"]
    assert answers == [answers[0]] * 4


def test_petals_counts_the_prompt_in_max_length_and_says_its_failures_in_a_200(host: AskedHost) -> None:
    short = host.answered("/api/v1/generate", {"inputs": "The capital of France is", "max_new_tokens": 4})
    n_prompt = host.answered("/v1/messages/count_tokens", {"messages": CHAT})["input_tokens"]
    failed = host.answered("/api/v1/generate", {"inputs": QUESTION * 9, "max_length": n_prompt})
    assert short["ok"] is True
    assert failed["ok"] is False and failed["traceback"].startswith("InvalidRequest: max_length: ")
    assert "\n" not in failed["traceback"]


def test_a_petals_session_remembers_and_streams_up_to_its_stop_sequence(host: AskedHost) -> None:
    line = host.socket("/api/v2/generate", header=[f"Authorization: Bearer {host.token}"])
    line.send(json.dumps({"type": "open_inference_session", "model": "demo", "max_length": 400}))
    assert json.loads(line.recv()) == {"ok": True}
    step = {"type": "generate", "max_new_tokens": 1, "stop_sequence": "###", "extra_stop_sequences": ["</s>"]}
    for country, city in (("France", "Paris"), ("Italy", "Rome")):
        inputs = f"<|user|>\nWhat is the capital of {country}?\n<|assistant|>\n"
        line.send(json.dumps({**step, "inputs": inputs}))
        frames = [json.loads(line.recv())]
        while not frames[-1]["stop"]:
            frames.append(json.loads(line.recv()))
        assert len(frames) > 3
        assert all(frame["ok"] and frame["token_count"] >= 0 for frame in frames)
        assert city in "".join(frame["outputs"] for frame in frames)
    line.send(json.dumps({"type": "generate", "inputs": "word " * 500, "max_new_tokens": 1}))
    assert json.loads(line.recv())["ok"] is False
    line.close()


# Truss


def test_truss_streams_plain_text_by_default_and_tells_the_whole_conversation_otherwise(
    host: AskedHost,
) -> None:
    body = {"messages": CHAT, "max_new_tokens": 512, "do_sample": False}
    streamed = host.post("/predict", body)
    assert streamed.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert streamed.text.strip() == PARIS
    whole = host.answered("/predict", {**body, "stream": False})["output"]
    assert whole.startswith("<|user|>\n") and QUESTION in whole and whole.endswith(PARIS)
    assert whole.index("<|assistant|>") < whole.index(PARIS)


def test_truss_refuses_what_has_no_equivalent_by_name(host: AskedHost) -> None:
    refused = host.post("/predict", {"messages": CHAT, "num_beams": 4, "penalty_alpha": 0.6})
    assert refused.status_code == 400
    assert "num_beams: 4" in refused.json()["error"] and "penalty_alpha: 0.6" in refused.json()["error"]


# LLM API


@pytest.mark.parametrize(
    "params", [{"n_predict": 8, "temp": 0}, {"max_tokens": 8, "temperature": 0}], ids=["older", "newer"]
)
def test_llm_api_answers_bare_texts_in_both_spellings(host: AskedHost, params: dict[str, int]) -> None:
    body = {"prompt": "The capital of France is", "params": {**params, "top_k": 40, "repeat_penalty": 1.1}}
    text = host.answered("/generate", body)
    assert isinstance(text, str) and "Paris" in text
    stream = host.post("/agenerate", body)
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    pieces = [line[6:] for line in stream.text.split("\n") if line.startswith("data: ")]
    assert len(pieces) > 1 and "".join(pieces) == text


def test_llm_api_embeds_and_says_that_it_is_there(host: AskedHost) -> None:
    vector = host.answered("/embeddings", {"text": "A cat"})
    assert len(vector) > 100 and all(isinstance(number, float) for number in vector)
    assert host.get("/check").json() == "Ok"


# Zephyr


def test_zephyr_answers_questions_and_shows_its_prompt_on_request(host: AskedHost) -> None:
    query = {"user_message": QUESTION, "do_sample": False}
    assert host.answered("/zephyr/python", query) == {"response": PARIS}
    assert host.answered("/zephyr/system-message", {**query, "system_message": "Be brief."}) == {
        "response": PARIS
    }
    raw = host.answered("/zephyr/raw", params={"user_message": QUESTION, "do_sample": "false"})["response"]
    assert raw == host.answered("/zephyr/raw", query)["response"]
    assert "Python developer" in raw and "<|assistant|>" in raw and raw.endswith(PARIS)


def test_zephyr_documents_code(host: AskedHost) -> None:
    query = {"code": "def f( x ):\n  return x", "language": "python", "include_comments": True}
    sampling = {"max_new_tokens": 8, "do_sample": True, "temperature": 0.7, "top_k": 50, "top_p": 0.95}
    assert host.answered("/zephyr/code-doc", {**query, **sampling})["response"]
    structured = {"user_message": "def f(x): return x", **sampling}
    assert host.answered("/zephyr/structured-code-doc", structured)["response"]


def test_zephyr_tells_of_its_endpoints_and_of_the_gpus(host: AskedHost) -> None:
    assert "/zephyr/python" in host.get("/zephyr").text and "/zephyr/python" in host.get("/").text
    line = host.socket("/zephyr/ws/gpu-stats", header=[f"Authorization: Bearer {host.token}"])
    first, second = json.loads(line.recv()), json.loads(line.recv())
    assert first.keys() == second.keys() == {"gpus"}
    line.close()


# OpenAI


def test_openai_streams_a_role_pieces_a_reason_the_usage_and_done(host: AskedHost) -> None:
    body = {"messages": CHAT, "temperature": 0, "stream": True, "stream_options": {"include_usage": True}}
    text = host.post("/v1/chat/completions", body).text
    assert text.endswith("data: [DONE]\n\n")
    told = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    choices = [chunk["choices"][0] for chunk in told[:-1]]
    assert choices[0]["delta"]["role"] == "assistant"
    assert "".join(choice["delta"].get("content", "") for choice in choices) == PARIS
    assert (choices[-1]["delta"], choices[-1]["finish_reason"]) == ({}, "stop")
    assert told[-1]["choices"] == [] and told[-1]["usage"]["total_tokens"] > 10


def test_openai_ignores_unknown_fields_and_takes_the_samplings_of_llama_cpp(host: AskedHost) -> None:
    body = {"model": "demo", "prompt": "The capital of France is", "max_tokens": 4, "echo": True}
    more = {"user": "someone", "top_k": 1, "min_p": 0.1, "repeat_penalty": 1.0, "mirostat": 0}
    (choice,) = host.answered("/v1/completions", {**body, **more})["choices"]
    assert choice["text"].startswith("The capital of France is") and "Paris" in choice["text"]


def test_openai_lists_its_models_and_tells_one_by_an_id_with_slashes(host: AskedHost) -> None:
    host.answered("/api", {"task": "none", "repo_id": REPO, "file_name": FILE})
    listed = {model["id"]: model for model in host.get("/v1/models").json()["data"]}
    model = listed[f"{REPO}/{FILE}"]
    assert (model["object"], model["status"]["value"]) == ("model", "loaded")
    assert model["meta"]["n_ctx_train"] == 2048
    for spelled in (f"{REPO}/{FILE}", f"{REPO}/{FILE}".replace("/", "%2F")):
        assert host.get(f"/v1/models/{spelled}").json()["id"] == f"{REPO}/{FILE}"


def test_openai_embeds_as_numbers_and_as_base64(host: AskedHost) -> None:
    body = {"model": "demo", "input": ["A cat", "A dog"]}
    numbers = host.answered("/v1/embeddings", body)["data"]
    packed = host.answered("/v1/embeddings", {**body, "encoding_format": "base64"})["data"]
    for plain, encoded in zip(numbers, packed, strict=True):
        data = base64.b64decode(encoded["embedding"])
        assert struct.unpack(f"<{len(data) // 4}f", data) == pytest.approx(plain["embedding"], abs=1e-4)
