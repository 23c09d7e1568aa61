"""LLM API's own configuration, its ``config.yaml`` and its ``LLM_API_*`` variables, as settings of a host.

Knows that system's keys and what they mean here; what the settings do is ``config``'s and the host's. A key that is
on no list is an error with its name; one that has no meaning on today's llama.cpp is left out with a warning that
says why.
"""

from __future__ import annotations

import difflib
import logging
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from api_host.errors import InvalidRequest

log = logging.getLogger(__name__)

CHAT_FORMATS = {"llama": "llama-2", "alpaca": "alpaca", "vicuna": "vicuna"}
"""The prompt style of a ``model_family``, by llama-cpp-python's name."""

SETTINGS = {
    "ctx_size": "ctx_length",
    "n_ctx": "ctx_length",
    "seed": "seed",
    "num_threads": "threads",
    "n_threads": "threads",
    "batch_size": "n_batch",
    "n_batch": "n_batch",
    "n_gpu_layers": "n_gpu_layers",
    "use_mmap": "use_mmap",
    "use_mlock": "use_mlock",
    "tensor_split": "tensor_split",
    "main_gpu": "main_gpu",
    "rope_freq_base": "rope_freq_base",
    "rope_freq_scale": "rope_freq_scale",
}
"""``model_params`` by the host's names; two spellings of one setting have to agree."""

_UNSET = {"seed": -1, "rope_freq_base": 0, "rope_freq_scale": 0}

IGNORED: dict[str, tuple[Any, str]] = {
    "n_parts": (-1, "the parts of a split model are found by their names"),
    "last_n_tokens_size": (64, "each request says it, as params.repeat_last_n"),
    "lora_base": (None, "adapters are applied to the model as it is"),
    "low_vram": (False, "llama.cpp has it no more; n_gpu_layers says what goes to the GPU"),
    "mul_mat_q": (None, "llama.cpp chooses its kernels itself"),
    "f16_kv": (True, "cache_type says how the KV cache is kept"),
    "logits_all": (False, "a request that needs logits asks for them"),
    "vocab_only": (False, "models are loaded whole"),
    "embedding": (True, "every model answers /embeddings"),
    "n_gqa": (None, "the model's file says it"),
    "rms_norm_eps": (None, "a GGUF says it, and a conversion takes LLaMA's"),
    "verbose": (False, "llama.cpp's own messages are shown when it fails"),
}
"""``model_params`` without a meaning here: the value that changes nothing, and why no other does."""


class SetupParams(BaseModel):
    """Where the model comes from; ``convert`` and ``migrate`` both take GGML files from before GGUF."""

    model_config = ConfigDict(extra="forbid")

    repo_id: str | None = None
    filename: str | None = None
    convert: bool = False
    migrate: bool = False


class ModelParams(BaseModel):
    """How the model is loaded: the keys of SETTINGS, of IGNORED, and ``lora_path``."""

    model_config = ConfigDict(extra="forbid")

    ctx_size: int | None = None
    n_ctx: int | None = None
    seed: int | None = None
    num_threads: int | None = None
    n_threads: int | None = None
    batch_size: int | None = None
    n_batch: int | None = None
    n_gpu_layers: int | None = None
    use_mmap: bool | None = None
    use_mlock: bool | None = None
    tensor_split: list[float] | None = None
    main_gpu: int | None = None
    rope_freq_base: float | None = None
    rope_freq_scale: float | None = None
    lora_path: str | None = None
    n_parts: int | None = None
    last_n_tokens_size: int | None = None
    lora_base: str | None = None
    low_vram: bool | None = None
    mul_mat_q: bool | None = None
    f16_kv: bool | None = None
    logits_all: bool | None = None
    vocab_only: bool | None = None
    embedding: bool | None = None
    n_gqa: int | None = None
    rms_norm_eps: float | None = None
    verbose: bool | None = None


class LlmApiSettings(BaseSettings):
    """The file's keys, overridden by the environment: ``LLM_API_MODELS_DIR``, ``LLM_API_SETUP_PARAMS__REPO_ID``."""

    model_config = SettingsConfigDict(
        env_prefix="LLM_API_",
        env_nested_delimiter="__",
        extra="forbid",
        hide_input_in_errors=True,
        protected_namespaces=(),
    )

    models_dir: str | None = None
    model_family: str | None = None
    model_name: str | None = None
    setup_params: SetupParams | None = None
    model_params: ModelParams | None = None
    host: str | None = None
    port: int | None = None
    log_level: str | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def read_settings(file: dict[str, Any]) -> LlmApiSettings:
    """The settings of a file's keys and of the environment over them.

    Raises:
        InvalidRequest: ``problems`` has a sentence for each key that is wrong.
    """
    try:
        return LlmApiSettings(**_not_overridden(file))
    except ValidationError as failure:
        raise InvalidRequest(*[_sentence(dict(problem)) for problem in failure.errors()]) from None


def _not_overridden(file: dict[str, Any]) -> dict[str, Any]:
    """The keys of a file without the parameters that the environment sets under another spelling."""
    above, params = EnvSettingsSource(LlmApiSettings)().get("model_params"), file.get("model_params")
    if not isinstance(above, dict) or not isinstance(params, dict):
        return file
    said = {SETTINGS.get(name, name) for name in above}
    return {
        **file,
        "model_params": {
            name: value for name, value in params.items() if SETTINGS.get(name, name) not in said
        },
    }


def translated(
    settings: LlmApiSettings, models_dir: Path | None = None, is_named: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """The settings by the host's names, and a sentence for each that cannot be had.

    Args:
        settings: LLM API's.
        models_dir: one that goes before the settings' own.
        is_named: whether a model that goes before the settings' own is named, so that theirs need not be there.
    """
    problems: list[str] = []
    found: dict[str, Any] = {
        "models_dir": settings.models_dir,
        "address": settings.host,
        "port": settings.port,
    }
    folder = models_dir or (Path(settings.models_dir) if settings.models_dir is not None else None)
    folder = _at_home(folder, problems)
    found["model"] = None if is_named else _model(settings, folder, problems)
    if settings.setup_params is not None and (settings.setup_params.convert or settings.setup_params.migrate):
        found["convert"] = True
    if settings.model_family is not None:
        found["chat_format"] = CHAT_FORMATS.get(settings.model_family)
        if found["chat_format"] is None:
            problems.append(
                f"model_family: {settings.model_family!r} does not run on llama.cpp; "
                f"allowed: {', '.join(CHAT_FORMATS)}, with a GGUF of the model"
            )
    if settings.log_level is not None:
        log.warning("log_level is ignored: Python's logging configuration says what is logged")
    if settings.model_params is not None:
        found.update(_params(settings.model_params, folder, problems))
    return {name: value for name, value in found.items() if value is not None}, problems


def _at_home(folder: Path | None, problems: list[str]) -> Path | None:
    try:
        return folder.expanduser() if folder is not None else None
    except RuntimeError:
        problems.append(
            f"models_dir: nobody here has the home folder of {str(folder)!r}; write the whole path"
        )
        return None


def _model(settings: LlmApiSettings, folder: Path | None, problems: list[str]) -> str | None:
    """The reference of the model: a file below the folder when it is there, else the hub's."""
    setup = settings.setup_params or SetupParams()
    local = _local_file(settings, setup, folder)
    name = local or setup.filename
    if name is not None and not name.lower().endswith(".gguf"):
        if not (setup.convert or setup.migrate):
            where = "setup_params.filename" if local is None else "model_name"
            problems.append(
                f"{where}: {name!r} is no GGUF; allowed: a .gguf file, or setup_params.convert: true for a GGML file"
            )
        name = gguf_name(name)
    if local is not None:
        return name
    if setup.repo_id is not None:
        return f"{setup.repo_id}/{name}" if name is not None else setup.repo_id
    if setup.filename is not None:
        problems.append(
            "setup_params.repo_id: is missing; setup_params.filename needs the repository that holds it"
        )
    elif settings.model_name is not None:
        problems.append(
            f"model_name: there is no file {settings.model_name!r} below models_dir; allowed: one that is there, or "
            "a file of the hub by setup_params.repo_id and setup_params.filename"
        )
    return None


def _local_file(settings: LlmApiSettings, setup: SetupParams, folder: Path | None) -> str | None:
    """The model's file below the folder, as the user or LLM API itself named it."""
    names: list[str] = []
    if settings.model_name is not None:
        legacy = f"ggml-{settings.model_family}-{settings.model_name}-q4.bin"
        names += [f"{settings.model_name}.gguf", settings.model_name, gguf_name(legacy), legacy]
    if setup.filename is not None:
        names += [gguf_name(setup.filename), setup.filename]
    there = (name for name in names if folder is not None and (folder / name).is_file())
    return next(there, None)


def gguf_name(name: str) -> str:
    """What a GGML file is called once it is converted."""
    if name.lower().endswith(".gguf"):
        return name
    ending = next((ending for ending in (".bin", ".ggml") if name.endswith(ending)), "")
    return f"{name.removesuffix(ending)}.gguf"


def _params(params: ModelParams, folder: Path | None, problems: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, ours in SETTINGS.items():
        value = getattr(params, name)
        if value is None or value == _UNSET.get(name):
            continue
        if found.setdefault(ours, value) != value:
            problems.append(
                f"model_params.{name}: {value} differs from the other spelling of {ours}; keep one of them"
            )
    for name, (neutral, reason) in IGNORED.items():
        value = getattr(params, name)
        if value is not None and value != neutral:
            log.warning("model_params.%s is ignored: %s", name, reason)
    if params.lora_path is not None:
        found["lora"] = [_below(folder, params.lora_path, problems)]
    return found


def _below(folder: Path | None, path: str, problems: list[str]) -> str:
    """An adapter's path as it is named: relative to the folder of models."""
    if not Path(path).is_absolute():
        return path
    if folder is None or not Path(path).is_relative_to(folder.absolute()):
        problems.append("model_params.lora_path: lies outside of models_dir; put the adapter's GGUF below it")
        return path
    return Path(path).relative_to(folder.absolute()).as_posix()


def _sentence(problem: dict[str, Any]) -> str:
    path = [str(part) for part in problem["loc"]]
    if problem["type"] != "extra_forbidden":
        return f"{'.'.join(path)}: {problem['msg']}"
    kind = SetupParams if path[0] == "setup_params" else ModelParams
    near = difflib.get_close_matches(path[-1], kind.model_fields, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(kind.model_fields)}"
    return f"{'.'.join(path)}: there is no such key; {hint}"
