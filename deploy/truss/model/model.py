"""The ``Model`` that a Truss server loads and asks: ``POST /predict`` of an API Host inside the same container.

Knows what a Truss server calls and what it expects back. The route, its arguments and its errors are the host's: each
request goes to it as it came, over the loopback, so that a pushed Truss and a host answer alike.
"""

from __future__ import annotations

import codecs
import importlib
import json
from collections.abc import Iterator
from typing import Any

import requests

from api_host import ApiHost

HUB_SECRET = "hf_access_token"
RECORD_SEPARATOR = "\x1e"
"""Stands before the JSON of an error that comes after the first text of a stream."""


class PredictError(Exception):
    """A request that cannot be answered: one sentence with cause and cure, and the host's HTTP ``status``."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class Model:
    """What Truss makes one of in each replica.

    Args:
        **kwargs: ``config`` is the parsed config.yaml, whose ``model_metadata.api_host`` are settings of the host;
            ``secrets`` has ``hf_access_token`` where config.yaml declares it. What else Truss passes is not needed.
    """

    def __init__(self, **kwargs: Any) -> None:
        config = kwargs.get("config") or {}
        metadata = config.get("model_metadata") or {}
        self._settings: dict[str, Any] = dict(metadata.get("api_host") or {})
        # Truss raises for a secret that is declared and not set, and can only be asked for one by its name.
        if HUB_SECRET in (config.get("secrets") or {}):
            self._settings["hub_token"] = kwargs["secrets"][HUB_SECRET]
        self._host: ApiHost | None = None

    def load(self) -> None:
        """Starts the host, without a tunnel, and returns when its model is downloaded and loaded.

        A host that is there already ends first, and one whose model cannot be had ends too: a server may try again.

        Raises:
            api_host_client.errors.ModelError: the model cannot be had; the type and the sentence say why.
        """
        self.stop()
        # The config.yaml in a Truss server's folder is Truss's own.
        defaults = {"tunnel": False, "port": 0, "config_file": ""}
        self._host = ApiHost(**{**defaults, **self._settings}).start()
        model = self._host.config.model
        if model is None:
            return
        try:
            with self._host.client() as client:
                client.load(model, progress=False)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the host and its model; a server that only ends its process need not call it."""
        host, self._host = self._host, None
        if host is not None:
            host.stop()

    def predict(self, request: dict[str, Any]) -> Iterator[str] | dict[str, Any]:
        """Answers one request, the body of ``POST /predict``.

        Returns:
            The text in pieces, or ``{"output": ...}`` with ``"stream": false``.

        Raises:
            PredictError: it cannot be answered. Where fastapi is installed, as in a Truss server, its
                ``HTTPException`` with the same sentence and status, which that server passes on to the client.
                In a stream it may come after some text.
        """
        if self._host is None:
            raise _failure("the model is not loaded yet; try again soon", 503)
        response = _ask(self._host, request)
        if response.status_code != requests.codes.ok:
            with response:
                raise _failure(response.json()["error"], response.status_code)
        if response.headers["Content-Type"].startswith("text/plain"):
            return _pieces(response)
        with response:
            answer: dict[str, Any] = response.json()
        if "error" in answer:
            raise _failure(answer["error"], answer["status"])
        return answer


def _ask(host: ApiHost, request: dict[str, Any]) -> requests.Response:
    with requests.Session() as session:
        # Neither a proxy nor a login of the container's own has a part in what is asked over the loopback.
        session.trust_env = False
        return session.post(
            f"{host.local_url}/predict",
            data=json.dumps(request),  # NaN goes too, for the host to refuse
            headers={"Authorization": f"Bearer {host.access_token}", "Content-Type": "application/json"},
            stream=True,
        )


def _pieces(response: requests.Response) -> Iterator[str]:
    """The text as it comes; closing the iterator ends the generation."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    with response:
        for data in response.iter_content(None):
            text, separator, record = decode(data).partition(RECORD_SEPARATOR)
            if text:
                yield text
            if separator:
                error = json.loads(record + "".join(map(decode, response.iter_content(None))))
                raise _failure(error["error"], error["status"])


def _failure(sentence: str, status: int) -> Exception:
    try:
        fastapi = importlib.import_module("fastapi")
    except ImportError:
        return PredictError(sentence, status)
    failure: Exception = fastapi.HTTPException(status_code=status, detail=sentence)
    return failure
