"""Loads a model as a Load message asks, and falls back to fewer layers when that fails.

Knows nothing of requests.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from api_host.engine import memory
from api_host.engine.huge_pages import huge_pages
from api_host.engine.llama.context import LlamaContext
from api_host.engine.llama.draft import LlamaDraft, same_vocabulary
from api_host.engine.llama.model import LlamaModel, LoadError
from api_host.engine.lookup import MOST_GUESSED
from api_host.engine.messages import Load, ModelInfo
from api_host.engine.placing import header_of, place, shape_of, shared_out, used_gpus
from api_host.errors import ModelLoadFailed, OutOfMemory, without_paths
from api_host.free_memory import free_memory
from api_host.gguf_header import architecture_number, file_size

CPU_BATCH, GPU_BATCH = 512, 2048
ONE_THREAD_BYTES = 32 * 1024**2
MOST_PREFIX_MEMORY = 2 * 1024**3
# How llama.cpp's lines about a failed load speak of memory; what it cannot allocate while it reads a header is a number
# of a broken file.
_OF_MEMORY = re.compile(
    r"(?<!while )\b(allocat|cudaMalloc|failed to reserve)|bad_alloc|out ?of ?(device ?|host ?)?memory",
    re.IGNORECASE,
)
_PART = r"(-\d{5}-of-\d{5})?\.gguf"


@dataclass
class LoadedModel:
    """A model ready to decode, and what was chosen for it."""

    model: LlamaModel
    context: LlamaContext
    draft: LlamaDraft | None
    info: ModelInfo
    n_threads: int
    prefix_memory: int


def load_model(load: Load) -> LoadedModel:
    """Loads and reports.

    Raises:
        ModelLoadFailed: llama.cpp refuses the file. OutOfMemory: it does not fit, with the numbers.
    """
    started = time.monotonic()
    header = header_of(Path(load.path))
    notes = []
    n_ctx = load.n_ctx
    n_ctx_train = architecture_number(header, "context_length")
    if 0 < n_ctx_train < n_ctx:
        notes.append(
            f"the context is {n_ctx_train} tokens instead of {n_ctx}: the model was trained for no more"
        )
        n_ctx = n_ctx_train
    shape = shape_of(load, header)
    load = shared_out(load, used_gpus(load))
    used = used_gpus(load)
    placement = place(load, shape, n_ctx, used)
    model, context, draft, placement = _load_placed(load, placement, shape)
    device = ", ".join(gpu.description for gpu in used) if placement.n_gpu_layers else "CPU"
    notes += [*placement.notes, *_unused_draft(load, context, draft)]
    info = _info(model, context, placement, device, notes)
    info.draft_model = Path(load.draft_model).name if load.draft_model and draft else None
    info.load_seconds = time.monotonic() - started
    return LoadedModel(model, context, draft, info, _n_threads(load, load.path), _prefix_memory(load))


def _load_placed(
    load: Load, placement: memory.Placement, shape: memory.Shape
) -> tuple[LlamaModel, LlamaContext, LlamaDraft | None, memory.Placement]:
    """Loads; when a GPU turns out too small, again with a quarter fewer layers there, down to none."""
    # Of fewer layers the last note tells.
    of_slots = placement.notes if placement.n_gpu_layers > shape.n_layer else ()
    while True:
        try:
            return *_load(load, placement), placement
        except LoadError as error:
            reason = _reason(error, load)
            if not speaks_of_memory(reason, load.path):
                name = Path(load.path).name
                raise ModelLoadFailed(f"llama.cpp cannot load {name}: {reason}") from error
            if placement.n_gpu_layers == 0 or load.n_gpu_layers is not None:
                raise _too_large(reason, shape, placement) from error
        layers = placement.n_gpu_layers * 3 // 4
        note = f"{layers} of {shape.n_layer + 1} layers are on the GPU: more did not fit"
        placement = memory.Placement(layers, placement.n_ctx, placement.n_slots, (*of_slots, note))


def _load(load: Load, placement: memory.Placement) -> tuple[LlamaModel, LlamaContext, LlamaDraft | None]:
    """All of it, or nothing: what a failed try has taken is given back before the next."""
    model = LlamaModel(load.path, load, placement.n_gpu_layers, _use_mmap(load, placement))
    context: LlamaContext | None = None
    try:
        if model.has_encoder:
            raise ModelLoadFailed("models with an encoder, as T5 has, cannot be served; choose another model")
        context = LlamaContext(
            model,
            placement.n_ctx,
            placement.n_slots,
            load.n_batch or (GPU_BATCH if placement.n_gpu_layers else CPU_BATCH),
            _n_threads(load, load.path),
            load.cache_type,
            n_outputs=1 + _most_guessed(load),
            rope_freq_base=load.rope_freq_base,
            rope_freq_scale=load.rope_freq_scale,
        )
        draft = _load_draft(load, placement, context)
    except (LoadError, ModelLoadFailed):
        if context is not None:
            context.close()
        model.close()
        raise
    return model, context, draft


def _reason(error: LoadError, load: Load) -> str:
    """What llama.cpp says, without the folders of the host."""
    return without_paths(
        str(error), *(Path(path).parent for path in (load.path, load.draft_model) if path is not None)
    )


def speaks_of_memory(reason: str, path: str) -> bool:
    """Whether llama.cpp's reason is a lack of memory; the name of the file at ``path``, which is in it, may be any."""
    stem = re.sub(f"{_PART}$", "", Path(path).name, flags=re.IGNORECASE)
    own_words = re.sub(f"{re.escape(stem)}{_PART}", "", reason, flags=re.IGNORECASE)
    return _OF_MEMORY.search(own_words) is not None


def _use_mmap(load: Load, placement: memory.Placement) -> bool:
    """As asked, or only where allocated memory has no larger pages than a file."""
    if load.use_mmap is not None:
        return load.use_mmap
    return placement.n_gpu_layers > 0 or not huge_pages()


def _most_guessed(load: Load) -> int:
    """The most tokens that a step may guess."""
    from_text = MOST_GUESSED if load.lookup else 0
    return max(from_text, load.draft_max if load.draft_model is not None else 0)


def _load_draft(load: Load, placement: memory.Placement, target: LlamaContext) -> LlamaDraft | None:
    """The draft model and its context, or neither; None also where one of both models cannot drop wrong guesses."""
    if load.draft_model is None or not _can_drop(target):
        return None
    name = Path(load.draft_model).name
    try:
        n_gpu_layers = -1 if placement.n_gpu_layers else 0
        model = LlamaModel(load.draft_model, load, n_gpu_layers, _use_mmap(load, placement))
    except LoadError as error:
        reason = _reason(error, load)
        if speaks_of_memory(reason, load.draft_model):
            raise
        raise ModelLoadFailed(f"llama.cpp cannot load the draft model {name}: {reason}") from error
    try:
        if model.has_encoder:
            raise ModelLoadFailed(
                f"the draft model {name} has an encoder, as T5 has, and cannot guess; set draft_model to another, or "
                "leave it out"
            )
        if not same_vocabulary(target.model, model):
            raise ModelLoadFailed(
                f"the draft model {name} has another vocabulary than {Path(load.path).name}; set draft_model to a "
                "smaller model of the same family, or leave it out"
            )
        draft = LlamaDraft(model, target, _n_threads(load, load.draft_model), load.cache_type)
    except (LoadError, ModelLoadFailed):
        model.close()
        raise
    if _can_drop(draft):
        return draft
    draft.close()
    model.close()
    return None


def _can_drop(context: LlamaContext) -> bool:
    return context.makes_text and context.can_trim


def _unused_draft(load: Load, target: LlamaContext, draft: LlamaDraft | None) -> list[str]:
    """A sentence for a draft model that was asked for and is of no use here."""
    if load.draft_model is None or draft is not None:
        return []
    name = Path(load.draft_model if _can_drop(target) else load.path).name
    return [f"the draft model is not used: {name} cannot drop tokens that were guessed wrong"]


def _too_large(reason: str, shape: memory.Shape, placement: memory.Placement) -> OutOfMemory:
    needed = shape.size(placement.n_ctx, placement.n_slots)
    free = free_memory()
    return OutOfMemory(
        f"no memory for the model with a context of {placement.n_ctx} tokens and {placement.n_slots} sequences "
        f"({reason}); ask for a shorter ctx_length or fewer parallel sequences",
        needed=needed,
        free=free,
    )


def _prefix_memory(load: Load) -> int:
    """As much as asked, or a tenth of what is still free, at most 2 GiB."""
    if load.prefix_memory is not None:
        return load.prefix_memory
    return min(MOST_PREFIX_MEMORY, free_memory() // 10)


def _n_threads(load: Load, path: str) -> int:
    """As many as asked, or the cores that this process may use; hyper-threads only slow the lock-step down.

    The steps of a small model are shorter than two threads' waiting for each other.
    """
    if load.n_threads is not None:
        return load.n_threads
    if file_size(Path(path)) < ONE_THREAD_BYTES:
        return 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def _info(
    model: LlamaModel, context: LlamaContext, placement: memory.Placement, device: str, notes: list[str]
) -> ModelInfo:
    return ModelInfo(
        architecture=model.architecture,
        description=model.description,
        n_params=model.n_params,
        size=model.size,
        n_ctx_train=model.n_ctx_train,
        n_ctx=context.n_ctx,
        n_slots=context.n_slots,
        n_vocab=model.n_vocab,
        n_layer=model.n_layer,
        n_gpu_layers=placement.n_gpu_layers,
        device=device,
        has_chat_template=model.chat_template is not None,
        makes_text=context.makes_text,
        notes=notes,
    )
