"""GGML files that cannot be converted are refused in a sentence; what is beside them is never harmed."""

from __future__ import annotations

import os
import shutil
import struct
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gguf
import numpy as np
import pytest

from api_host.errors import DiskFull, InvalidRequest, ModelLoadFailed
from api_host.models.ggml import convert_file, gguf_file
from tests.fakes import ggml_files
from tests.fakes.ggml_files import head, tensor_head, write_ggml
from tests.fakes.tiny_llama import VOCABULARY, TinyLlama

SMALL = TinyLlama(n_layer=1)
HEAD = len(head(SMALL))
FIRST_TOKENS = 8 + 7 * 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_ggml(tmp_path / "llama.bin", SMALL, ("ggjt", 3), "F16")
    return tmp_path / "llama.bin"


def refusal(path: Path, **options: object) -> str:
    """The sentence; nothing may be left beside the file, and no path of the machine may be told."""
    before = sorted(path.parent.iterdir())
    with pytest.raises(ModelLoadFailed) as caught:
        convert_file(path, **options)  # type: ignore[arg-type]
    assert sorted(path.parent.iterdir()) == before
    assert str(path.parent) not in caught.value.message
    return caught.value.message


def put(position: int, form: str, *numbers: float) -> Callable[[bytes], bytes]:
    new = struct.pack(f"<{form}", *numbers)
    return lambda text: text[:position] + new + text[position + len(new) :]


def swap(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    assert len(old) == len(new)
    return lambda text: text.replace(old, new, 1)


def hparam(index: int, value: int) -> Callable[[bytes], bytes]:
    return put(8 + 4 * index, "I", value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put(0, "I", 0x12345678), ["no GGML file", "ggjt"]),
        (put(0, "4s", b"GGUF"), ["GGUF already"]),
        (put(0, "I", 0x67676C61), ["LoRA adapter"]),
        (put(4, "I", 4), ["ggjt version 4", "1, 2, 3"]),
        (hparam(0, 1 << 31), ["n_vocab is 2147483648", "1048576"]),
        (hparam(0, 17), ["n_vocab is 17", "260"]),
        (hparam(1, 0), ["n_embd is 0"]),
        (hparam(1, 63), ["n_embd 63", "n_head 4", "do not fit"]),
        (hparam(3, 0xFFFFFFFF), ["n_head is 4294967295"]),
        (hparam(4, 100_000), ["n_layer is 100000", "512"]),
        (hparam(5, 8), ["n_rot 8"]),
        (hparam(6, 77), ["ftype is 77"]),
        (put(FIRST_TOKENS, "I", 1 << 30), ["token 0 of its vocabulary", "1073741824 bytes"]),
        (put(FIRST_TOKENS + 4 + 5, "f", float("nan")), ["token 0", "score"]),
        (swap(b"\x01\0\0\0\x41", b"\x01\0\0\0\x42"), ["token 68", "byte 0x41"]),
        (
            swap(b"\x04\0\0\0 the", b"\x04\0\0\0\xff\xffhe"),
            ["token", "UTF-8"],
        ),
        (put(HEAD, "I", 3), ["3 dimensions"]),
        (put(HEAD + 4, "I", 1 << 31), ["name of 2147483648 bytes"]),
        (put(HEAD + 8, "I", 4), ["tok_embeddings.weight is Q4_2", "no longer"]),
        (put(HEAD + 8, "I", 99), ["tok_embeddings.weight has type 99", "ggjt v3", "Q5_1"]),
        (put(HEAD + 12, "I", 0), ["shape 0 x"]),
        (put(HEAD + 12, "2I", 0xFFFFFFFF, 0xFFFFFFFF), ["ends inside tensor tok_embeddings.weight"]),
        (swap(b"output.weight", b"lm_head.weigh"), ["tensor lm_head.weigh", "LLaMA"]),
        (swap(b"attention.wk.weight", b"attention.wq.weight"), ["wq.weight comes twice"]),
        (swap(b"layers.0.ffn_norm", b"layers.9.ffn_norm"), ["tensor layers.9.ffn_norm.weight"]),
    ],
)
def test_a_wrong_part_is_named(path: Path, change: Callable[[bytes], bytes], words: list[str]) -> None:
    whole = path.read_bytes()
    assert change(whole) != whole
    path.write_bytes(change(whole))
    message = refusal(path)
    assert message.startswith("llama.bin: ")
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("layers.0.feed_forward.w2.weight", (64, 128), ["w2.weight", "128 x 64", "96 x 64"]),
        ("layers.0.attention.wk.weight", (48, 64), ["wk.weight has 48 rows", "4 heads of 16"]),
        ("tok_embeddings.weight", (SMALL.n_vocab, 32), ["one of 2 parts"]),
        ("norm.weight", (32,), ["norm.weight", "32", "64"]),
        ("norm.weight", (64, 1), ["norm.weight", "64"]),
    ],
)
def test_a_wrong_shape_is_named(path: Path, name: str, shape: tuple[int, ...], words: list[str]) -> None:
    wrong = TinyLlama(n_layer=1, weights={name: np.zeros(shape, np.float32)})
    write_ggml(path, wrong)
    message = refusal(path)
    assert [word for word in words if word not in message] == [], message


def test_a_vector_that_is_not_f32_is_named(path: Path) -> None:
    text = path.read_bytes()
    vector = tensor_head("norm.weight", (64,), 0)
    text = text.replace(vector, tensor_head("norm.weight", (64,), 1))
    path.write_bytes(text)
    # 16-bit values end earlier, so the next tensor's head is looked for in the middle of this one's values.
    assert "damaged" in refusal(path)


def test_a_missing_tensor_is_named(path: Path) -> None:
    text = path.read_bytes()
    path.write_bytes(text[: text.index(tensor_head("layers.0.feed_forward.w3.weight", (96, 64), 1))])
    assert "no tensor layers.0.attention_norm.weight, nor 2 others" in refusal(path)


def test_k_quants_before_the_last_container_are_refused(path: Path) -> None:
    write_ggml(path, SMALL, ("ggjt", 2))
    path.write_bytes(put(HEAD + 8, "I", 12)(path.read_bytes()))
    assert "type 12 in a ggjt v2 file" in refusal(path)


def test_a_scale_beyond_half_precision_is_refused(path: Path) -> None:
    write_ggml(path, SMALL, ("ggml", 0), "Q4_0")
    text = path.read_bytes()
    start = text.index(b"tok_embeddings.weight") + len(b"tok_embeddings.weight")
    path.write_bytes(put(start + 20, "f", 1e6)(text))
    assert "tok_embeddings.weight has a scale too large" in refusal(path)


def test_a_vocabulary_without_spaces_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(
            ggml_files, "VOCABULARY", [word.strip(" ▁") or f"w{i}" for i, word in enumerate(VOCABULARY)]
        )
        write_ggml(path, SMALL)
    assert "no token of its vocabulary begins with a space" in refusal(path)


def test_every_beginning_of_a_file_is_refused_with_the_part_where_it_ends(path: Path) -> None:
    whole = path.read_bytes()
    assert len(whole) > 50_000
    for length in [*range(80), *range(80, HEAD, 409), *range(HEAD, len(whole), 797), len(whole) - 1]:
        path.write_bytes(whole[:length])
        message = refusal(path)
        assert "ends inside" in message or "has no tensor" in message, (length, message)
    assert "tensor layers.0.ffn_norm.weight" in message


def test_a_damaged_byte_is_refused_or_does_no_harm(path: Path) -> None:
    whole, random = path.read_bytes(), np.random.default_rng(3)
    refused = 0
    for position in [*range(36), *random.integers(36, HEAD, 90), *random.integers(HEAD, HEAD + 60, 40)]:
        text = bytearray(whole)
        text[position] ^= int(random.integers(1, 256))
        path.write_bytes(text)
        try:
            convert_file(path).unlink()
        except ModelLoadFailed:
            refused += 1
    assert refused > 40


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nothing.bin") == "nothing.bin: cannot be converted: No such file or directory"
    assert "Is a directory" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_ctx": 0}, "n_ctx: 0"),
        ({"rms_norm_eps": 0.0}, "rms_norm_eps"),
        ({"rms_norm_eps": float("nan")}, "nan"),
    ],
)
def test_arguments_out_of_range_are_refused(path: Path, options: dict, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        convert_file(path, **options)


def test_without_the_gguf_package_the_sentence_says_what_to_install(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "pip install 'api-host[convert]'" in refusal(path)


def test_a_conversion_is_reused_until_the_file_or_the_arguments_change(path: Path) -> None:
    def inode(**options: int) -> int:
        return convert_file(path, **options).stat().st_ino  # type: ignore[arg-type]

    first = inode()
    assert inode() == first
    second = inode(n_ctx=512)
    assert second != first
    made = convert_file(path, n_ctx=512).stat().st_mtime_ns
    os.utime(path, ns=(made + 10**9, made + 10**9))
    assert inode(n_ctx=512) != second


def test_a_foreign_gguf_of_that_name_is_not_touched(path: Path) -> None:
    foreign = path.with_suffix(".gguf")
    for text in (b"", b"GGUF of somebody"):
        foreign.write_bytes(text)
        assert "llama.gguf is there already" in refusal(path)
        assert foreign.read_bytes() == text
    writer = gguf.GGUFWriter(foreign, "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert "move it away" in refusal(path)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_end_in_the_middle_leaves_nothing(path: Path, failure: BaseException) -> None:
    def stop(done: int, total: int) -> None:
        raise failure

    with pytest.raises((KeyboardInterrupt, DiskFull)):
        convert_file(path, on_progress=stop)
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_conversion_left_is_overwritten(path: Path) -> None:
    (path.parent / ".llama.gguf.partial").write_bytes(bytes(10_000_000))
    (path.parent / ".llama.gguf.lock").touch()
    result = convert_file(path)
    assert sorted(path.parent.iterdir()) == [path, result]
    assert result.stat().st_size < 1_000_000


def test_a_full_disk_is_told_before_a_byte_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = convert_file(path).stat().st_size
    path.with_suffix(".gguf").unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9999, 999, 9000))  # type: ignore[attr-defined]
    with pytest.raises(DiskFull, match=r"llama\.gguf needs .* but the disk has 9,000") as caught:
        convert_file(path)
    assert size <= caught.value.details["needed"] <= size + 100_000
    assert caught.value.details["free"] == 9000
    assert list(path.parent.iterdir()) == [path]


def test_two_at_once_write_it_once(path: Path) -> None:
    reports: list[int] = []
    with ThreadPoolExecutor(4) as threads:
        asked = [
            threads.submit(convert_file, path, on_progress=lambda done, total: reports.append(done))
            for _ in range(4)
        ]
        assert {each.result() for each in asked} == {path.with_suffix(".gguf")}
    assert len(reports) == len(SMALL.weights)
    assert sorted(path.parent.iterdir()) == [path, path.with_suffix(".gguf")]


def test_memory_holds_a_piece_and_not_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_file, "_PIECE_BYTES", 1 << 18)
    path, n_vocab = tmp_path / "llama.bin", 4000
    shapes = TinyLlama(n_layer=1, n_embd=1024, n_ff=64).shapes()
    model = TinyLlama(n_layer=1, n_embd=1024, n_ff=64, n_vocab=n_vocab, weights={"a": np.zeros(1)})
    with path.open("wb") as file:
        file.write(head(model, ("ggjt", 1)))
        for name, shape in shapes.items():
            shape = (n_vocab, 1024) if shape[0] == shapes["output.weight"][0] else shape
            kind, n_bytes = (
                (2, shape[0] * 640) if len(shape) == 2 and shape[1] == 1024 else (0, 4 * int(np.prod(shape)))
            )
            file.write(tensor_head(name, shape, kind))
            file.write(bytes(-file.tell() % 32) + bytes(n_bytes))
    tracemalloc.start()
    try:
        result = convert_file(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.stat().st_size > 6_000_000
    assert peak < 4_000_000
