"""What the GPUs of this machine do right now, as NVIDIA's driver tells it (NVML, package nvidia-ml-py).

Knows nothing of who asks. A machine without a GPU, without the driver or without the package has none, and a driver
that goes away while the host runs leaves none behind.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_MB = 2**20


@dataclass
class Gpu:
    """One GPU: ``load`` in percent (None where the driver tells none, such as of a MIG slice), memory in MB (2**20)."""

    id: int
    name: str
    driver_version: str
    load: float | None
    memoryUsed: float
    memoryFree: float
    memoryTotal: float


def _pynvml() -> Any:
    import pynvml

    return pynvml


class Gpus:
    """Reads the GPUs. NVML is loaded by the first reading, and opened once; anew after it has failed.

    Args:
        load: imports NVML's bindings, a module with the names of ``pynvml``; an ImportError means that there are none.
    """

    def __init__(self, load: Callable[[], Any] = _pynvml) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._nvml: Any = None
        self._missing = False
        self._open = False

    def read(self) -> list[Gpu]:
        """The GPUs, by their index; those that do not answer are left out. Raises nothing; safe from any thread."""
        with self._lock:
            if not self._is_loaded():
                return []
            try:
                return list(self._read())
            except self._nvml.NVMLError:
                self._close()
                return []

    def _is_loaded(self) -> bool:
        if self._nvml is None and not self._missing:
            try:
                self._nvml = self._load()
            except ImportError:
                self._missing = True
        return not self._missing

    def _read(self) -> Iterator[Gpu]:
        nvml = self._nvml
        if not self._open:
            nvml.nvmlInit()
            self._open = True
        driver = nvml.nvmlSystemGetDriverVersion()
        for index in range(nvml.nvmlDeviceGetCount()):
            with contextlib.suppress(nvml.NVMLError):
                yield self._read_one(index, driver)

    def _read_one(self, index: int, driver: str) -> Gpu:
        nvml = self._nvml
        device = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(device)
        used, free, total = (round(amount / _MB, 1) for amount in (memory.used, memory.free, memory.total))
        return Gpu(index, nvml.nvmlDeviceGetName(device), driver, self._load_of(device), used, free, total)

    def _load_of(self, device: Any) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetUtilizationRates(device).gpu)
        except self._nvml.NVMLError:
            return None

    def _close(self) -> None:
        """Forgets what was opened, so that the next reading begins anew."""
        if self._open:
            self._open = False
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
