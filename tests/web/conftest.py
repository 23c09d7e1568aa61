"""The fixtures of the web layer's tests: one running site for all of them, its pipeline reset for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.pipeline import FakePipeline
from tests.web.site import Site


@pytest.fixture(scope="session")
def shared_site() -> Iterator[Site]:
    site = Site(FakePipeline())
    yield site
    site.close()


@pytest.fixture
def site(shared_site: Site) -> Site:
    shared_site.pipeline.reset()
    return shared_site


@pytest.fixture
def pipeline(site: Site) -> FakePipeline:
    return site.pipeline
