"""The client: the verbs a user thinks in, over one host.

Knows what the host's routes mean; how bytes travel is ``transport``'s, what is in a body ``request``'s.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from api_host_client.access import Address, Token
from api_host_client.errors import BadArgument, ModelLoadFailed, NotAnAnswer
from api_host_client.progress import display_for
from api_host_client.reply import host_error
from api_host_client.request import Chat, as_chat, as_json, as_text, as_texts, generation, given, naming
from api_host_client.stream import Stream
from api_host_client.transport import Transport
from api_host_client.types import Answer, Health, Model, Waiting

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 120.0
POLL_S = 0.5
GONE_AFTER_S = 10.0


class Client:
    """Talks to one API Host. Threads and forked processes may share it: each has a connection of its own.

    Args:
        url: what the host prints, with or without a trailing slash or ``/api``.
        token: the host's access token; None for a host that asks for none. Sent in a header only.
        timeout: seconds without a single byte before giving up, or (seconds to connect, seconds without a
            byte). The host sends keep-alives every 15 s, so this does not bound how long an answer takes.
        model: the model of requests that name none; None leaves it to the host.
        retries: how often a request is sent again, where that is safe: it never arrived, or the host named a
            time to come back within 30 s. Once an answer has begun, nothing is repeated.

    Raises:
        BadArgument: a URL, a token or a timeout that cannot be one.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float | tuple[float, float] = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
        model: str | None = None,
        retries: int = 2,
    ) -> None:
        pair = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        if len(pair) != 2 or not all(isinstance(each, int | float) and 0 < each < math.inf for each in pair):
            raise BadArgument("timeout: expected seconds above 0, or a pair of them")
        if not isinstance(timeout, tuple):
            pair = (min(CONNECT_TIMEOUT_S, timeout), timeout)
        self._transport = Transport(Address(url), Token(token), timeout=pair, retries=retries)
        self.model = model

    @classmethod
    def from_env(cls, **arguments: Any) -> Client:
        """A client from ``API_HOST_URL`` and ``API_HOST_TOKEN``; the arguments are those of ``Client``.

        Raises:
            BadArgument: ``API_HOST_URL`` is not set.
        """
        url = os.environ.get("API_HOST_URL", "")
        if not url:
            raise BadArgument("API_HOST_URL is not set: export the URL that the host prints")
        return cls(url, os.environ.get("API_HOST_TOKEN") or None, **arguments)

    @property
    def url(self) -> str:
        return self._transport.address.base

    def __repr__(self) -> str:
        return f"Client(url={self.url!r}, token={self._transport.token!r}, model={self.model!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections, that of a running request after its answer; the client cannot be used again."""
        self._transport.close()

    def chat(
        self, messages: Chat, *, model: str | None = None, system: str | None = None, **settings: Any
    ) -> Answer:
        """The model's next turn of a chat.

        Args:
            messages: a text, or turns of ``{"role", "content"}``; an Answer may stand for its turn.
            model: its reference; None takes the client's model, or else the host's default.
            system: a system turn to put before the messages.
            **settings: ``repo_id`` and ``file_name`` instead of ``model``; for the loaded model ``use_gpu``,
                ``ctx_length`` (tokens) and ``chat_format``; all others are sampling parameters by llama.cpp's
                names: ``max_tokens``, ``temperature``, ``top_k``, ``top_p``, ``min_p``, ``typical_p``,
                ``repeat_penalty``, ``frequency_penalty``, ``presence_penalty``, ``mirostat``,
                ``mirostat_tau``, ``mirostat_eta``, ``seed``, ``logit_bias``, ``stop``, ``n``, ... What is left
                out takes the host's default; the host refuses names it does not know.

        Raises:
            BadArgument, HostError, EdgeError, ConnectionFailed, BadAnswer: see ``errors``.
        """
        return self._whole(as_chat(messages, system), {"model": model, **settings})

    def stream_chat(
        self,
        messages: Chat,
        *,
        model: str | None = None,
        system: str | None = None,
        on_waiting: Callable[[Waiting], None] | None = None,
        **settings: Any,
    ) -> Stream:
        """As ``chat``, but an iterator of chunks as they come.

        ``on_waiting`` is called while the request is queued, or its model is downloaded or loaded.
        """
        return self._stream(as_chat(messages, system), {"model": model, **settings}, on_waiting)

    def complete(self, text: str, *, model: str | None = None, **settings: Any) -> Answer:
        """How the model goes on with a text, without a chat template; the text itself is not repeated.

        Takes the settings of ``chat`` and raises what it raises.
        """
        return self._whole(as_text(text, "text"), {"model": model, **settings})

    def stream(
        self,
        text: str,
        *,
        model: str | None = None,
        on_waiting: Callable[[Waiting], None] | None = None,
        **settings: Any,
    ) -> Stream:
        """As ``complete``, but an iterator of chunks as they come."""
        return self._stream(as_text(text, "text"), {"model": model, **settings}, on_waiting)

    def embed(
        self,
        text: str | Iterable[str],
        *,
        model: str | None = None,
        repo_id: str | None = None,
        file_name: str | None = None,
    ) -> list[float] | list[list[float]]:
        """The embedding of a text, or of each text of a list.

        Raises:
            BadArgument: one of them is no text.
            InvalidRequest: the host has no embeddings, or the model gives none.
        """
        one = isinstance(text, str)
        inputs = as_texts(text)
        named = naming(model, repo_id, file_name, self.model)
        body = self._transport.post("/api", {"task": "embedding", **named, "inputs": inputs})
        vectors = body.get("embeddings", [body["embedding"]] if "embedding" in body else None)
        if not isinstance(vectors, list) or len(vectors) != (1 if one else len(inputs)):
            raise NotAnAnswer("the host's answer does not hold one embedding for each text")
        return vectors[0] if one else vectors

    def models(self) -> list[Model]:
        """The models of the host and how each of them is."""
        found = self._transport.get("/api/models").get("models")
        if not isinstance(found, list):
            raise NotAnAnswer("the host's answer has no list of models: is this the URL of an API Host?")
        return [Model.from_json(entry) for entry in found]

    def load(
        self,
        model: str,
        *,
        use_gpu: bool | None = None,
        ctx_length: int | None = None,
        progress: bool | Callable[[Model], None] = True,
        wait: bool = True,
    ) -> Model:
        """Has the host fetch and load a model, and waits until it is ready.

        Args:
            model: its reference, such as ``owner/name:Q4_K_M``.
            use_gpu: None takes the host's default.
            ctx_length: tokens a sequence; None takes the host's default.
            progress: a bar (lines where none can be redrawn), nothing, or a function that is given each state.
            wait: False returns as soon as the host has begun.

        Raises:
            ModelError: it cannot be found, fetched or loaded; the type says which.
        """
        named, options = as_json(model, "model"), given({"use_gpu": use_gpu, "ctx_length": ctx_length})
        body = self._transport.post("/api/models/load", {"model": named, "options": options, "wait": False})
        begun = Model.from_json(body.get("model"))
        return self._until_loaded(begun, progress) if wait else begun

    def unload(self, model: str) -> None:
        """Has the host end a loaded model and give its memory back.

        Raises:
            ModelBusy: requests are running on it.
        """
        self._transport.post("/api/models/unload", {"model": as_json(model, "model")})

    def health(self) -> Health:
        """Whether the host serves; needs no token."""
        facts = self._transport.get("/health")
        return Health(str(facts.get("status") or ""), str(facts.get("version") or ""), facts)

    def _whole(self, inputs: str | list[dict[str, Any]], settings: dict[str, Any]) -> Answer:
        return Answer.from_json(self._transport.post("/api", self._body(inputs, settings, stream=False)))

    def _stream(
        self,
        inputs: str | list[dict[str, Any]],
        settings: dict[str, Any],
        on_waiting: Callable[[Waiting], None] | None,
    ) -> Stream:
        response = self._transport.stream("/api", self._body(inputs, settings, stream=True))
        return Stream(response, self._transport.token.scrub, on_waiting)

    def _body(
        self, inputs: str | list[dict[str, Any]], settings: dict[str, Any], *, stream: bool
    ) -> dict[str, Any]:
        settings = dict(settings)
        model, repo_id, file_name = (settings.pop(name, None) for name in ("model", "repo_id", "file_name"))
        named = naming(model, repo_id, file_name, self.model)
        return generation(inputs, named, settings, stream=stream)

    def _until_loaded(self, model: Model, progress: bool | Callable[[Model], None]) -> Model:
        """Polls until the model is loaded; one that is unloaded for 10 s has been given up by the host."""
        display = display_for(progress)
        last_sign = time.monotonic()
        try:
            while True:
                display.show(model)
                if model.loaded:
                    return model
                if model.status == "failed":
                    raise _load_error(model)
                if model.status != "unloaded":
                    last_sign = time.monotonic()
                elif time.monotonic() - last_sign > GONE_AFTER_S:
                    raise ModelLoadFailed(
                        f"the host no longer loads {model.name}: call load again", status=422
                    )
                self._transport.pause(POLL_S)
                model = next((m for m in self.models() if m.name == model.name), Model(model.name))
        finally:
            display.close()


def _load_error(model: Model) -> Exception:
    said = model.error if isinstance(model.error, dict) else {"error": model.error or "no reason given"}
    return host_error({"code": ModelLoadFailed.code, **said}, status=422)
