"""An edge without a script, and a client that talks to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api_host_client import Client
from tests.fakes.edge import Edge

TOKEN = "secret-token/with+signs"


@pytest.fixture
def edge() -> Iterator[Edge]:
    with Edge() as server:
        yield server


@pytest.fixture
def client(edge: Edge) -> Iterator[Client]:
    with Client(edge.url, TOKEN, timeout=5.0) as talker:
        yield talker
