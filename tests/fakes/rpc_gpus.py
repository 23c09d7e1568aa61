"""GPUs for a machine that has none: llama.cpp's RPC backend shows the CPU of another process as a GPU of its own.

llama.cpp splits a model over such devices as over real ones: it allocates, copies and computes in each of them. The
backend is compiled from the source of the installed bindings and registered with their library, which stays as it is.
Run as a program, this serves one device: the library, then a port, then the bytes that it says are free, if not all.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.fakes.asking import is_open, within
from tests.fakes.llama_source import LLAMA_SOURCE, MISSING, ROOT

CPU = 0
# struct ggml_backend_device begins with pointers to functions, and the third of them tells the memory.
_TELLS_MEMORY = 2
_ALLOCATED = re.compile(r"alloc_buffer\] device: 0, size: (\d+) -> (remote_ptr|failed)")
# What every process imports as it begins, when it lies on the path.
_SITE = """
import sys

if "api_host.engine.worker" in sys.orig_argv:
    import ctypes

    from llama_cpp.llama_cpp import _lib as ggml

    backend = ctypes.CDLL({library!r})
    backend.ggml_backend_rpc_add_server.restype = ctypes.c_void_p
    ggml.ggml_backend_register.argtypes = [ctypes.c_void_p]
    for endpoint in {endpoints!r}:
        ggml.ggml_backend_register(backend.ggml_backend_rpc_add_server(endpoint))
"""


def missing() -> str | None:
    """What has to be there first, for whoever reads why a test is skipped."""
    if not LLAMA_SOURCE.exists():
        return MISSING
    return None if shutil.which("c++") else "no C++ compiler; on Debian and Ubuntu: apt install g++"


def compiled(folder: Path) -> Path:
    """The RPC backend as a library of its own (six seconds)."""
    ggml, library = LLAMA_SOURCE / "ggml", folder / "libggml-rpc.so"
    sources = [ggml / "src/ggml-rpc" / name for name in ("ggml-rpc.cpp", "transport.cpp")]
    flags = ["-O1", "-shared", "-fPIC", "-std=c++17", "-DGGML_BACKEND_SHARED", "-DGGML_BACKEND_BUILD"]
    headers = [f"-I{ggml / name}" for name in ("include", "src")]
    linked = [f"-L{_libraries()}", "-lggml-base", "-lpthread"]
    subprocess.run(["c++", *flags, *headers, *sources, "-o", library, *linked], check=True)
    return library


class RpcGpu:
    """One device, served by a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.endpoint = f"127.0.0.1:{port}"
        self._process, self._log, self._read = psutil.Process(process.pid), log, 0

    def allocations(self) -> list[int]:
        """Bytes of each buffer that was asked for since the last call; 0 for one that did not fit."""
        text = self._log.read_text()
        found = _ALLOCATED.findall(text[self._read :])
        self._read = len(text)
        return [0 if outcome == "failed" else int(size) for size, outcome in found]

    @contextmanager
    def full(self, left: int) -> Iterator[None]:
        """Only ``left`` bytes can be had, whatever the device says is free."""
        # What a worker that has just ended had there would be free later, beyond what is left.
        assert within(30, self._is_idle), self._log.read_text()
        before = self._process.rlimit(psutil.RLIMIT_AS)
        self._process.rlimit(psutil.RLIMIT_AS, (self._process.memory_info().vms + left, before[1]))
        try:
            yield
        finally:
            self._process.rlimit(psutil.RLIMIT_AS, before)

    def _is_idle(self) -> bool:
        """Whether it serves nobody: a worker's buffers are freed before its connection is closed."""
        return all(each.status == psutil.CONN_LISTEN for each in self._process.net_connections("tcp"))


@contextmanager
def rpc_gpu(library: Path, port: int, log: Path, free: int | None = None) -> Iterator[RpcGpu]:
    """A device that answers at ``port``, and says that it has ``free`` bytes; None is as the machine has."""
    command = [sys.executable, "-m", "tests.fakes.rpc_gpus", str(library), str(port)]
    command += [] if free is None else [str(free)]
    # Buffers that are freed go back to the system, or ``full`` would not take them away.
    environment = {
        **os.environ,
        "GGML_RPC_DEBUG": "1",
        "LD_LIBRARY_PATH": str(_libraries()),
        "MALLOC_MMAP_THRESHOLD_": "65536",
    }
    with log.open("wb") as lines:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=lines, stderr=lines)
    try:
        assert within(30, lambda: is_open(port)), log.read_text()
        yield RpcGpu(process, port, log)
    finally:
        process.kill()
        process.wait()


def write_site(folder: Path, library: Path, gpus: list[RpcGpu]) -> None:
    """A folder for PYTHONPATH: workers that start with it see these devices."""
    endpoints = [gpu.endpoint.encode() for gpu in gpus]
    (folder / "sitecustomize.py").write_text(_SITE.format(library=str(library), endpoints=endpoints))


def _libraries() -> Path:
    spec = importlib.util.find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    return Path(os.environ.get("LLAMA_CPP_LIB_PATH", Path(spec.origin).parent / "lib"))


def _serve(library: str, port: str, memory: str | None = None) -> None:
    ggml, backend = ctypes.CDLL(str(_libraries() / "libggml.so")), ctypes.CDLL(library)
    ggml.ggml_backend_dev_by_type.restype = ctypes.c_void_p
    device = ggml.ggml_backend_dev_by_type(CPU)
    tells = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_size_t)] * 2)

    @tells
    def tell(_device: int, free: Any, total: Any) -> None:
        free[0] = total[0] = int(memory or 0)

    if memory is not None:
        functions = ctypes.cast(device, ctypes.POINTER(ctypes.c_void_p))
        functions[_TELLS_MEMORY] = ctypes.cast(tell, ctypes.c_void_p)
    devices = (ctypes.c_void_p * 1)(device)
    n_threads, n_devices = ctypes.c_size_t(1), ctypes.c_size_t(1)
    backend.ggml_backend_rpc_start_server(f"127.0.0.1:{port}".encode(), None, n_threads, n_devices, devices)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
