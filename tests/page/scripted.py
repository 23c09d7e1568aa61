"""The page in front of a pipeline whose every word the test decides, and what the server saw of the browser.

Knows the fake pipeline and the site of the web layer's tests; nothing of the browser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from api_host.generation import Waiting
from api_host.models.pool.entry import unseen
from tests.fakes.pipeline import FakePipeline, Step, answer
from tests.web.site import TOKEN, Site

LOADED = {
    **unseen("demo", 2_100_000),
    "status": "loaded",
    "description": "llama 1.8 M Q8_0",
    "architecture": "llama",
    "n_params": 1_800_000,
    "n_ctx": 2048,
    "n_ctx_train": 2048,
    "n_slots": 4,
    "n_gpu_layers": 0,
    "n_layer": 4,
    "device": "CPU",
}
CACHED = unseen("some/cached-GGUF/cached-Q4_K_M.gguf", 1_200_000_000)


def lasting(event: Waiting) -> list[Step]:
    """The same state for as long as anybody waits, told again and again as the real pipeline does."""
    return [step for _ in range(1000) for step in (event, 0.05)]


class ScriptedSite(Site):
    """A site that remembers the requests it got. ``seen`` holds method, path with query, and headers of each."""

    token = TOKEN

    def __init__(self) -> None:
        super().__init__(FakePipeline())
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        inner = self.app.wsgi_app

        def remember(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            headers = {name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")}
            address = "?".join(filter(None, [environ["PATH_INFO"], environ.get("QUERY_STRING")]))
            self.seen.append((environ["REQUEST_METHOD"], address, headers))
            return inner(environ, start)

        self.app.wsgi_app = remember  # type: ignore[method-assign, assignment]
        self.reset()

    def reset(self) -> None:
        """Ends what still runs and forgets what was."""
        for generation in self.pipeline.generations:
            generation.cancel()
        self.pipeline.reset()
        self.pipeline.known = [dict(LOADED), dict(CACHED)]
        self.seen.clear()

    def says(self, *pieces: str, pause: float = 0.0) -> None:
        """All answers from now on come in these pieces, ``pause`` seconds before each."""
        self.pipeline.script = lambda request: answer(*pieces, pause=pause)
