"""One notebook cell turns a GPU into a private LLM API with a public URL.

The public names are here; they are imported when they are first used, so that a worker or a download child, which
live in this package too, load nothing of the web.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from api_host.config import HostConfig
    from api_host.errors import ApiHostError
    from api_host.host import ApiHost

__version__ = "0.1.0"

__all__ = ["ApiHost", "ApiHostError", "HostConfig", "__version__"]

_HOMES = {
    "ApiHost": "api_host.host",
    "ApiHostError": "api_host.errors",
    "HostConfig": "api_host.config",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
