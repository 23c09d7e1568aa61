"""What a model is reckoned to need, what there is, and which models have to go for it."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import psutil
import pytest
from gguf import GGUFWriter

from api_host.engine.messages import Load
from api_host.errors import OutOfMemory
from api_host.gguf_header import NotGguf, read_header
from api_host.models.demo import DEMO_MODEL_PATH
from api_host.models.pool.eviction import choose_victims
from api_host.models.pool.loaded import LoadedModel, Target
from api_host.models.pool.memory import Holder, Memory, Need, Room, estimate_need, file_size
from tests.fakes.worker import FakeWorkers

MB = 1024**2


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(**numbers: int | list[int]) -> bytes:
    """A GGUF of a header alone: an architecture "toy" with these numbers, then a tokenizer that is cut off."""
    pairs = [text("general.architecture") + struct.pack("<I", 8) + text("toy")]
    for key, value in numbers.items():
        name = text(f"toy.{key.replace('__', '.')}")
        if isinstance(value, list):
            items = b"".join(struct.pack("<i", item) for item in value)
            pairs.append(name + struct.pack("<IIQ", 9, 5, len(value)) + items)
        else:
            pairs.append(name + struct.pack("<II", 4, value))
    pairs.append(text("tokenizer.ggml.tokens"))
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs)


TOY = {"block_count": 2, "embedding_length": 64, "attention__head_count": 8, "attention__head_count_kv": 4}
TOY_KV = 2 * 4 * (8 + 8) * 2  # layers, KV heads, key and value of 8 numbers each, 2 bytes


@pytest.mark.parametrize(
    ("numbers", "per_token"),
    [
        (TOY, TOY_KV),
        ({**TOY, "attention__head_count_kv": [4, 0]}, TOY_KV // 2),
        ({**TOY, "attention__key_length": 16, "attention__value_length": 16}, TOY_KV * 2),
        ({name: value for name, value in TOY.items() if "kv" not in name}, TOY_KV * 2),
    ],
)
def test_the_need_is_the_weights_and_the_cells_of_all_sequences(
    tmp_path: Path, numbers: dict[str, int | list[int]], per_token: int
) -> None:
    path = tmp_path / "toy.gguf"
    path.write_bytes(gguf(**numbers))
    weights = int(file_size(path) * 1.1)
    need = estimate_need(path, n_ctx=1024, n_slots=3)
    assert need.wanted == need.one_sequence == weights + 3 * 1024 * per_token
    assert need.least == weights + 3 * 512 * per_token
    free_choice = estimate_need(path, n_ctx=1024, n_slots=None)
    assert free_choice.wanted == weights + 4 * 1024 * per_token
    assert free_choice.one_sequence == weights + 1024 * per_token


def test_a_model_needs_no_more_context_than_it_was_trained_for(tmp_path: Path) -> None:
    path = tmp_path / "toy.gguf"
    path.write_bytes(gguf(**TOY, context_length=256))
    assert estimate_need(path, 4096, 1) == estimate_need(path, 256, 1)


def test_the_header_of_a_real_model_is_read() -> None:
    header = read_header(DEMO_MODEL_PATH)
    assert header["general.architecture"] == "llama"
    assert estimate_need(DEMO_MODEL_PATH, 512, 1).wanted > DEMO_MODEL_PATH.stat().st_size * 1.1


def test_figures_behind_the_tokenizer_are_found(tmp_path: Path) -> None:
    path = tmp_path / "late.gguf"
    writer = GGUFWriter(path, "toy")
    writer.add_token_list([b"a", b"bc"])
    writer.add_token_scores([0.5] * 5000)
    writer.add_bos_token_id(1)
    for key, value in TOY.items():
        writer.add_uint32(f"toy.{key.replace('__', '.')}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert estimate_need(path, 1024, 1).wanted == int(file_size(path) * 1.1) + 1024 * TOY_KV


@pytest.mark.parametrize("content", [b"", b"GGUF", b"<html>", gguf(**TOY)[:50], b"GGUF" + b"\xff" * 60])
def test_a_file_that_is_no_gguf_is_reckoned_by_its_size(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(NotGguf):
        read_header(path)
    assert estimate_need(path, 4096, 4).wanted == int(len(content) * 1.1)


def test_figures_that_are_no_numbers_count_nothing(tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    writer = GGUFWriter(path, "toy")
    writer.add_float32("toy.context_length", float("inf"))
    writer.add_float32("toy.block_count", float("nan"))
    writer.add_array("toy.attention.head_count_kv", [float("nan"), float("inf"), 2.0])
    writer.add_string("toy.attention.head_count", "eight")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert read_header(path)["toy.attention.head_count_kv"] == [0, 0, 2]
    assert estimate_need(path, 4096, 4).wanted == int(file_size(path) * 1.1)
    path.write_bytes(gguf(context_length=2**31, **TOY))
    assert estimate_need(path, 4096, 1).wanted == int(file_size(path) * 1.1) + 4096 * TOY_KV


def test_the_parts_of_a_split_model_count_together(tmp_path: Path) -> None:
    for part in (1, 2, 3):
        (tmp_path / f"m-0000{part}-of-00003.gguf").write_bytes(bytes(100))
    (tmp_path / "m-00001-of-00002.gguf").write_bytes(bytes(999))
    assert file_size(tmp_path / "m-00001-of-00003.gguf") == 300


def test_a_set_budget_counts_every_model_on_whatever_device() -> None:
    room = Memory(1000).room([Holder(300, on_gpu=True), Holder(200, on_gpu=False)], gpu_free=None)
    assert (room.free, room.capacity) == (500, 1000)


def test_what_a_process_has_taken_already_is_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api_host.models.pool.memory.free_memory", lambda: 8000 * MB)
    mine = psutil.Process().memory_info()
    private = mine.rss - mine.shared
    memory = Memory("auto")
    nobody = memory.room([], None)
    promised = memory.room([Holder(500 * MB, on_gpu=False)], None)
    taken = memory.room([Holder(private // 2, on_gpu=False, pid=os.getpid())], None)
    assert nobody.free - promised.free == 500 * MB
    assert nobody.free == taken.free
    assert taken.capacity is not None and taken.capacity >= taken.free


def test_free_vram_is_what_nvidia_smi_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 0, GPU-aa-1, 15000\necho 1, GPU-bb-2, 5000\necho 2, GPU-cc-3, 800\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    memory = Memory("auto")
    # Each GPU keeps something for buffers and the driver; one with less than that has no room.
    assert memory.gpu_free() == (15_000 - 900 + 5_000 - 900) * MB
    assert Memory("auto", main_gpu=1).gpu_free() == (5_000 - 900) * MB
    assert Memory("auto", tensor_split=[1.0, 1.0]).gpu_free() == 2 * (5_000 - 900) * MB
    assert Memory("auto", tensor_split=[1.0, 0.0, 1.0]).gpu_free() == 0
    assert Memory("auto", main_gpu=7).gpu_free() == 0
    room = memory.room(
        [
            Holder(100, on_gpu=True, pid=2, is_loading=True),
            Holder(7, on_gpu=True, pid=1),
            Holder(9, on_gpu=False),
        ],
        1000,
    )
    assert (room.free, room.capacity) == (900, None)
    program.write_text("#!/bin/sh\necho broken driver; exit 9\n")
    assert memory.gpu_free() is None


@pytest.mark.parametrize(
    ("visible", "free", "second"),
    [
        ("0", 15_000 - 900, 0),
        ("1,0", 5_000 - 900 + 15_000 - 900, 15_000 - 900),
        ("GPU-bb, 0", 5_000 - 900 + 15_000 - 900, 15_000 - 900),
        ("1,-1,0", 5_000 - 900, 0),
        ("", None, None),
        ("-1", None, None),
        ("MIG-aa", None, None),
    ],
)
def test_only_gpus_that_a_worker_will_see_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, free: int | None, second: int | None
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 0, GPU-aa-1, 15000\necho 1, GPU-bb-2, 5000\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert Memory("auto").gpu_free() == (None if free is None else free * MB)
    assert Memory("auto", main_gpu=1).gpu_free() == (None if second is None else second * MB)
    program.write_text("#!/bin/sh\necho No devices were found\n")
    assert Memory("auto").gpu_free() is None


def loaded(need: int, last_used: float) -> LoadedModel:
    worker = FakeWorkers()(Load("m.gguf", 512))
    model = LoadedModel(f"model {last_used}", worker, Target(512, use_gpu=True), need)
    model.last_used = last_used
    return model


NEED = Need(wanted=100, one_sequence=60, least=40)


@pytest.mark.parametrize(
    ("free", "capacity", "victims"),
    [
        (100, 300, 0),
        (60, 300, 1),  # the wish decides, as long as idle models can fulfil it
        (20, 300, 2),
        (10, 300, 2),  # 90 are enough for one sequence: no waiting
        (-30, 300, None),  # 50 are not, and a busy model's end would help
        (-30, 55, 2),  # it would not: a shorter context
        (-50, 55, None),
        (-50, None, 2),  # a GPU: the worker puts there what fits
    ],
)
def test_idle_models_go_in_the_order_of_their_last_use_and_no_more_than_needed(
    free: int, capacity: int | None, victims: int | None
) -> None:
    idle = [loaded(40, last_used=2.0), loaded(40, last_used=1.0)]
    chosen = choose_victims(NEED, Room(free, capacity), idle)
    expected = None if victims is None else [idle[1], idle[0]][:victims]
    assert chosen == expected


def test_what_never_fits_is_refused_with_the_figures() -> None:
    with pytest.raises(OutOfMemory) as refusal:
        choose_victims(NEED, Room(10, 39), [loaded(29, 1.0)])
    assert refusal.value.details == {"needed": 40, "free": 39}
