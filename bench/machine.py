"""The facts about a machine and its software that figures mean nothing without."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import psutil

from bench.build import cmake_arguments, installed_version
from bench.servers import ROOT


def machine_facts() -> dict[str, str]:
    """Processor, cores, memory, and the GPUs that nvidia-smi names."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = {
        "CPU": _cpu_name(),
        "cores": str(allowed),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
    }
    gpus = _said_by("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return {**facts, "GPU": gpus.replace("\n", ", ")} if gpus else facts


def versions(folder: Path) -> dict[str, str]:
    """What is measured: this project, the bindings, and llama.cpp's build in ``folder``."""
    build = _said_by(str(folder / "llama-server"), "--version").partition("\n")[0]
    software = {
        "api-host": _said_by("git", "-C", str(ROOT), "describe", "--always", "--dirty") or "unknown",
        "llama-cpp-python": installed_version(),
        "llama.cpp": build.removeprefix("version: "),
        "Python": platform.python_version(),
        "wrk": "used" if shutil.which("wrk") else "not installed",
    }
    arguments = cmake_arguments()
    return {**software, "CMAKE_ARGS": arguments} if arguments else software


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _said_by(*command: str) -> str:
    """What a program prints; nothing when there is no such program or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout or done.stderr).strip()
