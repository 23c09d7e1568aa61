"""The two secrets of a host: the token that it asks for, and the one that it shows the hub.

Knows nothing of what they open.
"""

from __future__ import annotations

import os
import secrets

from api_host.config import SENDABLE, HostConfig, is_sendable
from api_host.errors import InvalidRequest
from api_host.notebook import colab_secret


def access_token(config: HostConfig) -> str | None:
    """The access token of the settings, or a new one; None for a host that asks for none."""
    if not config.use_token:
        return None
    return config.token.get_secret_value() if config.token is not None else secrets.token_urlsafe(24)


def hub_token(config: HostConfig) -> str | None:
    """Resolved once, when the host is built: Colab tells its secrets to the main thread only.

    None leaves it to huggingface_hub, which knows a token that was stored by its own login.

    Raises:
        InvalidRequest: HF_TOKEN has characters that no header carries.
    """
    if config.hub_token is not None:
        return config.hub_token.get_secret_value()
    found = (os.environ.get("HF_TOKEN") or colab_secret("HF_TOKEN") or "").strip()
    if not is_sendable(found):
        raise InvalidRequest(f"HF_TOKEN: {SENDABLE}")
    return found or None
