"""GGML files of every container and type become GGUFs of the same values, tokens and logits."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest

from api_host.engine.messages import Load
from api_host.engine.process import Worker
from api_host.generation import SamplingParams
from api_host.models.ggml import convert_file, gguf_file, is_ggml
from tests.engine.reading import begin, read
from tests.fakes.ggml_files import CONTAINERS, FILE_TYPES, TYPE_IDS, head, tensor_head, write_ggml
from tests.fakes.tiny_llama import MERGES, VOCABULARY, Array, TinyLlama

TOKENS = [1, 264, 265, 259, 267, 270, 80, 259, 264, 265, 266, 300 % len(VOCABULARY), 268, 5, 277, 281]

GGUF_NAMES = {
    "tok_embeddings": "token_embd",
    "norm": "output_norm",
    "output": "output",
    "attention.wq": "attn_q",
    "attention.wk": "attn_k",
    "attention.wv": "attn_v",
    "attention.wo": "attn_output",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w2": "ffn_down",
    "feed_forward.w3": "ffn_up",
    "attention_norm": "attn_norm",
    "ffn_norm": "ffn_norm",
}


def gguf_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if not stem.startswith("layers."):
        return f"{GGUF_NAMES[stem]}.weight"
    _, layer, of_layer = stem.split(".", 2)
    return f"blk.{layer}.{GGUF_NAMES[of_layer]}.weight"


def values_of(path: Path) -> dict[str, Array]:
    """The GGUF's tensors, dequantised, rows first."""
    return {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape[::-1])
        for tensor in gguf.GGUFReader(path).tensors
    }


def field(path: Path, key: str) -> object:
    found = gguf.GGUFReader(path).get_field(key)
    assert found is not None, key
    return found.contents()


def loaded(path: Path) -> llama_cpp.Llama:
    return llama_cpp.Llama(
        str(path), n_ctx=64, n_batch=64, n_threads=1, logits_all=True, type_k=0, type_v=0, verbose=False
    )


def logits_of(path: Path, tokens: list[int]) -> Array:
    model = loaded(path)
    model.eval(tokens)
    logits = np.array(model.scores[: len(tokens)])
    model.close()
    return logits


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda each: f"{each[0]}{each[1]}")
@pytest.mark.parametrize("kind", TYPE_IDS)
def test_every_tensor_keeps_its_values(tmp_path: Path, container: tuple[str, int], kind: str) -> None:
    held = write_ggml(tmp_path / "llama.bin", TinyLlama(n_head_kv=2), container, kind)
    found = values_of(convert_file(tmp_path / "llama.bin"))
    assert found.keys() == {gguf_name(name) for name in held}
    for name, values in held.items():
        np.testing.assert_array_equal(found[gguf_name(name)], values, err_msg=name)


@pytest.mark.parametrize("kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"])
def test_k_quants_of_the_last_container_keep_their_bytes(tmp_path: Path, kind: str) -> None:
    model = TinyLlama(n_embd=256, n_ff=256, n_layer=1)
    type_id = gguf.GGMLQuantizationType[kind]
    path, random, raw = tmp_path / "llama.bin", np.random.default_rng(2), {}
    with path.open("wb") as file:
        file.write(head(model))
        for name, weight in model.weights.items():
            own = type_id if weight.ndim == 2 else gguf.GGMLQuantizationType.F32
            per_block, block = gguf.GGML_QUANT_SIZES[own]
            raw[gguf_name(name)] = random.bytes(weight.size // per_block * block)
            file.write(tensor_head(name, weight.shape, own))
            file.write(bytes(-file.tell() % 32) + raw[gguf_name(name)])
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(convert_file(path)).tensors}
    assert {name: tensor.data.tobytes() for name, tensor in found.items()} == raw
    assert found["output.weight"].tensor_type == type_id


def test_pieces_join_into_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ggml(tmp_path / "llama.bin", TinyLlama(), ("ggjt", 1), "Q4_0")
    for name in ("one", "many"):  # copies of one second: a converted file tells how old its source was
        (tmp_path / name).mkdir()
        shutil.copy2(tmp_path / "llama.bin", tmp_path / name)
    whole = convert_file(tmp_path / "one" / "llama.bin").read_bytes()
    monkeypatch.setattr(gguf_file, "_PIECE_BYTES", 50)
    assert convert_file(tmp_path / "many" / "llama.bin").read_bytes() == whole


@pytest.mark.parametrize(
    ("container", "n_head_kv"), [*((each, 4) for each in CONTAINERS), (("ggjt", 3), 2)], ids=str
)
def test_the_converted_model_gives_the_same_logits(
    tmp_path: Path, container: tuple[str, int], n_head_kv: int
) -> None:
    model = TinyLlama(n_head_kv=n_head_kv)
    write_ggml(tmp_path / "llama.bin", model, container, "F32")
    eps = 1e-6 if n_head_kv == 4 else 1e-5
    logits = logits_of(convert_file(tmp_path / "llama.bin"), TOKENS)
    np.testing.assert_allclose(logits, model.logits(TOKENS, eps), atol=1e-4)


def test_other_positions_or_another_eps_would_give_other_logits() -> None:
    model = TinyLlama()
    right = model.logits(TOKENS, 1e-6)
    for wrong in (model.logits(TOKENS, 1e-6, neighbours=False), model.logits(TOKENS, 1e-5)):
        assert np.abs(wrong - right).max() > 1e-2


def test_the_eps_that_was_asked_for_is_the_one_it_computes_with(tmp_path: Path) -> None:
    model = TinyLlama()
    write_ggml(tmp_path / "llama.bin", model)
    logits = logits_of(convert_file(tmp_path / "llama.bin", rms_norm_eps=1e-4), TOKENS)
    np.testing.assert_allclose(logits, model.logits(TOKENS, 1e-4), atol=1e-4)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_a_quantised_model_of_the_first_container_computes_what_its_values_say(
    tmp_path: Path, kind: str
) -> None:
    model = TinyLlama()
    model.weights = write_ggml(tmp_path / "llama.bin", model, ("ggml", 0), kind)
    logits = logits_of(convert_file(tmp_path / "llama.bin"), TOKENS)
    expected = model.logits(TOKENS, 1e-6)
    # llama.cpp rounds the activations to 8 bits beside quantised weights.
    assert np.abs(logits - expected).mean() < 0.05 * expected.std()


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda each: f"{each[0]}{each[1]}")
def test_the_vocabulary_reads_and_writes_text(tmp_path: Path, container: tuple[str, int]) -> None:
    write_ggml(tmp_path / "llama.bin", TinyLlama(), container)
    model = loaded(convert_file(tmp_path / "llama.bin"))
    the, cat, o, n = (VOCABULARY.index(piece, 259) for piece in (" the", " cat", "o", "on"))
    assert model.tokenize(b"the cat") == [1, the, cat]
    assert model.tokenize(b"on\xc3\xb6o", add_bos=False) == [
        VOCABULARY.index(" ", 259),
        n,
        3 + 0xC3,
        3 + 0xB6,
        o,
    ]
    assert model.detokenize([the, cat, 3 + 0x0A, 3 + 0xC3, 3 + 0xB6]) == " the cat\nö".encode()
    assert (model.token_bos(), model.token_eos()) == (1, 2)
    model.close()


def test_the_vocabulary_has_scores_and_types(tmp_path: Path) -> None:
    write_ggml(tmp_path / "old.bin", TinyLlama(), ("ggml", 0))
    write_ggml(tmp_path / "new.bin", TinyLlama(), ("ggjt", 3))
    old, new = (convert_file(tmp_path / name) for name in ("old.bin", "new.bin"))
    assert field(old, "tokenizer.ggml.scores") == field(new, "tokenizer.ggml.scores")
    texts, types = field(new, "tokenizer.ggml.tokens"), field(new, "tokenizer.ggml.token_type")
    assert isinstance(texts, list) and isinstance(types, list)
    assert texts[:4] + texts[258:261] == ["<unk>", "<s>", "</s>", "<0x00>", "<0xFF>", "▁▁", "▁t"]
    assert types[: 259 + len(MERGES)] == [2, 3, 3] + [6] * 256 + [1] * len(MERGES)
    # "▁" stands in the vocabulary twice, as a space and as itself; llama.cpp takes each text once.
    assert texts[-2] == f"<repeated_{len(texts) - 2}>" and types[-2] == 5
    assert len(set(texts)) == len(texts)


def test_the_metadata_says_what_the_file_and_the_caller_say(tmp_path: Path) -> None:
    path = tmp_path / "llama.q5_1.bin"
    write_ggml(path, TinyLlama(n_head_kv=2), ("ggjt", 2), "Q5_1")
    result = convert_file(path, n_ctx=4096, rms_norm_eps=2e-5)
    assert result == tmp_path / "llama.q5_1.gguf"
    expected = {
        "general.architecture": "llama",
        "general.name": "llama.q5_1",
        "general.file_type": FILE_TYPES["Q5_1"],
        "general.quantization_version": 2,
        "llama.context_length": 4096,
        "llama.embedding_length": 64,
        "llama.block_count": 2,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.rope.dimension_count": 16,
        "llama.vocab_size": len(VOCABULARY),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    assert {key: field(result, key) for key in expected} == expected
    assert field(result, "llama.attention.layer_norm_rms_epsilon") == pytest.approx(2e-5)


def test_the_engine_answers_with_a_converted_model(tmp_path: Path) -> None:
    write_ggml(tmp_path / "llama.bin", TinyLlama(), ("ggmf", 1), "Q4_1")
    result = convert_file(tmp_path / "llama.bin")
    worker = Worker.start(Load(path=str(result), n_ctx=64, n_slots=1, n_threads=1))
    try:
        sampling = SamplingParams(max_tokens=5, top_k=1, ignore_eos=True)
        _, finished = read(begin(worker, "the cat", sampling))
    finally:
        worker.stop()
    assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == (3, 5)


def test_another_file_of_that_name_and_size_is_converted_anew(tmp_path: Path) -> None:
    path, other = tmp_path / "llama.bin", tmp_path / "other.bin"
    write_ggml(path, TinyLlama(n_layer=1))
    other.write_bytes(path.read_bytes()[:-4] + b"last")
    os.utime(other, (1.7e9, 1.7e9))
    assert convert_file(path).read_bytes()[-4:] != b"last"
    other.replace(path)
    assert convert_file(path).read_bytes()[-4:] == b"last"


def test_a_ggml_file_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    for container in CONTAINERS:
        write_ggml(tmp_path / "llama.bin", TinyLlama(n_layer=1), container)
        assert is_ggml(tmp_path / "llama.bin")
    assert not is_ggml(convert_file(tmp_path / "llama.bin"))
    assert not is_ggml(tmp_path / "nothing") and not is_ggml(tmp_path)
