"""The GPUs that this build of llama.cpp sees."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import llama_cpp

# libllama is linked with libggml, wherever that lies ($LLAMA_CPP_LIB_PATH).
from llama_cpp.llama_cpp import _lib as ggml

from api_host.errors import ModelLoadFailed
from api_host.gpu_shares import gpu_shares

_GPU, _INTEGRATED_GPU = 1, 2  # ggml-backend.h, ggml_backend_dev_type


@dataclass(frozen=True)
class Device:
    """A GPU as ggml sees it; memory in bytes."""

    name: str
    description: str
    free: int
    total: int


def gpu_devices() -> list[Device]:
    """The GPUs that this build of llama.cpp can use; empty for a CPU-only build.

    As llama.cpp chooses: those with memory of their own, or else those that share the machine's (Jetson, GB10).
    """
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    ggml.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    for text in (ggml.ggml_backend_dev_name, ggml.ggml_backend_dev_description):
        text.restype, text.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    ggml.ggml_backend_dev_memory.restype = None
    ggml.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_size_t)] * 2]
    handles = [ggml.ggml_backend_dev_get(i) for i in range(ggml.ggml_backend_dev_count())]
    of_type = {
        kind: [handle for handle in handles if ggml.ggml_backend_dev_type(handle) == kind]
        for kind in (_GPU, _INTEGRATED_GPU)
    }
    return [_device(handle) for handle in of_type[_GPU] or of_type[_INTEGRATED_GPU]]


def _device(handle: int) -> Device:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    ggml.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
    name = ggml.ggml_backend_dev_name(handle).decode()
    description = ggml.ggml_backend_dev_description(handle).decode()
    return Device(name, description, free.value, total.value)


def used_devices(
    devices: list[Device], main_gpu: int | None = None, tensor_split: list[float] | None = None
) -> list[Device]:
    """The GPUs that get layers: all of them, the one that is named, or those with a share above 0.

    Raises:
        ModelLoadFailed: the settings name a GPU that is not there.
    """
    n_named = len(tensor_split or ()) if main_gpu is None else main_gpu + 1
    if n_named > len(devices) > 0:
        setting = "tensor_split" if main_gpu is None else "main_gpu"
        raise ModelLoadFailed(
            f"{setting}: names {n_named} GPUs and this machine has {len(devices)}; change the setting"
        )
    shares = gpu_shares(len(devices), main_gpu, tensor_split)
    if shares is None:
        return devices
    return [device for device, share in zip(devices, shares, strict=True) if share > 0]


def supports_gpu() -> bool:
    """Whether this build of llama.cpp can put layers on a GPU."""
    return bool(llama_cpp.llama_supports_gpu_offload())
