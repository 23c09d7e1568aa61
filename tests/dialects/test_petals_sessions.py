"""Petals' inference sessions: the chat loop of the original, what a session remembers, and where it is full."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from api_host.generation import Accepted, Chunk, Finished, GenerationRequest, Timings, Usage
from api_host.host import ApiHost
from tests.dialects.petals_chat import CHAT, Chat, script, text_of
from tests.fakes.pipeline import FakeGeneration, Step
from tests.web.site import Site


def counted(host: ApiHost, kind: str) -> int:
    """Tokens of that kind so far, as the host counts them."""
    head = {"Authorization": f"Bearer {host.access_token}"}
    text = requests.get(f"{host.local_url}/metrics", headers=head, timeout=5).text
    line = next(
        line for line in text.splitlines() if line.startswith(f'api_host_tokens_total{{kind="{kind}"}}')
    )
    return int(float(line.split()[-1]))


def test_the_chat_loop_of_the_original(chat: Chat) -> None:
    frames = chat.step(CHAT, max_new_tokens=1, stop_sequence="###", extra_stop_sequences=["</s>"])
    assert "Paris" in text_of(frames)
    assert all(frame["ok"] for frame in frames)
    assert [frame["stop"] for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert len(frames) > 5
    assert {frame["token_count"] for frame in frames[:-1]} == {1}


def test_a_step_ends_with_its_stop_sequence(chat: Chat) -> None:
    frames = chat.step(CHAT, max_new_tokens=1, stop_sequence="is P")
    assert text_of(frames) == "The capital of France is P"
    frames = chat.step("\n" + CHAT, max_new_tokens=1, stop_sequence="###", extra_stop_sequences=["of", " is"])
    assert text_of(frames) == "The capital of"
    assert frames[-1]["stop"] is True


@pytest.mark.parametrize(
    ("stop", "told", "inputs"),
    [
        (" cap", "The cap", "ital of France is"),
        ("l o", "The capital o", "f France is"),
        (" of", "The capital of", " France is"),
    ],
)
def test_a_session_remembers_no_more_than_it_has_told(
    demo_host: ApiHost, chat: Chat, stop: str, told: str, inputs: str
) -> None:
    assert text_of(chat.step(CHAT, max_new_tokens=1, stop_sequence=stop)) == told
    before = counted(demo_host, "prompt")
    assert text_of(chat.step(inputs, max_new_tokens=40)) == " Paris."
    other = Chat(demo_host.local_url, demo_host.access_token)
    between = counted(demo_host, "prompt")
    assert text_of(other.step(CHAT + told + inputs, max_new_tokens=40)) == " Paris."
    assert between - before == counted(demo_host, "prompt") - between
    other.line.close()


def test_larger_frames_carry_the_same_text(demo_host: ApiHost) -> None:
    texts, counts = [], []
    for size in (1, 3, 100):
        chat = Chat(demo_host.local_url, demo_host.access_token)
        frames = chat.step(CHAT, max_new_tokens=size, stop_sequence="###")
        texts.append(text_of(frames))
        counts.append(sum(frame["token_count"] for frame in frames))
        assert all(frame["token_count"] >= size for frame in frames[:-1])
        chat.line.close()
    assert len(set(texts)) == 1
    assert len(set(counts)) == 1


def test_steps_go_on_from_all_text_before(demo_host: ApiHost, chat: Chat) -> None:
    whole = chat.step(CHAT, max_new_tokens=8)
    assert [(frame["stop"], frame["token_count"]) for frame in whole] == [(True, 8)]
    other = Chat(demo_host.local_url, demo_host.access_token)
    pieces = [
        *other.step(CHAT, max_new_tokens=3),
        *other.step(max_new_tokens=3),
        *other.step("", max_new_tokens=2),
    ]
    assert text_of(pieces) == text_of(whole)
    other.line.close()


def test_a_step_costs_only_its_new_tokens(demo_host: ApiHost, chat: Chat) -> None:
    def cost() -> int:
        return counted(demo_host, "prompt") - counted(demo_host, "cached")

    chat.step("One two three four five six seven eight nine ten. " * 6, max_new_tokens=4)
    before, prompt_before = cost(), counted(demo_host, "prompt")
    chat.step(max_new_tokens=4)
    assert counted(demo_host, "prompt") - prompt_before > 100
    assert cost() - before <= 2  # the newest token has no cells yet
    before = cost()
    chat.step("!", max_new_tokens=4)
    assert cost() - before <= 4


def test_no_character_is_ever_cut_in_two(demo_host: ApiHost) -> None:
    def session_text(frames_of: Any) -> str:
        chat = Chat(demo_host.local_url, demo_host.access_token)
        text = frames_of(chat)
        chat.line.close()
        return str(text)

    inputs = (
        "<|user|>\nWhat is the capital of France?<|assistant|>\nThe capital of France is Paris.Grüße 🌍🌍🌍🌍"
    )
    whole = session_text(lambda chat: text_of(chat.step(inputs, max_new_tokens=15)))
    assert whole.count("🌍") >= 2  # the demo model goes on with what it sees, byte by byte
    one = {"max_new_tokens": 1}
    streamed = session_text(lambda chat: text_of(chat.step(inputs, stop_sequence="###", **one)))
    assert "\ufffd" not in whole + streamed
    assert whole == streamed
    stepped = session_text(
        lambda chat: text_of(
            [*chat.step(inputs, **one), *[frame for _ in range(4) for frame in chat.step(**one)]]
        )
    )
    assert "\ufffd" not in stepped
    assert whole.startswith(stepped)
    assert "🌍" in stepped


def test_the_sessions_length_is_a_hard_limit(demo_host: ApiHost) -> None:
    chat = Chat(demo_host.local_url, demo_host.access_token, max_length=30)
    frames = chat.step("What is", max_new_tokens=1, stop_sequence="never said")
    # The demo model ends its answer by itself; asked to go on often enough, the session is full.
    while frames[-1]["ok"]:
        frames = chat.step("Hello Hello", max_new_tokens=1, stop_sequence="never said")
    assert frames[-1]["traceback"].startswith(
        ("SessionFull: max_length: all 30", "InvalidRequest: max_length: the ")
    )
    assert chat.has_ended()


def test_what_fits_is_said_before_the_session_is_full(site: Site, fake_chat: Chat) -> None:
    site.pipeline.script = lambda request: script("1|a", "1|b", reason="length", tokens=[1] * 400)
    frames = fake_chat.step("x", max_new_tokens=1, stop_sequence="#")
    assert [frame.get("outputs") for frame in frames] == ["a", "b", None]
    assert frames[1]["stop"] is False
    assert frames[2]["traceback"].startswith(
        "SessionFull: max_length: all 400 tokens of this session are used;"
    )
    assert fake_chat.has_ended()
    assert site.pipeline.requests[0].sampling.max_length == 400


def test_a_step_that_fills_the_session_exactly_is_no_error(site: Site, fake_chat: Chat) -> None:
    site.pipeline.script = lambda request: script("2|ab", reason="length", tokens=[1] * 400)
    assert fake_chat.step("x", max_new_tokens=2) == [
        {"ok": True, "outputs": "ab", "stop": True, "token_count": 2}
    ]
    assert fake_chat.step(max_new_tokens=1)[0]["traceback"].startswith("SessionFull: ")
    assert len(site.pipeline.requests) == 1


def test_a_full_context_ends_the_session(site: Site, fake_chat: Chat) -> None:
    site.pipeline.script = lambda request: script("1|a", reason="length", tokens=[1] * 100)
    frames = fake_chat.step("x", max_new_tokens=20)
    assert frames[0]["stop"] is False
    assert frames[1]["traceback"].startswith(
        "SessionFull: inputs: the model's context is full with 100 tokens"
    )


def test_the_length_of_a_step_bounds_the_step_alone(site: Site, fake_chat: Chat) -> None:
    site.pipeline.script = lambda request: script("1|a", reason="length", tokens=[1] * 9)
    assert fake_chat.step("x", max_length=9, stop_sequence="#")[-1]["stop"] is True
    assert fake_chat.step("x", max_length=999, max_new_tokens=1)[-1]["stop"] is True
    assert [request.sampling.max_length for request in site.pipeline.requests] == [9, 400]


def test_a_session_is_its_tokens(site: Site, fake_chat: Chat) -> None:
    site.pipeline.script = lambda request: script("1|a", tokens=[*request.prefix_tokens, 7, 8])  # type: ignore[union-attr]
    for _ in range(3):
        fake_chat.step("ä🌍", max_new_tokens=3, do_sample=1, top_k=4, repetition_penalty=1.5)
    assert [request.prefix_tokens for request in site.pipeline.requests] == [[], [7, 8], [7, 8, 7, 8]]
    last = site.pipeline.requests[-1]
    assert (last.inputs, last.model, last.want_tokens) == ("ä🌍", "demo", True)
    assert (last.sampling.max_tokens, last.sampling.top_k, last.sampling.repeat_penalty) == (3, 4, 1.5)
    assert (last.sampling.stop, last.sampling.include_stop) == ([], False)


def test_stop_sequences_reach_the_engine_in_one_generation(site: Site, fake_chat: Chat) -> None:
    site.pipeline.script = lambda request: script("1|a", "1|b", "3|###")
    fields = {"stop_sequence": "###", "extra_stop_sequences": ["</s>", "\n"]}
    frames = fake_chat.step("x", max_new_tokens=2, **fields)
    assert [(frame["outputs"], frame["token_count"]) for frame in frames] == [("ab", 2), ("###", 3)]
    sampling = site.pipeline.requests[0].sampling
    assert (sampling.stop, sampling.include_stop, sampling.max_tokens) == (
        ["###", "</s>", "\n"],
        True,
        1_000_000,
    )


@pytest.mark.parametrize(("end", "owed"), [("1|.", "###"), ("1|</s>", "###"), ("3|.###", "")])
def test_what_follows_a_step_follows_its_stop_sequence(
    site: Site, fake_chat: Chat, end: str, owed: str
) -> None:
    site.pipeline.script = lambda request: script("1|a", end)
    fields = {"max_new_tokens": 1, "stop_sequence": "###", "extra_stop_sequences": ["</s>"]}
    fake_chat.step("one", **fields)
    fake_chat.step("two", **fields)
    fake_chat.step(None, **fields)
    assert [request.inputs for request in site.pipeline.requests] == ["one", owed + "two", owed]


def test_a_character_that_is_cut_is_completed(
    site: Site, fake_chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    spelt = {1: b"x", 2: "🌍".encode()[:2], 3: "🌍".encode()[2:], 4: b"y", 5: b"<|end|>"}

    def play(request: GenerationRequest | None) -> list[Step]:
        assert request is not None
        tokens = [*(request.prefix_tokens or [1]), *([5, 4, 2] if not request.prefix_tokens else [3])]
        new_tokens = tokens[max(1, len(request.prefix_tokens)) :]
        new = b"".join(
            spelt[token] for token in new_tokens if token != 5
        )  # a control token, which is not told
        chunk = Chunk(new.decode(errors="replace"), n_tokens=2, finish_reason="length")
        return [Accepted("demo", 1), chunk, Finished(Usage(1, 2), Timings(), tokens)]

    def count(request: GenerationRequest) -> FakeGeneration:
        text = b"".join(spelt[token] for token in request.prefix_tokens).decode(errors="replace")
        return FakeGeneration([Accepted("demo", 1, text), Finished(Usage(), Timings())])

    site.pipeline.script = play
    monkeypatch.setattr(site.pipeline, "count", count)
    assert fake_chat.step("x", max_new_tokens=2) == [
        {"ok": True, "outputs": "y🌍", "stop": True, "token_count": 3}
    ]
