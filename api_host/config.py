"""The settings of a host: arguments > environment (``API_HOST_*``) > ``config.yaml`` > the defaults below.

Every default of the host stands here and nowhere else.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from api_host.config_file import ConfigFile
from api_host.generation import MAX_ADAPTERS
from api_host.kv_cache import CacheType

Auto = Literal["auto"]

MAX_BODY_BYTES = 32 * 1024 * 1024
KEEP_ALIVE_S = 10.0

SENDABLE = "printable ASCII characters without spaces"
"""What a token is made of, in words."""

_REDIS_URL = re.compile(
    r"rediss?://(?:[^\s/?#@]*@)?(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])"
    r"(?::\d{1,5})?(?:/\d{0,9})?"
)


def is_sendable(token: str) -> bool:
    """Whether a header can carry it."""
    return token.isascii() and token.isprintable() and " " not in token


class _Environment(EnvSettingsSource):
    """The variables; one that is no JSON where JSON is expected stays a text, which the validation refuses by name."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


class HostConfig(BaseSettings):
    """What ``ApiHost(...)`` takes, by the same names.

    ``config_file`` is read when it is there, or when it was named; "" reads none. ``model`` is the default
    model's reference (None: each request names its own). ``token`` None makes a new one. ``address``/``port`` is where
    the server listens; a taken port moves on to the next free one.
    ``ctx_length`` is in tokens a sequence, ``parallel`` the sequences a model runs at once (auto: 4 on a CPU, 8 on a
    GPU). ``cache_type`` is that of the KV cache's values; ``lookup`` guesses tokens from earlier places of a text,
    ``draft_model``, a smaller model of the same vocabulary, at most ``draft_max`` of them a step for the default model.
    ``models_dir`` None is the Hugging Face cache. ``convert`` makes GGUFs of GGML files from before them.
    ``memory_budget`` is in bytes (auto: what is free). ``queue_limit`` bounds the requests of a model that wait for a
    slot. Times are in seconds.

    ``chat_format``, ``seed`` and ``lora`` are taken by requests that name none; ``lora`` only by those to the default
    model. ``cache`` keeps the answers of requests that are answered the same each time: "memory", or a Redis URL with
    the extra ``redis`` (None or "off": nowhere). ``cache_max_bytes`` bounds all of them in memory, and each one in
    Redis. ``prefix_memory`` is the bytes of host memory in which prefixes wait that have lost their slot (auto: a tenth
    of what is free). ``n_batch`` is the most tokens of one decode. ``tensor_split`` is each GPU's share of the layers
    (None: by their free memory), ``main_gpu`` puts all of them on one. The ``rope_freq`` settings override the GGUF's
    own.
    """

    model_config = SettingsConfigDict(
        env_prefix="API_HOST_",
        extra="forbid",
        hide_input_in_errors=True,
        protected_namespaces=(),
    )

    config_file: str = "config.yaml"
    model: str | None = None
    use_token: bool = True
    token: SecretStr | None = None
    tunnel: bool = True
    address: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 5000
    ctx_length: Annotated[int, Field(ge=64, le=10_000_000)] = 4096
    n_gpu_layers: Annotated[int, Field(ge=-1)] | Auto = "auto"
    parallel: Annotated[int, Field(ge=1, le=256)] | Auto = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] | Auto = "auto"
    cache_type: CacheType = "f16"
    lookup: bool = False
    draft_model: str | None = None
    draft_max: Annotated[int, Field(ge=1, le=16)] = 8
    prefix_memory: Annotated[int, Field(ge=0)] | Auto = "auto"
    n_batch: Annotated[int, Field(ge=32, le=65_536)] | None = None
    use_mmap: bool | None = None
    use_mlock: bool = False
    tensor_split: (
        Annotated[
            list[Annotated[float, Field(ge=0, allow_inf_nan=False)]], Field(min_length=1, max_length=16)
        ]
        | None
    ) = None
    main_gpu: Annotated[int, Field(ge=0, le=15)] | None = None
    rope_freq_base: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    rope_freq_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    chat_format: str | None = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 2)] | None = None
    lora: Annotated[list[str], Field(max_length=MAX_ADAPTERS)] = []
    models_dir: Path | None = None
    convert: bool = False
    memory_budget: Annotated[int, Field(ge=1)] | Auto = "auto"
    queue_limit: Annotated[int, Field(ge=1, le=10_000)] = 100
    hub_token: SecretStr | None = None
    stall_timeout: Annotated[float, Field(gt=0)] = 60.0
    cache: str | None = Field(default=None, repr=False)
    cache_max_bytes: Annotated[int, Field(ge=1)] = 64_000_000
    cache_max_age: Annotated[float, Field(gt=0, le=31_536_000)] = 86_400.0
    load_cooldown: Annotated[float, Field(gt=0)] = 10.0
    disk_reserve: Annotated[int, Field(ge=0)] = 1_000_000_000

    @field_validator("cache")
    @classmethod
    def _cache_is_a_place(cls, cache: str | None) -> str | None:
        if cache is None or cache in ("off", "memory"):
            return cache
        with contextlib.suppress(ValueError):  # of a port above 65535
            if _REDIS_URL.fullmatch(cache) and urlsplit(cache).port != 0:
                return cache
        raise ValueError(
            "cache: off, memory, or redis://[[user]:password@]name[:port][/number] (or rediss://)"
        )

    @field_validator("lora", "tensor_split", mode="before")
    @classmethod
    def _is_a_list(cls, value: Any, field: ValidationInfo) -> Any:
        if isinstance(value, str | int | float):
            example = "[3, 1]" if field.field_name == "tensor_split" else '["owner/name/adapter.gguf"]'
            raise ValueError(f"{field.field_name}: a list, such as {example}")
        return value

    @field_validator("n_batch", "use_mmap", "tensor_split", mode="before")  # runs before the one above
    @classmethod
    def _auto_is_none(cls, value: Any) -> Any:
        return None if value == "auto" else value

    @field_validator("models_dir", "draft_model", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value  # an empty folder were the working directory

    @field_validator("tensor_split")
    @classmethod
    def _some_gpu_gets_layers(cls, tensor_split: list[float] | None) -> list[float] | None:
        if tensor_split is not None and not any(tensor_split):
            raise ValueError("tensor_split: at least one share above 0; n_gpu_layers=0 uses no GPU")
        return tensor_split

    @field_validator("token")
    @classmethod
    def _token_is_usable(cls, token: SecretStr | None) -> SecretStr | None:
        if token is None:
            return None
        text = token.get_secret_value()
        if not 8 <= len(text) <= 512 or not is_sendable(text):
            raise ValueError(f"token: 8 to 512 {SENDABLE}")
        return token

    @field_validator("hub_token")
    @classmethod
    def _hub_token_is_usable(cls, hub_token: SecretStr | None) -> SecretStr | None:
        # A pasted secret often has its line's end.
        text = hub_token.get_secret_value().strip() if hub_token is not None else ""
        if not is_sendable(text):
            raise ValueError(f"hub_token: {SENDABLE}")
        return SecretStr(text) if text else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls), ConfigFile(settings_cls)

    @classmethod
    def from_arguments(cls, **arguments: Any) -> HostConfig:
        """The configuration with the arguments that were given; None leaves a setting to the next source."""
        return cls(**{name: value for name, value in arguments.items() if value is not None})
