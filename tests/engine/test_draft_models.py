"""Draft models with real weights: the demo as its own, sharp random ones that are always wrong, and none that fits.

On the CPU, where a row rounds alike in a batch of any shape; a GPU has other kernels for more rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from api_host.engine.backend import Adapters, Span
from api_host.engine.engine import Engine
from api_host.engine.llama.model import LlamaModel
from api_host.engine.loader import load_model
from api_host.engine.messages import Cancel, Generate, Load, Piece, RequestFailed
from api_host.errors import ModelLoadFailed
from api_host.generation import GenerationRequest, Message, SamplingParams
from api_host.models.demo import DEMO_MODEL_PATH
from bench.padded import write_padded
from tests.fakes.architectures import WIDTH, write_random
from tests.fakes.vocabularies import ending_with, padded, swapped

DEMO = str(DEMO_MODEL_PATH)
# A text that the demo model is sure of, two that it soon leaves, and one that goes in circles.
PROMPTS = ["Tell me a short story.", "What is the capital of France?", "A cat sat on", "Hello!"]
GREEDY = SamplingParams(max_tokens=120, top_k=1, ignore_eos=True)
SEEDED = SamplingParams(max_tokens=120, temperature=1.3, top_k=0, seed=5, ignore_eos=True)
TO_THE_END = SamplingParams(max_tokens=120, top_k=1)


class Loaded:
    """An engine in this process, with the batches that its model and its draft model decode."""

    def __init__(self, path: str = DEMO, **options: object) -> None:
        load = Load(path, **{"n_ctx": 512, "n_slots": 4, "n_threads": 1, "use_gpu": False, **options})  # type: ignore[arg-type]
        self.parts = load_model(load)
        self.engine = Engine(self.parts, load)
        self.text: dict[int, str] = {}
        self.batches = self._counted(self.parts.context)
        self.drafted = self._counted(self.parts.draft) if self.parts.draft is not None else []

    def _counted(self, context: object) -> list[int]:
        """The number of tokens of each batch from now on."""
        sizes: list[int] = []
        decode: Callable[..., None] = context.decode  # type: ignore[attr-defined]

        def counting(spans: list[Span], adapters: Adapters = ()) -> None:
            spans = list(spans)
            sizes.append(sum(len(span.tokens) for span in spans))
            decode(spans, adapters)

        context.decode = counting  # type: ignore[attr-defined]
        return sizes

    def begin(self, id: int, inputs: str, params: SamplingParams) -> None:
        self.text[id] = ""
        chats = self.parts.model.chat_template is not None
        request = GenerationRequest([Message("user", inputs)] if chats else inputs, sampling=params)
        self.engine.take(Generate(id, request))

    def step(self) -> None:
        self.engine.step()
        for event in self.engine.take_events():
            assert not isinstance(event, RequestFailed), event.message
            if isinstance(event, Piece):
                self.text[event.id] += event.text

    def until_idle(self) -> None:
        self.step()
        while self.engine.has_work:
            self.step()

    def answers(self, params: SamplingParams, prompts: list[str] = PROMPTS, at_once: int = 1) -> list[str]:
        for first in range(0, len(prompts), at_once):
            for id in range(first, min(len(prompts), first + at_once)):
                self.begin(id, prompts[id], params)
            self.until_idle()
        return [self.text[id] for id in range(len(prompts))]

    def close(self) -> None:
        for context in (self.parts.draft, self.parts.context):
            if context is not None:
                context.close()
                context.model.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``llama.gguf`` and ``gemma3.gguf`` have the demo's vocabulary, are sure of every token, and know nothing."""
    folder = tmp_path_factory.mktemp("drafts")
    sharp = {"token_embd.weight": np.random.default_rng(3).standard_normal((832, WIDTH), np.float32)}
    for name in ("llama", "gemma3"):
        write_random(folder / f"{name}.gguf", name, DEMO_MODEL_PATH, added=sharp)
    return folder


@pytest.fixture(scope="module")
def plain() -> dict[str, list[str]]:
    """The answers without guesses."""
    alone = Loaded()
    texts = {
        "greedy": alone.answers(GREEDY),
        "seeded": alone.answers(SEEDED),
        "to the end": alone.answers(TO_THE_END),
    }
    alone.close()
    return texts


def test_a_model_that_is_its_own_draft_says_the_same_in_a_seventh_of_the_batches(
    plain: dict[str, list[str]],
) -> None:
    drafted = Loaded(draft_model=DEMO)
    assert drafted.answers(GREEDY, PROMPTS[:1]) == plain["greedy"][:1]
    assert len(drafted.batches) < 120 / 7
    for name, params in (("greedy", GREEDY), ("seeded", SEEDED), ("to the end", TO_THE_END)):
        assert drafted.answers(params) == plain[name]
    drafted.close()


@pytest.mark.parametrize("at_once", [2, 4])
def test_several_sequences_say_the_same_as_without(plain: dict[str, list[str]], at_once: int) -> None:
    drafted = Loaded(draft_model=DEMO, draft_max=5)
    assert drafted.answers(GREEDY, at_once=at_once) == plain["greedy"]
    assert drafted.answers(SEEDED, at_once=at_once) == plain["seeded"]
    assert (drafted.drafted != []) == (at_once == 2)
    drafted.close()


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_a_draft_that_is_always_wrong_changes_no_text(
    folder: Path, plain: dict[str, list[str]], name: str
) -> None:
    drafted = Loaded(draft_model=str(folder / f"{name}.gguf"))
    assert drafted.answers(GREEDY) == plain["greedy"]
    assert max(drafted.batches[1:]) > 1, "it has guessed"
    assert drafted.answers(SEEDED, at_once=2) == plain["seeded"]
    drafted.close()


def test_a_draft_and_the_text_itself_go_together(plain: dict[str, list[str]]) -> None:
    drafted = Loaded(draft_model=DEMO, lookup=True, draft_max=4)
    assert drafted.answers(GREEDY) == plain["greedy"]
    assert drafted.answers(SEEDED, at_once=2) == plain["seeded"]
    drafted.close()


def test_a_cancelled_request_leaves_the_other_and_the_next_in_its_slot_alone(
    plain: dict[str, list[str]],
) -> None:
    drafted = Loaded(draft_model=DEMO, n_slots=2)
    drafted.begin(0, PROMPTS[0], GREEDY)
    drafted.begin(1, PROMPTS[1], GREEDY)
    for _ in range(5):
        drafted.step()
    drafted.engine.take(Cancel(0))
    drafted.begin(2, PROMPTS[2], GREEDY)
    drafted.until_idle()
    assert [drafted.text[1], drafted.text[2]] == plain["greedy"][1:3]
    drafted.close()


def test_the_draft_is_as_sure_as_the_softmax_of_its_logits(folder: Path) -> None:
    drafted = Loaded(str(folder / "llama.gguf"), draft_model=DEMO)
    draft = drafted.parts.draft
    assert draft is not None
    span = Span(0, array("i", draft.model.tokenize("The capital of", True)), 0, n_outputs=1)
    draft.decode([span])
    logits = draft.candidates.logits(draft.pointer, span.row).astype(np.float64)
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    token, probability = draft.likeliest(span.row)
    assert token == shares.argmax()
    assert probability == pytest.approx(shares.max(), rel=1e-4)
    drafted.close()


def test_another_vocabulary_is_refused_with_both_names(tmp_path: Path) -> None:
    other = swapped(tmp_path / "other.gguf", DEMO_MODEL_PATH)
    with pytest.raises(
        ModelLoadFailed, match=r"other\.gguf has another vocabulary than demo\.gguf; set draft"
    ):
        Loaded(draft_model=str(other))
    endless = ending_with(tmp_path / "endless.gguf", DEMO_MODEL_PATH, 700)
    with pytest.raises(ModelLoadFailed, match=r"endless\.gguf has another vocabulary"):
        Loaded(draft_model=str(endless))
    larger = write_random(
        tmp_path / "larger.gguf", "llama", padded(tmp_path / "v.gguf", DEMO_MODEL_PATH, 200)
    )
    with pytest.raises(ModelLoadFailed, match=r"larger\.gguf has another vocabulary"):
        Loaded(draft_model=str(larger))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelLoadFailed, match=r"the draft model broken\.gguf"):
        Loaded(draft_model=str(tmp_path / "broken.gguf"))


def test_unused_tokens_behind_a_vocabulary_do_not_count(tmp_path: Path, plain: dict[str, list[str]]) -> None:
    vocabulary = padded(tmp_path / "v.gguf", DEMO_MODEL_PATH, 100)
    # The unused tokens are by far the likeliest to this draft, and must not be guessed.
    likely = np.zeros((932, WIDTH), np.float32)
    likely[832:] = 8 * np.random.default_rng(3).standard_normal((100, WIDTH), np.float32)
    larger = write_random(tmp_path / "l.gguf", "llama", vocabulary, added={"token_embd.weight": likely})
    drafted = Loaded(draft_model=str(larger))
    assert drafted.answers(GREEDY) == plain["greedy"]
    drafted.close()
    smaller = Loaded(str(larger), draft_model=DEMO)
    alone = Loaded(str(larger))
    assert smaller.answers(GREEDY, PROMPTS[:2]) == alone.answers(GREEDY, PROMPTS[:2])
    smaller.close()
    alone.close()


@pytest.mark.parametrize("name", ["mamba", "lfm2"])
def test_a_model_that_cannot_drop_cells_takes_no_draft_and_is_none_and_says_so(
    tmp_path: Path, name: str
) -> None:
    path = write_random(tmp_path / f"{name}.gguf", name, DEMO_MODEL_PATH)
    for model, draft in ((str(path), DEMO), (DEMO, str(path))):
        loaded = Loaded(model, draft_model=draft)
        assert loaded.parts.draft is None
        note = f"the draft model is not used: {name}.gguf cannot drop tokens that were guessed wrong"
        assert note in loaded.parts.info.notes
        assert len(loaded.answers(GREEDY, PROMPTS[:1])[0]) > 0
        loaded.close()


def test_blocks_that_add_nothing_change_no_text_and_the_unpadded_model_guesses_all_right(
    tmp_path: Path, plain: dict[str, list[str]]
) -> None:
    write_padded(tmp_path / "padded.gguf", 6)
    model = LlamaModel(str(tmp_path / "padded.gguf"))
    assert model.n_layer == 10
    model.close()
    large, drafted = (
        Loaded(str(tmp_path / "padded.gguf")),
        Loaded(str(tmp_path / "padded.gguf"), draft_model=DEMO),
    )
    assert large.answers(GREEDY) == drafted.answers(GREEDY) == plain["greedy"]
    assert len(drafted.batches) < len(large.batches) / 4
    large.close()
    drafted.close()
