"""What a request may do with its prompt and its end, on the demo model: tokens in and out, counting, going on with an
assistant's turn, infill, control tokens, stop strings that stay, and the bounds by tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest

from api_host.engine.llama.model import LlamaModel
from api_host.engine.messages import Load, RequestAccepted, RequestFinished
from api_host.engine.process import Worker
from api_host.errors import ContextLengthExceeded, InvalidRequest
from api_host.generation import GenerationRequest, Message, SamplingParams
from api_host.models.demo import DEMO_MODEL_PATH
from tests.engine.reading import read

CAPITAL = [Message("user", "What is the capital of France?")]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker.start(Load(str(DEMO_MODEL_PATH), n_ctx=512, n_slots=2, n_threads=1))
    yield worker
    worker.stop()


@pytest.fixture(scope="module")
def model() -> Iterator[LlamaModel]:
    model = LlamaModel(str(DEMO_MODEL_PATH))
    yield model
    model.close()


def generate(
    worker: Worker, inputs: str | list[Message], sampling: dict[str, Any] | None = None, **fields: Any
) -> tuple[str, RequestAccepted, RequestFinished]:
    params = SamplingParams(**{"top_k": 1, "max_tokens": 64, **(sampling or {})})
    stream = worker.generate(GenerationRequest(inputs, sampling=params, **fields))
    accepted = stream.get(timeout=30)
    assert isinstance(accepted, RequestAccepted)
    texts, finished = read(stream)
    return texts.get(0, ""), accepted, finished


def test_the_rendered_prompt_is_told_when_it_is_wanted(worker: Worker):
    text, accepted, _ = generate(worker, CAPITAL, want_prompt=True)
    assert "Paris" in text
    assert accepted.prompt is not None
    assert "What is the capital of France?" in accepted.prompt
    assert accepted.prompt.rstrip().endswith("<|assistant|>")
    assert generate(worker, CAPITAL)[1].prompt is None


def test_a_text_goes_on_from_its_tokens_and_only_the_new_ones_are_read(worker: Worker):
    _, _, first = generate(worker, "A cat sat on", {"max_tokens": 5}, want_tokens=True)
    assert first.tokens is not None
    assert len(first.tokens) == first.usage.prompt_tokens + 5
    _, accepted, second = generate(worker, " and", prefix_tokens=first.tokens, want_prompt=True)
    n_new = accepted.n_prompt_tokens - len(first.tokens)
    assert 0 < n_new <= 2
    # The last token that was generated has no cells yet: it was never read.
    assert second.usage.prompt_tokens - second.usage.cached_tokens == n_new + 1
    assert accepted.prompt is not None
    assert accepted.prompt.endswith(" and")


def test_a_prompt_of_tokens_alone_is_the_same_as_its_text(worker: Worker, model: LlamaModel):
    tokens = model.tokenize("A cat sat on", add_special=True).tolist()
    assert generate(worker, "", prefix_tokens=tokens)[0] == generate(worker, "A cat sat on")[0]


@pytest.mark.parametrize("token", [-1, 1_000_000])
def test_a_token_that_is_none_is_refused(worker: Worker, token: int):
    with pytest.raises(InvalidRequest, match=r"inputs: .* is no token"):
        generate(worker, "", prefix_tokens=[token])


def test_counting_gives_the_length_and_generates_nothing(worker: Worker):
    _, accepted, _ = generate(worker, CAPITAL)
    stream = worker.generate(GenerationRequest(CAPITAL), count_only=True)
    texts, finished = read(stream)
    assert texts == {}
    assert finished.usage.prompt_tokens == accepted.n_prompt_tokens
    too_long = worker.generate(GenerationRequest("word " * 5000), count_only=True)
    assert read(too_long)[1].usage.prompt_tokens > 5000


def test_an_assistants_turn_is_gone_on_with(worker: Worker):
    begun = "The capital of France"
    rest, accepted, _ = generate(
        worker, [*CAPITAL, Message("assistant", begun)], continue_last=True, want_prompt=True
    )
    assert accepted.prompt is not None
    assert accepted.prompt.endswith(begun)
    assert rest
    assert "Paris" in begun + rest


def test_a_stop_string_stays_when_it_is_asked_to(worker: Worker):
    assert generate(worker, CAPITAL, {"stop": ["Paris"]})[0].count("Paris") == 0
    kept, _, _ = generate(worker, CAPITAL, {"stop": ["Paris"], "include_stop": True})
    assert kept.endswith("Paris")


def test_a_text_that_is_far_too_long_is_refused_unread(worker: Worker):
    with pytest.raises(
        ContextLengthExceeded, match=r"has \d+ tokens at least and the context holds 512"
    ) as caught:
        generate(worker, "a word " * 1_000_000)
    assert caught.value.details["n_ctx"] == 512 < caught.value.details["n_prompt_tokens"]


def test_max_length_counts_the_prompt_too(worker: Worker):
    n_prompt = generate(worker, "A cat sat on")[1].n_prompt_tokens
    _, _, finished = generate(worker, "A cat sat on", {"max_length": n_prompt + 3, "ignore_eos": True})
    assert finished.usage.completion_tokens == 3
    with pytest.raises(InvalidRequest, match=rf"max_length: .*at least {n_prompt + 1}"):
        generate(worker, "A cat sat on", {"max_length": n_prompt})


def test_min_tokens_holds_the_end_back(worker: Worker):
    _, _, short = generate(worker, CAPITAL)
    assert short.usage.completion_tokens < 40
    for sampling in ({}, {"top_k": 10, "seed": 3}):
        _, _, long = generate(worker, CAPITAL, {"min_tokens": 45, **sampling})
        assert long.usage.completion_tokens >= 45


def test_bad_words_never_come(worker: Worker, model: LlamaModel):
    text, _, _ = generate(worker, CAPITAL)
    words = [model.tokenize(word, add_special=False).tolist() for word in (" Paris", "Paris")]
    assert "Paris" in text
    assert "Paris" not in generate(worker, CAPITAL, {"bad_words": words})[0]
    with pytest.raises(InvalidRequest, match=r"bad_words: 99999 is no token"):
        generate(worker, CAPITAL, {"bad_words": [[99999]]})


def test_a_model_without_infill_says_so(worker: Worker):
    with pytest.raises(InvalidRequest, match="suffix: this model was not trained"):
        generate(worker, "def f(", suffix="return 1")


def with_control_tokens(path: Path) -> Path:
    """The demo model whose vocabulary ends in infill marks, and whose template knows tools."""
    reader = gguf.GGUFReader(DEMO_MODEL_PATH)
    writer = gguf.GGUFWriter(path, "llama")
    tokens = [bytes(part).decode() for part in _parts(reader, "tokenizer.ggml.tokens")]
    types = [int(part[0]) for part in _parts(reader, "tokenizer.ggml.token_type")]
    marks = {"<|pre|>": "fim_pre", "<|suf|>": "fim_suf", "<|mid|>": "fim_mid"}
    for i, (mark, key) in enumerate(marks.items(), len(tokens) - len(marks)):
        tokens[i], types[i] = mark, gguf.TokenType.CONTROL
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", i)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "tokenizer.ggml.tokens"):
            continue
        if name == "tokenizer.ggml.token_type":
            writer.add_token_types(types)
        elif name == "tokenizer.chat_template":
            writer.add_chat_template(
                "{% for m in messages %}{{ m | tojson }}{% endfor %}{{ tools | tojson }}|{{ mood }}|"
            )
        else:
            kind = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], kind)
    writer.add_token_list(tokens)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _parts(reader: gguf.GGUFReader, name: str) -> list[Any]:
    field = reader.fields[name]
    return [field.parts[i] for i in field.data]


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    path = with_control_tokens(tmp_path_factory.mktemp("marked") / "marked.gguf")
    worker = Worker.start(Load(str(path), n_ctx=512, n_slots=2, n_threads=1))
    yield worker
    worker.stop()


def test_infill_puts_prefix_suffix_and_middle_in_order(marked: Worker, model: LlamaModel):
    _, _, finished = generate(marked, "def f(", {"max_tokens": 1}, suffix="return 1", want_tokens=True)
    n_vocab = model.n_vocab
    expected = [
        *model.tokenize("", add_special=True),
        n_vocab - 3,
        *model.tokenize("def f(", add_special=False),
        n_vocab - 2,
        *model.tokenize("return 1", add_special=False),
        n_vocab - 1,
    ]
    assert finished.tokens is not None
    assert finished.tokens[: len(expected)] == expected


def test_control_tokens_are_shown_only_where_they_are_wanted(marked: Worker, model: LlamaModel):
    only_the_last_mark = {"logit_bias": {model.n_vocab - 1: 1000.0}, "max_tokens": 2, "top_k": 10}
    assert generate(marked, "A cat", only_the_last_mark)[0] == ""
    assert generate(marked, "A cat", only_the_last_mark, show_control=True)[0] == "<|mid|><|mid|>"


def test_a_template_that_knows_tools_gets_them_and_further_values(marked: Worker):
    tool = {"type": "function", "function": {"name": "look", "description": "Looks", "parameters": {}}}
    _, accepted, _ = generate(
        marked, CAPITAL, {"max_tokens": 1}, tools=[tool], template_values={"mood": "calm"}, want_prompt=True
    )
    assert accepted.prompt is not None
    assert json.dumps(tool) in accepted.prompt
    assert accepted.prompt.endswith("|calm|")


def test_a_number_beyond_64_bits_is_refused_and_the_worker_goes_on(worker: Worker):
    with pytest.raises(InvalidRequest, match="beyond 64 bits"):
        generate(worker, "A cat", {"json_schema": {"const": 2**64}})
    assert generate(worker, "A cat")[0]
