"""Which GPUs a model may use, and where its layers go there.

Knows how llama.cpp counts devices, and nothing of loading.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import msgspec

from api_host.engine import memory
from api_host.engine.llama.devices import Device, gpu_devices, supports_gpu, used_devices
from api_host.engine.messages import Load
from api_host.free_memory import free_memory
from api_host.gguf_header import (
    NotGguf,
    Value,
    file_size,
    read_header,
)
from api_host.gpu_shares import room_on
from api_host.kv_cache import kv_cache, layer_count

CUDA_INSTALL = (
    "pip install --force-reinstall --no-deps --only-binary=llama-cpp-python "
    "llama-cpp-python --extra-index-url https://abetlen.github.io/llama-cpp-python/whl/cu125"
)


def used_gpus(load: Load) -> list[Device]:
    """The GPUs that the model may go on."""
    if not load.use_gpu or load.n_gpu_layers == 0:
        return []
    return used_devices(gpu_devices(), load.main_gpu, load.tensor_split)


def shared_out(load: Load, used: list[Device]) -> Load:
    """The message with each GPU's share, where the settings leave that open: what is free there beyond the reserve.

    llama.cpp's own shares are of all that is free, and leave a GPU that is smaller than the others no room for buffers.
    """
    room = [float(max(0, gpu.free - memory.GPU_RESERVE)) for gpu in used]
    if load.main_gpu is not None or load.tensor_split or len(used) < 2 or not any(room):
        return load
    return msgspec.structs.replace(load, tensor_split=room)


def place(load: Load, shape: memory.Shape, n_ctx: int, used: list[Device]) -> memory.Placement:
    """What is chosen by what is free, with a sentence where GPUs are not used.

    Raises:
        OutOfMemory: it does not fit.
    """
    host_free = free_memory()
    if not used:
        placed, why = None, _unused_gpu(load)
    else:
        placed = memory.place_on_gpu(
            shape, n_ctx, load.n_slots, load.n_gpu_layers, _room(load, used), host_free, load.most_slots
        )
        why = ["the model runs on the CPU: the GPU has no room for a layer of it"]
    if placed is not None:
        return placed
    placed = memory.place_on_cpu(shape, n_ctx, load.n_slots, host_free, load.most_slots)
    return replace(placed, notes=(*why, *placed.notes))


def _room(load: Load, used: list[Device]) -> int:
    """Bytes on the GPUs, as if they were one: what the buffers of each further one take is gone."""
    shares = None if load.main_gpu is not None else [share for share in load.tensor_split or [] if share > 0]
    free = [max(0, gpu.free - memory.GPU_RESERVE) for gpu in used]
    return room_on(free, shares or None) + memory.GPU_RESERVE


def shape_of(load: Load, header: dict[str, Value]) -> memory.Shape:
    """The figures of the model, and of its draft model."""

    def figures(path: str, header: dict[str, Value]) -> memory.Shape:
        return memory.Shape(layer_count(header), file_size(Path(path)), kv_cache(header, load.cache_type))

    shape = figures(load.path, header)
    if load.draft_model is None:
        return shape
    return replace(shape, draft=figures(load.draft_model, header_of(Path(load.draft_model))))


def header_of(path: Path) -> dict[str, Value]:
    """The header's numbers; none of what is no GGUF, so that llama.cpp says what is wrong with it."""
    try:
        return read_header(path)
    except NotGguf:
        return {}


def _unused_gpu(load: Load) -> list[str]:
    """One loud sentence for a machine with a GPU that this build of llama.cpp cannot use."""
    unwanted = not load.use_gpu or load.n_gpu_layers == 0
    if unwanted or supports_gpu() or shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False)
    if listed.returncode != 0 or "GPU" not in listed.stdout:
        return []
    return [f"THE GPU IS NOT USED: llama-cpp-python was built for the CPU only. Mend it with: {CUDA_INSTALL}"]
