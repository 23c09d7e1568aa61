"""The part of the card that moves: models on their way, what the machine does, what has been asked of it.

Figures are rounded to what a person reads, so that a host that does nothing gives the same text for a minute.
"""

from __future__ import annotations

import time

from api_host.facts import Facts, ModelFacts
from api_host.gpus import Gpu
from api_host.metrics import Failure
from api_host.notebook import markup

_MOST_MODELS = 5
_MB = 2**20


def figures_html(facts: Facts) -> str:
    """The moving part."""
    rows = [*_models(facts.models), *_gpus(facts.gpus)]
    used = facts.memory_used / facts.memory_total
    rows += [
        ("Memory", markup.text(_of(facts.memory_used, facts.memory_total)) + markup.bar(used)),
        ("Requests", markup.text(requests_line(facts))),
        ("Speed", markup.text(speed_line(facts))),
        ("Up for", markup.text(_span(facts.uptime or 0))),
    ]
    if facts.last_failure is not None:
        rows.append(("Last error", markup.text(failure_line(facts.last_failure))))
    return markup.box(markup.grid(rows))


def figures_text(facts: Facts) -> str:
    """The same as lines."""
    models = [f"{model.name}: {model_line(model)}" for model in _shown(facts.models)]
    failure = [failure_line(facts.last_failure)] if facts.last_failure is not None else []
    return "\n".join([*models, f"Requests: {requests_line(facts)}", f"Speed: {speed_line(facts)}", *failure])


def model_line(model: ModelFacts) -> str:
    """What a model does, or what was chosen for it."""
    if model.status == "downloading":
        if not model.bytes_total:
            return "download begins"
        share = (model.bytes_done or 0) / model.bytes_total
        return f"downloading, {_of(model.bytes_done or 0, model.bytes_total)}, {100 * share:.0f} %"
    if model.status == "loading":
        return f"loading for {model.seconds or 0:.0f} s"
    if model.status == "failed":
        return f"failed: {model.error}"
    if model.status != "loaded":
        return model.status
    layers = (
        f", {model.n_gpu_layers} of {(model.n_layer or 0) + 1} layers on the GPU"
        if model.n_gpu_layers
        else ""
    )
    # llama.cpp leaves the size of a small model open.
    description = (model.description or "").replace("?B", f"{(model.n_params or 0) / 1e6:.1f}M")
    return f"{description} on {model.device}{layers}, {model.n_slots} sequences of {model.n_ctx} tokens"


def requests_line(facts: Facts) -> str:
    """How many requests there were and are."""
    now = [f"{facts.n_running} running"] if facts.n_running else []
    now += [f"{facts.n_waiting} waiting"] if facts.n_waiting else []
    return ", ".join([f"{facts.requests:,} so far", *now])


def speed_line(facts: Facts) -> str:
    """How fast tokens come, of all requests together."""
    rate = facts.tokens_per_second
    return (
        f"{rate:.0f} tokens per second now, {facts.tokens:,} in all"
        if rate >= 1
        else f"idle, {facts.tokens:,} tokens in all"
    )


def failure_line(failure: Failure) -> str:
    """What failed last, where, and when."""
    age = time.monotonic() - failure.at
    ago = "just now" if age < 60 else f"{_span(age)} ago"
    return f"{failure.status} on {failure.route}, {ago}: {failure.message}"


def _models(models: tuple[ModelFacts, ...]) -> list[tuple[str, str]]:
    shown = _shown(models)
    rows = [("Model" if at == 0 else "", _model(model)) for at, model in enumerate(shown[:_MOST_MODELS])]
    if len(shown) > _MOST_MODELS:
        rows.append(("", markup.text(f"and {len(shown) - _MOST_MODELS} more")))
    return rows or [("Model", "none yet: a request names one")]


def _shown(models: tuple[ModelFacts, ...]) -> list[ModelFacts]:
    return [model for model in models if model.status != "unloaded"]


def _model(model: ModelFacts) -> str:
    lines = [f"<div>{markup.strong(model.name)}</div>", f"<div>{markup.text(model_line(model))}</div>"]
    if model.status == "downloading":
        share = (model.bytes_done or 0) / model.bytes_total if model.bytes_total else None
        lines.append(markup.bar(share))
    elif model.status == "loading":
        lines.append(markup.bar(None))
    return "".join([*lines, *map(markup.faint, model.notes)])


def _gpus(gpus: tuple[Gpu, ...]) -> list[tuple[str, str]]:
    if not gpus:
        return [("GPU", "none: models run on the CPU")]
    several = len(gpus) > 1
    return [(f"GPU {gpu.id}" if several else "GPU", _gpu(gpu)) for gpu in gpus]


def _gpu(gpu: Gpu) -> str:
    load = "" if gpu.load is None else f", {gpu.load:.0f} % busy"
    memory = _of(gpu.memoryUsed * _MB, gpu.memoryTotal * _MB)
    return markup.text(f"{gpu.name}{load}, {memory}") + markup.bar(gpu.memoryUsed / gpu.memoryTotal)


def _of(part: float, whole: float) -> str:
    """Two amounts of bytes."""
    return f"{part / 1e9:.1f} of {whole / 1e9:.1f} GB"


def _span(seconds: float) -> str:
    """A time in words, to the minute."""
    minutes = int(seconds // 60)
    if minutes == 0:
        return "less than a minute"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"
