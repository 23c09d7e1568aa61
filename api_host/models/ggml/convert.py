"""Turns a LLaMA model in a GGML file from before GGUF into a GGUF beside it, once.

Knows the files' places and when an earlier conversion still counts; the formats are its neighbours'.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from api_host.errors import DiskFull, InvalidRequest, ModelLoadFailed
from api_host.gguf_header import NotGguf, read_header
from api_host.models.ggml.container import read_container, read_hyperparameters
from api_host.models.ggml.gguf_file import ORIGIN_KEY, Addition, Model, size_of, write_gguf
from api_host.models.ggml.source import Source
from api_host.models.ggml.tensors import read_tensors
from api_host.models.ggml.vocabulary import read_vocabulary

DEFAULT_N_CTX = 2048
MAX_N_CTX = 1 << 20
EPS_OF_LLAMA_1, EPS_OF_LLAMA_2 = 1e-6, 1e-5
_REPLACED_SUFFIXES = (".bin", ".ggml")


def convert_file(
    path: Path,
    *,
    n_ctx: int = DEFAULT_N_CTX,
    rms_norm_eps: float | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """The GGUF of a GGML file: ``model.bin`` gives ``model.gguf`` beside it, ``model.q4_0`` ``model.q4_0.gguf``.

    A GGUF that was made from this file with these arguments, and is not older than it, is returned as it is. A new
    one is written under another name and renamed at its end. Two conversions of one file wait for each other.

    Args:
        path: a file of container ggml, ggmf v1, or ggjt v1 to v3.
        n_ctx: the context length in tokens that the model was trained with, which no GGML file says: 2048 for
            LLaMA, 4096 for Llama 2; 1 to 1,048,576.
        rms_norm_eps: likewise, above 0 and below 1. None is LLaMA's 1e-6, or Llama 2's 1e-5 where queries share
            keys, as only Llama 2 has it.
        on_progress: called with the bytes of tensors done and the total.

    Raises:
        InvalidRequest: ``n_ctx`` or ``rms_norm_eps`` is out of range.
        ModelLoadFailed: the file cannot be converted; the sentence says why. Or another file has the GGUF's name.
        DiskFull: ``needed`` and ``free`` bytes.
    """
    _check_arguments(n_ctx, rms_norm_eps)
    result, name = _result_of(path), _shown(path.name)
    with _told(name), path.open("rb") as file:
        facts = os.fstat(file.fileno())
        origin = f"{_state(name, facts)}, n_ctx={n_ctx}, rms_norm_eps={rms_norm_eps}"
        if _is_done(result, origin, facts.st_mtime_ns):
            return result
        source = Source(file, name)
        model = _read(source)
        addition = Addition(_shown(path.stem), origin, n_ctx, rms_norm_eps or _usual_eps(model))
        with _turn(result):
            if not _is_done(result, origin, facts.st_mtime_ns):
                _write(result, source, model, addition, on_progress)
    return result


def _check_arguments(n_ctx: int, rms_norm_eps: float | None) -> None:
    if not 1 <= n_ctx <= MAX_N_CTX:
        raise InvalidRequest(f"n_ctx: {n_ctx} is not 1 to {MAX_N_CTX}")
    if rms_norm_eps is not None and not (math.isfinite(rms_norm_eps) and 0 < rms_norm_eps < 1):
        raise InvalidRequest(f"rms_norm_eps: {rms_norm_eps} is not above 0 and below 1")


def _shown(name: str) -> str:
    """A file's name as text: it may hold bytes that are none."""
    return os.fsencode(name).decode("utf-8", "replace")


def _state(name: str, facts: os.stat_result) -> str:
    # The time too: another file that takes this one's name and size may be older than the GGUF. Some disks keep
    # whole seconds only.
    return f"{name}, {facts.st_size} bytes of {int(facts.st_mtime)}"


@contextmanager
def _told(name: str) -> Iterator[None]:
    """The disk's errors, in words without paths."""
    try:
        yield
    except OSError as error:
        raise ModelLoadFailed(f"{name}: cannot be converted: {error.strerror or error}") from error


def _is_done(result: Path, origin: str, source_time_ns: int) -> bool:
    """Whether ``result`` is what would be written. Raises ModelLoadFailed where it is somebody else's file."""
    try:
        facts = result.stat()
        found = read_header(result).get(ORIGIN_KEY)
    except FileNotFoundError:
        return False
    except NotGguf:
        found = None
    if found is None:
        raise ModelLoadFailed(
            f"{_shown(result.name)} is there already and was not made by this program: load that file, or move it away"
        )
    return found == origin and facts.st_mtime_ns >= source_time_ns


def _read(source: Source) -> Model:
    container = read_container(source)
    numbers = read_hyperparameters(source)
    vocabulary = read_vocabulary(source, numbers.n_vocab, container.has_scores)
    return Model(container, numbers, vocabulary, read_tensors(source, container, numbers))


def _result_of(path: Path) -> Path:
    # Only what is surely an ending is replaced: model.q4_0 and model.q5_1 must not share one GGUF.
    return (
        path.with_suffix(".gguf")
        if path.suffix in _REPLACED_SUFFIXES
        else path.with_name(f"{path.name}.gguf")
    )


def _usual_eps(model: Model) -> float:
    shares_keys = model.tensors.n_head_kv < model.numbers.n_head
    return EPS_OF_LLAMA_2 if shares_keys else EPS_OF_LLAMA_1


@contextmanager
def _turn(result: Path) -> Iterator[None]:
    """One conversion at a time. Whoever waited finds the result, so the lock's file need not outlive its first user."""
    lock = FileLock(result.with_name(f".{result.name}.lock"))
    with lock:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink()


def _write(
    result: Path, source: Source, model: Model, addition: Addition, on_progress: Callable[[int, int], None]
) -> None:
    needed = size_of(model)
    # Without ".gguf" at its end nobody takes it for a model; what an ended process left there is overwritten.
    partial = result.with_name(f".{result.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        _check_disk(result, needed)
        write_gguf(partial, source, model, addition, on_progress)
        partial.replace(result)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full(result, needed, 0) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def _check_disk(result: Path, needed: int) -> None:
    free = shutil.disk_usage(result.parent).free
    if free < needed:
        raise _disk_full(result, needed, free)


def _disk_full(result: Path, needed: int, free: int) -> DiskFull:
    return DiskFull(
        f"{_shown(result.name)} needs {needed:,} bytes, but the disk has {free:,}:"
        " free space, or convert on a larger disk",
        needed=needed,
        free=free,
    )
