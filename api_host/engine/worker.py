"""The worker process of one loaded model: receive, step, send (``python -m api_host.engine.worker FD``).

Knows nothing of HTTP or of the hub. It ends when the host closes its end of the socket pair.
"""

from __future__ import annotations

import select
import signal
import socket
import sys
from array import array

from api_host.engine.llama.chat_template import ChatTemplate
from api_host.engine.llama.sampler import LlamaSampler
from api_host.engine.loader import LoadedModel, load_model
from api_host.engine.messages import (
    Cancel,
    EngineStats,
    FrameReader,
    Generate,
    Load,
    Loaded,
    LoadFailed,
    RequestFailed,
    Step,
    Stop,
    ToWorker,
    WorkerEvent,
    send,
    to_worker_decoder,
)
from api_host.engine.scheduler import Scheduler
from api_host.errors import ApiHostError, InvalidRequest
from api_host.generation import SamplingParams


class HostGone(Exception):
    """The host closed its end, or asked for the end."""


class Inbox:
    """The messages of the host, as they come."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames = FrameReader()

    def receive(self, wait: bool) -> list[ToWorker]:
        """What has arrived; with ``wait`` at least one message.

        Raises:
            HostGone: the socket is closed.
        """
        messages: list[ToWorker] = []
        while not messages:
            if not wait and not select.select([self._sock], [], [], 0)[0]:
                break
            data = self._sock.recv(1 << 20)
            if not data:
                raise HostGone
            messages = [to_worker_decoder.decode(frame) for frame in self._frames.feed(data)]
        return messages


class Engine:
    """One loaded model with its scheduler: turns messages into sequences."""

    def __init__(self, loaded: LoadedModel, queue_limit: int) -> None:
        model, context = loaded.model, loaded.context
        self._model = model
        self._template = ChatTemplate(
            model.chat_template, bos=model.token_text(model.bos), eos=model.token_text(model.eos)
        )

        def make_sampler(params: SamplingParams, prompt: array[int], index: int) -> LlamaSampler:
            return LlamaSampler(context, params, prompt, index)

        self.scheduler = Scheduler(context, model, make_sampler, queue_limit)
        self._refusals: list[WorkerEvent] = []

    def handle(self, message: ToWorker) -> None:
        match message:
            case Generate():
                self._generate(message)
            case Cancel(id=id):
                self.scheduler.cancel(id)
            case Stop():
                raise HostGone

    def take_events(self) -> list[WorkerEvent]:
        refusals, self._refusals = self._refusals, []
        return refusals + self.scheduler.take_events()

    def _generate(self, message: Generate) -> None:
        try:
            prompt, stop = self._prompt(message)
            self.scheduler.submit(message.id, prompt, message.sampling, stop, message.n_ctx)
        except ApiHostError as error:
            details = {**error.details, "retry_after": error.retry_after}
            self._refusals.append(RequestFailed(message.id, error.code, error.message, details))

    def _prompt(self, message: Generate) -> tuple[array[int], list[str]]:
        """The prompt's tokens and its stop strings; a template that writes BOS itself gets no second one."""
        stop = message.sampling.stop
        if isinstance(message.inputs, str):
            text = message.inputs
        else:
            rendered = self._template.render(message.inputs, message.chat_format)
            text, stop = rendered.text, [*stop, *rendered.stop]
        bos = self._model.token_text(self._model.bos)
        tokens = self._model.tokenize(text, add_special=not (bos and text.startswith(bos)))
        if not tokens:
            raise InvalidRequest("inputs: the text has no tokens; send at least one character")
        return tokens, stop


def serve(sock: socket.socket) -> None:
    """Loads the model that the first message names, then runs until the host is gone."""
    inbox = Inbox(sock)
    first, *rest = inbox.receive(wait=True)
    assert isinstance(first, Load)
    try:
        loaded = load_model(first)
    except ApiHostError as error:
        send(sock, LoadFailed(error.code, error.message, error.details))
        return
    engine = Engine(loaded, first.queue_limit)
    send(sock, Loaded(loaded.info))
    for message in rest:
        engine.handle(message)
    shown = EngineStats()
    while True:
        for message in inbox.receive(wait=not engine.scheduler.has_work):
            engine.handle(message)
        engine.scheduler.step()
        events, stats = engine.take_events(), engine.scheduler.stats
        if events or stats != shown:
            send(sock, Step(events, stats))
            shown = stats


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=int(sys.argv[1]))
    try:
        serve(sock)
    except (HostGone, BrokenPipeError, ConnectionResetError):
        sock.close()


if __name__ == "__main__":
    main()
