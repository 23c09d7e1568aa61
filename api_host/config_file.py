"""``config.yaml`` as a source of settings: the host's own keys, LLM API's, or both in one file.

Knows which keys are whose; what LLM API's mean is ``llm_api_config``'s, and which keys the host has is ``config``'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from api_host.errors import InvalidRequest
from api_host.llm_api_config import LlmApiSettings, read_settings, translated


class ConfigFile(PydanticBaseSettingsSource):
    """``config_file`` in either spelling, and the ``LLM_API_*`` variables over it.

    Raises:
        InvalidRequest: when it is called; ``problems`` has a sentence for each key that is wrong.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        own = self._keys()
        theirs = {name: own.pop(name) for name in LlmApiSettings.model_fields if name in own}
        settings = read_settings(theirs)
        above = self.current_state.get("models_dir")
        is_named = self.current_state.get("model") is not None
        found, problems = translated(settings, Path(above) if above else None, is_named)
        problems += [f"{name}: LLM API's keys set it too; keep it, or those" for name in found if name in own]
        if problems:
            raise InvalidRequest(*problems)
        return {**own, **found}

    def _keys(self) -> dict[str, Any]:
        named = self.current_state.get("config_file")
        name = self.settings_cls.model_fields["config_file"].default if named is None else named
        if not name:
            return {}
        try:
            keys = yaml.safe_load(Path(name).expanduser().read_text("utf-8"))
        except FileNotFoundError:
            if named is None:
                return {}
            raise InvalidRequest(f"config_file: there is no file {name!r}") from None
        except RecursionError:
            raise InvalidRequest(f"config_file: {name!r} cannot be read: it is nested too deeply") from None
        except (
            OSError,
            ValueError,
            RuntimeError,
            yaml.YAMLError,
        ) as failure:  # RuntimeError: ~name of nobody
            raise InvalidRequest(f"config_file: {name!r} cannot be read: {failure}") from failure
        if not isinstance(keys, (dict, type(None))):
            raise InvalidRequest(f"config_file: {name!r} is no YAML of keys and values")
        odd = [key for key in keys or () if not isinstance(key, str)]
        if odd:
            raise InvalidRequest(
                f"config_file: {name!r} has the key {odd[0]!r}, which is no text; name a setting"
            )
        return dict(keys or {})
