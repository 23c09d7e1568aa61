"""The web layer's fixtures, for the dialects: a running site on a fake pipeline, which is reset for each test."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from api_host.host import ApiHost
from tests.dialects.petals_chat import Chat
from tests.web.conftest import pipeline, shared_site, site
from tests.web.site import TOKEN, Site

__all__ = ["chat", "fake_chat", "openai_client", "pipeline", "shared_site", "site"]


@pytest.fixture(scope="session")
def openai_client(shared_site: Site) -> Iterator[openai.OpenAI]:
    """OpenAI's own client library, as it comes, but that it tries once."""
    with openai.OpenAI(base_url=f"{shared_site.url}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


@pytest.fixture
def chat(demo_host: ApiHost) -> Iterator[Chat]:
    """An open Petals session on a real host."""
    chat = Chat(demo_host.local_url, demo_host.access_token)
    assert chat.opened == {"ok": True}
    yield chat
    chat.line.close()


@pytest.fixture
def fake_chat(site: Site) -> Iterator[Chat]:
    """An open Petals session on a fake pipeline."""
    chat = Chat(site.url, TOKEN)
    assert chat.opened == {"ok": True}
    site.pipeline.generations.clear()
    yield chat
    chat.line.close()
