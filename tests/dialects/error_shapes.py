"""How each dialect tells errors: what checks the shape of a whole answer and finds the sentence in it.

Knows nothing of what provokes an error, and no route but one that there is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import requests


def _native(response: requests.Response) -> str:
    body = response.json()
    if response.status_code == 403:
        assert body == {"error": "wrong token"}
        return "wrong token"
    assert isinstance(body["code"], str)
    said = body["error"]
    assert isinstance(said, str) or (
        response.status_code == 400 and all(isinstance(one, str) for one in said)
    )
    return said if isinstance(said, str) else "; ".join(said)


_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def _openai(response: requests.Response) -> str:
    (error,) = response.json().values()
    status = response.status_code
    assert error["type"] == _OPENAI_TYPES.get(
        status, "server_error" if status >= 500 else "invalid_request_error"
    )
    assert isinstance(error["code"], str)
    assert error["param"] is None or error["param"] == "model" or f"{error['param']}:" in error["message"]
    return str(error["message"])


_ANTHROPIC_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
}


def _anthropic(response: requests.Response) -> str:
    body = response.json()
    assert body["type"] == "error"
    assert body["error"]["type"] == _ANTHROPIC_TYPES.get(response.status_code, "invalid_request_error")
    assert body["request_id"] == response.headers["request-id"]
    return str(body["error"]["message"])


def _ollama(response: requests.Response) -> str:
    assert response.headers["Content-Type"] == "application/json"
    (said,) = response.json().values()
    assert response.json() == {"error": said}
    return str(said)


def _petals(response: requests.Response) -> str:
    body = response.json()
    assert body.keys() == {"ok", "traceback"}
    assert body["ok"] is False
    kind, _, said = body["traceback"].partition(": ")
    assert kind.isidentifier()
    return str(said)


def _truss(response: requests.Response) -> str:
    assert isinstance(response.json()["code"], str)
    return str(response.json()["error"])


def _detail(response: requests.Response) -> str:
    return str(response.json()["detail"])


@dataclass(frozen=True)
class Dialect:
    """One API's way to tell errors.

    ``sentence`` checks the shape of a whole error and returns its sentence. ``unknown`` is an address of its own that
    has no route. ``context`` is the field by which a client asks for a longer one, where there is one. With
    ``always_ok``, what HTTP itself does not refuse is answered by a 200.
    """

    sentence: Callable[[requests.Response], str]
    unknown: str
    context: str = "context"
    wrong_token: int = 401
    always_ok: bool = False


NATIVE = Dialect(_native, "/api/nothing", "options.ctx_length", wrong_token=403)
OPENAI = Dialect(_openai, "/v1/nothing", "options.ctx_length")
ANTHROPIC = Dialect(_anthropic, "/v1/messages/nothing")
OLLAMA = Dialect(_ollama, "/api/chat/nothing", "options.num_ctx")
PETALS = Dialect(_petals, "/api/v1/nothing", always_ok=True)
TRUSS = Dialect(_truss, "/predict/nothing")
LLM_API = Dialect(_detail, "/generate/nothing")
ZEPHYR = Dialect(_detail, "/zephyr/nothing")
