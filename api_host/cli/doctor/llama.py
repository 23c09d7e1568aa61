"""Checks of what answers: llama.cpp's build against the GPU, the driver, the demo model in a worker.

llama.cpp is asked in a process of its own, because a broken build or driver can end the process that loads it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

from api_host.cli.doctor.check import Finding, broken, ok, warning
from api_host.cli.printable import printable

ASK_LIMIT_S = 30.0
DRIVER_LIMIT_S = 10.0
DEMO_LIMIT_S = 90.0
QUESTION, EXPECTED = "What is the capital of France?", "Paris"
REBUILD = f"{sys.executable} -m pip install --force-reinstall --no-deps llama-cpp-python"

_PROBE = """
import json, llama_cpp
from api_host.engine.llama.devices import gpu_devices, supports_gpu
from api_host.engine.placing import CUDA_INSTALL
devices = [device.description for device in gpu_devices()]
print(json.dumps([llama_cpp.__version__, supports_gpu(), devices, CUDA_INSTALL]))
"""


class Unanswered(Exception):
    """A program gave no usable answer; the text is its last line."""


def build() -> Finding:
    """Whether llama.cpp loads, and can use the GPU that there is."""
    try:
        version, can_offload, devices, cuda_install = json.loads(
            _ask([sys.executable, "-c", _PROBE], ASK_LIMIT_S).splitlines()[-1]
        )
    except (Unanswered, ValueError, IndexError) as failure:
        return broken(f"llama-cpp-python does not load: {failure}", REBUILD)
    told = f"llama-cpp-python {version}"
    if devices:
        return ok(f"{told}, for the GPU: {', '.join(devices)}")
    gpus = _gpus_of_the_driver()
    if not gpus:
        return ok(f"{told}, for the CPU" if not can_offload else f"{told}, for a GPU; there is none here")
    if can_offload:
        return broken(
            f"{told} is built for a GPU, but sees none of: {', '.join(gpus)}",
            "install a wheel for the driver's CUDA version (nvidia-smi names it), and check CUDA_VISIBLE_DEVICES",
        )
    return broken(f"{told} is built for the CPU only, and {', '.join(gpus)} is not used", cuda_install)


def driver() -> Finding:
    """Whether NVIDIA's driver answers, where there is one."""
    if shutil.which("nvidia-smi") is None:
        return ok("no NVIDIA driver here; models run on the CPU")
    fields = "--query-gpu=name,memory.total,driver_version"
    try:
        rows = _ask(["nvidia-smi", fields, "--format=csv,noheader"], DRIVER_LIMIT_S).splitlines()
    except Unanswered as failure:
        return broken(
            f"NVIDIA's driver does not answer: {failure}",
            "restart the machine (a notebook: choose a GPU as accelerator first); else install the driver anew",
        )
    if not rows:
        return warning("NVIDIA's driver knows no GPU", "choose a GPU as accelerator, or go on with the CPU")
    gpus = [[cell.strip() for cell in row.split(",")] for row in rows]
    return ok("; ".join(f"{cells[0]}, {cells[1]}" for cells in gpus) + f"; driver {gpus[0][-1]}")


def demo_model() -> Finding:
    """Whether a host with the demo model answers: the whole way, in a process of its own."""
    command = [sys.executable, "-m", "api_host.cli", "chat", "demo", "--json", "--temperature", "0"]
    try:
        answer: dict[str, Any] = json.loads(_ask(command, DEMO_LIMIT_S, QUESTION).splitlines()[-1])
    except (Unanswered, ValueError, IndexError) as failure:
        return broken(
            f"the demo model gives no answer: {failure}",
            "mend what is told above; then `api-host demo`",
        )
    if EXPECTED not in answer["answer"]:
        told = f"the demo model answers {printable(answer['answer'])!r}, and {EXPECTED} was expected"
        return broken(told, f"llama.cpp computes wrongly here; build it anew: {REBUILD}")
    return ok(f"answers at {answer['timings']['tokens_per_second']:,.0f} tokens per second")


def _gpus_of_the_driver() -> list[str]:
    try:
        return _ask(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], DRIVER_LIMIT_S).splitlines()
    except Unanswered:
        return []


def _ask(command: list[str], limit: float, question: str = "") -> str:
    """What a program prints. Raises Unanswered: it is not there, fails, or takes longer than ``limit`` seconds."""
    try:
        done = subprocess.run(
            command, input=question, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unanswered(f"nothing within {limit:.0f} s") from None
    except OSError as error:
        raise Unanswered(str(error.strerror)) from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Unanswered(printable(said[-1]) if said else f"it ended with code {done.returncode}")
    return done.stdout.strip()
