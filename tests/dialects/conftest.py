"""The web layer's fixtures, for the dialects: a running site on a fake pipeline, which is reset for each test."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.web.conftest import pipeline, shared_site, site
from tests.web.site import TOKEN, Site

__all__ = ["openai_client", "pipeline", "shared_site", "site"]


@pytest.fixture(scope="session")
def openai_client(shared_site: Site) -> Iterator[openai.OpenAI]:
    """OpenAI's own client library, as it comes, but that it tries once."""
    with openai.OpenAI(base_url=f"{shared_site.url}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client
