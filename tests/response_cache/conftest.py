"""The ground of the response cache's tests, anew for each."""

from __future__ import annotations

import pytest

from tests.response_cache.ground import Ground


@pytest.fixture
def ground() -> Ground:
    return Ground()
