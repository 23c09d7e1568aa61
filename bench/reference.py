"""Compares greedy text with llama-server's for the same file, one stream at a time.

Sums differ in their last bits with the shape of a batch, and a near tie between two tokens may then fall the other way;
all text behind it is another one. So where a text parts from the reference's, the reference is asked how close the two
tokens were, and how it goes on behind the text's own: a text that leaves it at near ties alone is told apart from one
that is wrong.
"""

from __future__ import annotations

import http.client
import itertools
import json
import math
from collections.abc import Iterable
from typing import Any

from bench.asking import Answered, Asked, ask
from bench.load import LoadFailed
from bench.process import RunningServer
from bench.results import TextCheck
from bench.servers import HOST, Server, Setting
from bench.workload import Ground

UNDER_LOAD, ONE_AT_A_TIME = "under load", "one at a time"
N_CANDIDATES = 20
# Natural logarithms of probabilities; the last bits of these models' logits move them by about 0.05.
NEAR_TIE = 0.2


class Reference:
    """llama-server with one slot, which answers each question once. Use it as a context.

    Args:
        server: llama-server. ``ctx``: tokens of context.
    """

    def __init__(self, server: Server, ground: Ground, ctx: int) -> None:
        self._running = one_slot(server, ground, ctx)
        self._texts: dict[Asked, str] = {}

    def __enter__(self) -> Reference:
        self._running.__enter__()
        self._running.wait_ready()
        return self

    def __exit__(self, *of_error: Any) -> None:
        self._running.__exit__(*of_error)

    def check(self, contender: str, how: str, texts: Iterable[tuple[Asked, str]]) -> TextCheck:
        """Compares a contender's texts."""
        check = TextCheck(contender, how)
        for asked, text in texts:
            check.of += 1
            gaps = self._gaps(asked, text)
            if not gaps:
                check.equal += 1
            elif max(gaps) <= NEAR_TIE:
                check.near_ties += 1
                check.largest_gap = max(check.largest_gap, round(max(gaps), 4))
        return check

    def _gaps(self, asked: Asked, text: str) -> list[float]:
        """For each place where the text parts from what the reference says behind the same words: how much more likely
        the reference's best token is than the text's, infinity when that is not even among the best."""
        prompt, words, gaps = asked.prompt, text.split(), []
        while words:
            ours = self._text(Asked(prompt, len(words))).split()
            alike = zip(words, ours, strict=True)
            n_common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], alike))
            if n_common == len(words):
                break
            prompt = " ".join([prompt, *words[:n_common]])
            candidates = self._candidates(prompt)
            gaps.append(max(candidates.values()) - candidates.get(words[n_common], -math.inf))
            prompt, words = f"{prompt} {words[n_common]}", words[n_common + 1 :]
        return gaps

    def _text(self, asked: Asked) -> str:
        if asked not in self._texts:
            self._texts[asked] = ask(self._running, [asked])[0].text
        return self._texts[asked]

    def _candidates(self, prompt: str) -> dict[str, float]:
        """The most likely next words and the logarithms of their probabilities."""
        connection = http.client.HTTPConnection("127.0.0.1", self._running.port, timeout=600)
        body = {"prompt": prompt, "n_predict": 1, "temperature": 0, "n_probs": N_CANDIDATES}
        try:
            connection.request("POST", "/completion", json.dumps(body))
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "completion_probabilities" not in answer:
            raise LoadFailed(f"the reference gives no probabilities: {str(answer)[:300]}")
        best = answer["completion_probabilities"][0]["top_logprobs"]
        return {found["token"].strip(): float(found["logprob"]) for found in best}


def compare(
    found: dict[str, list[Answered]], reference: Server, host: Server | None, ground: Ground, ctx: int
) -> list[TextCheck]:
    """Compares what the contenders answered, and what this host answers when it is asked the same one at a time.

    Args:
        found: the answers of each contender.
        reference: llama-server. ``host``: this host, or None to leave it out.
        ctx: tokens of context, as the contenders had.
    """
    asked = list(dict.fromkeys(answer.asked for answers in found.values() for answer in answers))
    if not asked:
        return []
    alone: dict[Asked, str] = {}
    if host is not None:
        with one_slot(host, ground, ctx) as running:
            running.wait_ready()
            alone = {one: ask(running, [one])[0].text for one in asked}
    with Reference(reference, ground, ctx) as against:
        checks = [
            against.check(name, UNDER_LOAD, [(one.asked, one.text) for one in answers])
            for name, answers in found.items()
        ]
        return [*checks, against.check(HOST, ONE_AT_A_TIME, alone.items())] if alone else checks


def one_slot(server: Server, ground: Ground, ctx: int) -> RunningServer:
    """A server for one sequence."""
    setting = Setting(ground.model, 1, ctx, ground.threads, ground.gpu)
    return RunningServer(server, setting, ground.logs / f"{server.name}-alone.log")
