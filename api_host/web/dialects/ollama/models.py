"""What Ollama's routes tell of models: those on this disk, those in memory, and one in detail.

Knows the shapes (its docs: api.md); the facts are the pipeline's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

from api_host.errors import InvalidRequest, ModelFileNotFound
from api_host.models.details import ModelDetails
from api_host.web.dialects.ollama.forms import timestamp

# A model stays until its memory is needed; clients that show when one goes read this as never.
_STAYS = timedelta(days=100 * 365)
_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


class Models(Protocol):
    """What is asked of the pipeline."""

    def models(self) -> list[dict[str, Any]]: ...

    def details(self, model: str) -> ModelDetails: ...


def on_disk(models: Models) -> list[dict[str, Any]]:
    """``/api/tags``: the models that need no download."""
    return [
        {**_named(details), "modified_at": timestamp(details["modified_at"])} for _, details in _each(models)
    ]


def in_memory(models: Models) -> list[dict[str, Any]]:
    """``/api/ps``: the models that are loaded."""
    until = datetime.now(timezone.utc) + _STAYS
    return [
        {
            **_named(details),
            "expires_at": timestamp(until.timestamp()),
            "size_vram": _on_gpu(facts, details["size"]),
            "context_length": facts.get("n_ctx"),
        }
        for facts, details in _each(models)
        if facts["status"] == "loaded"
    ]


def in_detail(details: ModelDetails) -> dict[str, Any]:
    """``/api/show``: one model on this disk."""
    metadata = details["metadata"]
    license_name = metadata.get("general.license")
    return {
        "modelfile": f"FROM {details['name']}\n",
        "parameters": "",
        "template": details["template"] or "",
        **({"license": license_name} if license_name else {}),
        "details": _details(details),
        "model_info": {**metadata, "general.parameter_count": details["n_params"]},
        "capabilities": _capabilities(details),
        "modified_at": timestamp(details["modified_at"]),
    }


def _each(models: Models) -> Iterator[tuple[dict[str, Any], ModelDetails]]:
    """What the host knows of each model that is on this disk, and what its file says."""
    for facts in models.models():
        try:
            yield facts, models.details(facts["name"])
        except (InvalidRequest, ModelFileNotFound, OSError):
            continue  # it is still to come, or a local file whose name no request can spell


def _named(details: ModelDetails) -> dict[str, Any]:
    return {
        "name": details["name"],
        "model": details["name"],
        "size": details["size"],
        "digest": details["digest"],
        "details": _details(details),
    }


def _details(details: ModelDetails) -> dict[str, Any]:
    family = str(details["metadata"].get("general.architecture", ""))
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family] if family else [],
        "parameter_size": parameter_size(details["n_params"]),
        "quantization_level": details["quantization"] or "",
    }


def parameter_size(n_params: int | None) -> str:
    """A number of parameters as Ollama writes it, such as 7.6B or 1.9M; empty for None."""
    if n_params is None:
        return ""
    unit, letter = next((unit for unit in _UNITS if n_params >= unit[0]), (1, ""))
    return f"{n_params / unit:.1f}{letter}" if letter else str(n_params)


def _on_gpu(facts: dict[str, Any], size: int) -> int:
    """Bytes of the weights on the GPU, by the share of its layers; the output counts as one more."""
    n_gpu_layers, n_layer = facts.get("n_gpu_layers") or 0, facts.get("n_layer") or 0
    return round(size * min(1.0, n_gpu_layers / (n_layer + 1)))


def _capabilities(details: ModelDetails) -> list[str]:
    """What the model can do, as far as its header and its template show."""
    metadata, template = details["metadata"], details["template"] or ""
    if f"{metadata.get('general.architecture')}.pooling_type" in metadata:
        return ["embedding"]
    fills_in = any(f"tokenizer.ggml.{name}" in metadata for name in ("fim_pre_token_id", "prefix_token_id"))
    shown = {
        "completion": True,
        "tools": "tools" in template,
        "insert": fills_in,
        "thinking": "enable_thinking" in template or "<think>" in template,
    }
    return [name for name, able in shown.items() if able]
