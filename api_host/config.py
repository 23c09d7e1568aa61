"""The settings of a host: arguments > environment (``API_HOST_*``) > ``config.yaml`` > the defaults below.

Every default of the host stands here and nowhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from api_host.gguf_header import CacheType

Auto = Literal["auto"]

MAX_BODY_BYTES = 32 * 1024 * 1024
KEEP_ALIVE_S = 10.0


class HostConfig(BaseSettings):
    """What ``ApiHost(...)`` takes, by the same names.

    ``model`` is the default model's reference (None: each request names its own). ``token`` None makes a new
    one. ``address``/``port`` is where the server listens; a taken port moves on to the next free one.
    ``ctx_length`` is in tokens a sequence, ``parallel`` the sequences a model runs at once (auto: 4 on a CPU, 8 on a
    GPU). ``cache_type`` is that of the KV cache's values; ``lookup`` guesses tokens from earlier places of a text.
    ``models_dir`` None is the Hugging Face cache. ``memory_budget`` is in bytes (auto: what is free).
    ``queue_limit`` bounds the requests of a model that wait for a slot. Times are in seconds.
    """

    model_config = SettingsConfigDict(
        env_prefix="API_HOST_",
        yaml_file="config.yaml",
        extra="forbid",
        hide_input_in_errors=True,
        protected_namespaces=(),
    )

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
    models_dir: Path | None = None
    memory_budget: Annotated[int, Field(ge=1)] | Auto = "auto"
    queue_limit: Annotated[int, Field(ge=1, le=10_000)] = 100
    hub_token: SecretStr | None = None
    stall_timeout: Annotated[float, Field(gt=0)] = 60.0
    load_cooldown: Annotated[float, Field(gt=0)] = 10.0
    disk_reserve: Annotated[int, Field(ge=0)] = 1_000_000_000

    @field_validator("token")
    @classmethod
    def _token_is_usable(cls, token: SecretStr | None) -> SecretStr | None:
        if token is None:
            return None
        text = token.get_secret_value()
        if not 8 <= len(text) <= 512 or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("token: 8 to 512 printable ASCII characters without spaces")
        return token

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)

    @classmethod
    def from_arguments(cls, **arguments: Any) -> HostConfig:
        """The configuration with the arguments that were given; None leaves a setting to the next source."""
        return cls(**{name: value for name, value in arguments.items() if value is not None})
