"""The GPUs that this build of llama.cpp sees."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import llama_cpp
from llama_cpp import _ggml

_GGML_DEVICE_TYPE_GPU = 1


@dataclass(frozen=True)
class Device:
    """A GPU as ggml sees it; memory in bytes."""

    name: str
    description: str
    free: int
    total: int


def gpu_devices() -> list[Device]:
    """The GPUs that this build of llama.cpp can use; empty for a CPU-only build."""
    ggml = _ggml.libggml
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    ggml.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    for text in (ggml.ggml_backend_dev_name, ggml.ggml_backend_dev_description):
        text.restype, text.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    ggml.ggml_backend_dev_memory.restype = None
    ggml.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_size_t)] * 2]
    devices = []
    for i in range(ggml.ggml_backend_dev_count()):
        device = ggml.ggml_backend_dev_get(i)
        if ggml.ggml_backend_dev_type(device) != _GGML_DEVICE_TYPE_GPU:
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        ggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        name = ggml.ggml_backend_dev_name(device).decode()
        description = ggml.ggml_backend_dev_description(device).decode()
        devices.append(Device(name, description, free.value, total.value))
    return devices


def supports_gpu() -> bool:
    """Whether this build of llama.cpp can put layers on a GPU."""
    return bool(llama_cpp.llama_supports_gpu_offload())
