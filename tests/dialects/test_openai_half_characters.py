"""Log-probabilities of tokens that are half a character, with the demo model and OpenAI's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from api_host import ApiHost

TEXT = "café 😀 b."
HELD = {"grammar": f'root ::= "{TEXT}"'}


@pytest.fixture(scope="module")
def client(demo_host: ApiHost) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{demo_host.local_url}/v1", api_key=demo_host.access_token) as client:
        yield client


def test_the_bytes_of_half_characters_are_their_own(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": "Hi"}],
        logprobs=True,
        top_logprobs=1,
        extra_body=HELD,
    )
    told = chat.choices[0].logprobs
    assert told and told.content and chat.choices[0].message.content == TEXT
    assert any("\ufffd" in token.token for token in told.content), "no character of several tokens"
    assert b"".join(bytes(token.bytes or []) for token in told.content).decode() == TEXT
    response = client.responses.create(
        model="demo", input="Hi", include=["message.output_text.logprobs"], extra_body=HELD
    )
    (message,) = response.output
    assert message.type == "message" and message.content[0].type == "output_text"
    entries = message.content[0].logprobs or []
    assert b"".join(bytes(entry.bytes) for entry in entries).decode() == TEXT


@pytest.mark.parametrize("stream", [True, False])
def test_offsets_count_characters_and_not_their_halves(client: openai.OpenAI, stream: bool) -> None:
    asked: Any = {"model": "demo", "prompt": "A cat", "echo": True, "logprobs": 0, "extra_body": HELD}
    answered = client.completions.create(**asked, stream=stream)
    choices = [chunk.choices[0] for chunk in answered if chunk.choices] if stream else answered.choices
    tokens, offsets = [], []
    for choice in choices:
        if choice.logprobs:
            tokens += choice.logprobs.tokens or []
            offsets += choice.logprobs.text_offset or []
    text = "A cat" + TEXT
    assert "".join(choice.text for choice in choices) == text
    assert "\ufffd" in "".join(tokens)
    for token, offset in zip(tokens, offsets, strict=True):
        assert "\ufffd" in token or text[offset:].startswith(token)
