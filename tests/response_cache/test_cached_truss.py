"""``min_length`` of ``/predict`` asks the cache when the prompt is counted: the terms are still the request's."""

from __future__ import annotations

import pytest

from api_host.generation import Accepted, Waiting
from api_host.web.cache_control import CacheControl
from tests.fakes.pipeline import Step
from tests.response_cache.ground import Ground
from tests.web.site import Site

BODY = {"messages": [{"role": "user", "content": "Hi"}], "min_length": 8, "do_sample": False}


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_to_be_forgotten_is_forgotten_though_its_prompt_was_counted_late(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    loading: list[Step] = [step for _ in range(8) for step in (Waiting("loading"), 0.06)]
    monkeypatch.setattr(
        ground.behind, "count", lambda request: ground.behind._begin([*loading, Accepted("demo", 5)])
    )
    monkeypatch.setattr(ground, "use", CacheControl().use)
    site = Site(ground.pipeline)  # type: ignore[arg-type]
    try:
        body = {**BODY, "stream": stream}
        for kept, headers in ((False, {"Cache-Control": "no-store"}), (True, {})):
            assert "Hello there" in site.post(body, "/predict", headers=headers).text
            assert (ground.store.n_bytes > 0) is kept
    finally:
        site.close()
