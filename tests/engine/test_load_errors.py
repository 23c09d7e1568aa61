"""Models that cannot be loaded: the right kind of error, with llama.cpp's reason and no folder of the host's."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import gguf
import pytest

from api_host.engine.loader import load_model, speaks_of_memory
from api_host.engine.messages import Load
from api_host.engine.process import Worker
from api_host.errors import ApiHostError, InvalidRequest, ModelLoadFailed, WorkerDied
from api_host.generation import GenerationRequest
from api_host.models.demo import DEMO_MODEL_PATH
from tests.engine.reading import read
from tests.fakes.architectures import write_random


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One with spaces in its name, as a person's own folders have."""
    folder = tmp_path / "John Smith's models"
    folder.mkdir()
    return folder


def cut(path: Path) -> Path:
    path.write_bytes(DEMO_MODEL_PATH.read_bytes()[:-500_000])
    return path


def told(error: ApiHostError) -> str:
    return f"{error.message} {error.details}"


@pytest.mark.parametrize(
    "name", ["memory-7b.gguf", "out of memory.gguf", "my failed to allocate.gguf", "bad_alloc.GGUF"]
)
def test_a_broken_file_is_broken_whatever_its_name_says(folder: Path, name: str) -> None:
    path = folder / name
    path.write_text("this is no model " * 100)
    with pytest.raises(ModelLoadFailed, match=f"llama.cpp cannot load {name}: .*{name}"):
        load_model(Load(str(path), n_ctx=512))
    with pytest.raises(ModelLoadFailed, match=f"llama.cpp cannot load the draft model {name}: "):
        load_model(Load(str(DEMO_MODEL_PATH), n_ctx=512, draft_model=str(path)))


@pytest.mark.parametrize(
    ("reason", "of_memory"),
    [
        ("unable to allocate CUDA0 buffer", True),
        ("ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB: cudaMalloc failed: x", True),
        ("failed to allocate buffer for kv cache", True),
        ("failed to allocate compute pp buffers", True),
        ("vk::Device::allocateMemory: ErrorOutOfDeviceMemory", True),
        ("std::bad_alloc", True),
        ("CUDA error: out of memory", True),
        ("failed to reserve initial output buffer", True),
        ("gguf_init_from_file: memory size overflow while allocating ggml context", False),
        ("missing tensor 'blk.0.memory.weight' in m-allocated.gguf", False),
        ("unexpectedly reached end of buffer", False),
        ("failed to load model from m-out of memory-00001-of-00003.gguf", False),
    ],
)
def test_llama_cpps_phrases_of_memory_are_known(reason: str, of_memory: bool) -> None:
    name = "m-out of memory-00001-of-00003.gguf" if "-of-" in reason else "m-allocated.gguf"
    assert speaks_of_memory(reason, f"/models/{name}") == of_memory


def test_no_folder_of_the_host_is_told(folder: Path) -> None:
    broken, draft = cut(folder / "m.gguf"), cut(folder / "d.gguf")
    for load in (
        Load(str(broken), n_ctx=512),
        Load(str(folder / "none.gguf"), n_ctx=512),
        Load(str(DEMO_MODEL_PATH), n_ctx=512, draft_model=str(draft)),
    ):
        with pytest.raises(ApiHostError) as refused:
            Worker.start(load)
        assert "Smith" not in told(refused.value)
    aborting = Path(shutil.copy(DEMO_MODEL_PATH, folder / "aborting.gguf"))
    reader = gguf.GGUFReader(aborting, "r+")
    reader.fields["llama.block_count"].parts[-1][0] = 600
    reader.data.flush()
    with pytest.raises(WorkerDied) as died:
        Worker.start(Load(str(aborting), n_ctx=512))
    assert "Smith" not in told(died.value)


def test_an_adapters_folder_is_not_told_either(folder: Path) -> None:
    worker = Worker.start(Load(str(DEMO_MODEL_PATH), n_ctx=512, n_threads=1))
    broken = folder / "adapter.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    for path in (broken, folder / "none.gguf"):
        stream = worker.generate(GenerationRequest("Hello"), adapters=[(str(path), 1.0)])
        with pytest.raises(InvalidRequest, match="this is no adapter") as refused:
            read(stream)
        assert "Smith" not in told(refused.value)
    worker.stop()


def test_what_was_printed_while_a_model_loaded_is_no_reason_of_a_later_end(tmp_path: Path) -> None:
    # llama.cpp warns of a list of tokens without an end, and of other oddities, and goes on.
    path = tmp_path / "warned.gguf"
    reader = gguf.GGUFReader(shutil.copy(DEMO_MODEL_PATH, path), "r+")
    reader.fields["tokenizer.ggml.eos_token_id"].parts[-1][0] = 100_000
    reader.data.flush()
    worker = Worker.start(Load(str(path), n_ctx=512, n_threads=1))
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerDied, match="SIGKILL") as died:
        while True:
            read(worker.generate(GenerationRequest("Hello")))
    assert "printed" not in died.value.message
    assert died.value.details["stderr"] == ""
    worker.stop()


@pytest.mark.parametrize("name", ["t5", "t5encoder"])
def test_a_model_with_an_encoder_is_neither_served_nor_a_draft(tmp_path: Path, name: str) -> None:
    path = write_random(tmp_path / f"{name}.gguf", name, DEMO_MODEL_PATH)
    with pytest.raises(ModelLoadFailed, match="models with an encoder, as T5 has, cannot be served"):
        load_model(Load(str(path), n_ctx=512))
    with pytest.raises(ModelLoadFailed, match=f"the draft model {name}.gguf has an encoder"):
        load_model(Load(str(DEMO_MODEL_PATH), n_ctx=512, draft_model=str(path)))
