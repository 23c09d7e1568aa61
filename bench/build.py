"""Builds llama.cpp's tools and the bindings' own server, from the same source and version as the bindings in use.

Everything lands in one cache folder and is made once for each ``CMAKE_ARGS``, the variable that the bindings' own
build reads too, and that has a default in the Makefile. Knows nothing of what is measured with it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from dataclasses import dataclass
from pathlib import Path

from bench.servers import ROOT

TARGETS = ("llama-server", "llama-bench", "llama-batched-bench")
FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_APP=OFF",
)
# What llama_cpp.server imports beyond the bindings themselves: the bindings' own extra "server".
SERVER_PACKAGES = (
    "uvicorn>=0.22",
    "fastapi>=0.100",
    "pydantic-settings>=2.0.1",
    "sse-starlette>=1.6.1",
    "starlette-context>=0.3.6,<0.4",
    "PyYAML>=5.1",
)
VOCABULARY = "ggml-vocab-llama-spm.gguf"


@dataclass(frozen=True)
class Tools:
    """Where everything is: llama.cpp's programs, a vocabulary."""

    bin: Path
    vocabulary: Path


def installed_version() -> str:
    """The version of the installed bindings."""
    return importlib.metadata.version("llama-cpp-python")


def cmake_arguments() -> str:
    """What llama.cpp is to be built with besides, for the tools as for the bindings: the Makefile's ``CMAKE_ARGS``."""
    if shutil.which("make") is None:
        return os.environ.get("CMAKE_ARGS", "").strip()
    asked = ["make", "--silent", "--no-print-directory", "-C", str(ROOT), "cmake-args"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def prepare(cache: Path, cuda: bool = False, built: Path | None = None, source: Path | None = None) -> Tools:
    """Downloads and builds what is not there yet.

    Args:
        cache: the folder that keeps it all.
        cuda: build for NVIDIA GPUs.
        built: a folder with the three programs, which are then not built.
        source: the unpacked sdist, which is then not downloaded.

    Raises:
        subprocess.CalledProcessError: pip or cmake failed; it has printed why.
        FileNotFoundError: ``built`` or ``source`` does not hold what it should.
    """
    llama_cpp = (source or bindings_source(cache)) / "vendor" / "llama.cpp"
    kind = "cuda" if cuda else "cpu"
    if arguments := cmake_arguments():
        kind += "-" + hashlib.sha256(arguments.encode()).hexdigest()[:8]
    flags = [*FLAGS, *(["-DGGML_CUDA=ON"] if cuda else []), *shlex.split(arguments)]
    folder = built or _built(llama_cpp, cache / f"build-{installed_version()}-{kind}", cache, flags)
    tools = Tools(folder, llama_cpp / "models" / VOCABULARY)
    for path in (tools.vocabulary, *(folder / target for target in TARGETS)):
        if not path.exists():
            raise FileNotFoundError(
                f"{path} is missing; name another --llama-bin or --llama-source, or remove the folders of the "
                f"source and the build below {cache} and run again"
            )
    return tools


def bindings_source(cache: Path) -> Path:
    """The source of the installed bindings, llama.cpp's with it; downloaded when it is not there yet."""
    version = installed_version()
    folder, downloads = cache / f"llama_cpp_python-{version}", cache / "sdist"
    if folder.exists():
        return folder
    wanted = f"llama-cpp-python=={version}"
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=llama-cpp-python"]
    _run([*pip, "--dest", str(downloads), wanted], f"Downloading the source of {wanted}")
    (archive,) = downloads.glob(f"llama_cpp_python-{version}.tar.gz")
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(part, filter="data")
    (part / folder.name).rename(folder)
    part.rmdir()
    return folder


def _built(llama_cpp: Path, folder: Path, cache: Path, flags: list[str]) -> Path:
    """The folder of the built programs."""
    if all((folder / "bin" / target).exists() for target in TARGETS):
        return folder / "bin"
    scripts = server_python(cache).parent
    if shutil.which("cmake") is None and not (scripts / "cmake").exists():
        _run(
            [str(scripts / "python"), "-m", "pip", "install", "--quiet", "cmake", "ninja"], "Installing cmake"
        )
    path = os.pathsep.join([os.environ.get("PATH", ""), str(scripts)])
    cmake = shutil.which("cmake", path=path) or "cmake"
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=path) else []
    environment = {**os.environ, "PATH": path}
    configure = [cmake, "-S", str(llama_cpp), "-B", str(folder), *generator, *flags]
    _run(configure, "Configuring llama.cpp", environment)
    build = [cmake, "--build", str(folder), "--parallel", str(os.cpu_count() or 1), "--target", *TARGETS]
    _run(build, "Building llama.cpp's tools (20 minutes on 2 cores, the first time only)", environment)
    return folder / "bin"


def server_python(cache: Path) -> Path:
    """The Python of a virtual environment with the packages of ``llama_cpp.server``, which sees the bindings of this
    one; made when it is not there yet."""
    folder, version = cache / "venv", installed_version()
    python = folder / "bin" / "python"
    ready = folder / f"ready-{version}"
    if ready.exists():
        return python
    _run([sys.executable, "-m", "venv", str(folder)], "Making an environment for the bindings' own server")
    _run([str(python), "-m", "pip", "install", "--quiet", *SERVER_PACKAGES], "Installing its packages")
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    # Its own packages come first on the path, the bindings (and what only they need) from here.
    (Path(site) / "bindings.pth").write_text(sysconfig.get_path("purelib") + "\n")
    ready.touch()
    return python


def _run(command: list[str], why: str, environment: dict[str, str] | None = None) -> None:
    print(f"{why} ...", flush=True)
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
