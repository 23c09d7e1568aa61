"""What guesses of a draft model bring: tokens a second with one and without, in this process, in turns.

    python -m bench.guessing                       the demo, padded to 30 times its cost, guessed for by the demo
    python -m bench.guessing --model M.gguf --draft D.gguf --threads 4

Greedy text, so both contenders say the same; without HTTP, so only steps are measured. Figures mean something on a
quiet machine only.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from array import array
from pathlib import Path

from api_host.engine.draft import Draft
from api_host.engine.guessing import FirstOf, Guesser
from api_host.engine.llama.sampler import LlamaSampler
from api_host.engine.loader import LoadedModel, load_model
from api_host.engine.messages import Load, Piece
from api_host.engine.scheduler import Scheduler
from api_host.engine.sequence import Request, Sequence
from api_host.generation import SamplingParams
from bench.padded import DEMO_MODEL, write_padded

# The demo knows a story of 110 tokens by heart; past its end it is sure of nothing.
PROMPT = "<|user|>\nTell me a short story.<|end|>\n<|assistant|>\n"


class Counted(FirstOf):
    """Counts the guesses that came true."""

    n_guessed = n_right = 0

    def judged(self, sequence: Sequence, n_guessed: int, n_right: int) -> None:
        self.n_guessed += n_guessed
        self.n_right += n_right
        super().judged(sequence, n_guessed, n_right)


def run(
    loaded: LoadedModel, guesser: Guesser | None, prompt: array[int], n_streams: int, n_tokens: int
) -> float:
    """Tokens a second of all streams together, prompts and what was written beside them left out.

    Exits when the context, which is the model's at most, has no room for whole texts, or when all have ended before the
    last prompt was read.
    """
    context = loaded.context

    def make_sampler(params: SamplingParams, tokens: array[int], index: int) -> LlamaSampler:
        return LlamaSampler(context, params, tokens, index)

    scheduler = Scheduler(context, loaded.model, make_sampler, guesser=guesser)
    params = SamplingParams(max_tokens=n_tokens, top_k=1, ignore_eos=True)
    for slot in range(context.n_slots):
        context.clear(slot)
    for i in range(n_streams):
        scheduler.submit(Request(i, prompt, params, [], context.n_ctx))
    while scheduler.has_work and not scheduler.only_decodes:
        scheduler.step()
    before = _n_tokens(scheduler)
    started = time.perf_counter()
    while scheduler.has_work:
        scheduler.step()
    seconds = time.perf_counter() - started
    timed = _n_tokens(scheduler)
    if not timed:
        sys.exit(f"texts of {n_tokens} tokens end while prompts are read; ask for more --tokens")
    if before + timed != n_streams * n_tokens:
        sys.exit(
            f"{n_streams} texts of {n_tokens} tokens have {before + timed} in all: a context of {context.n_ctx} tokens "
            "has no room for more; ask for fewer --tokens"
        )
    return timed / seconds


def _n_tokens(scheduler: Scheduler) -> int:
    """The tokens of what it has to say."""
    return sum(event.n_tokens for event in scheduler.take_events() if isinstance(event, Piece))


def compare(loaded: LoadedModel, arguments: argparse.Namespace, n_streams: int) -> None:
    """Prints both medians, their ratio in each pair, and the share of guesses that came true."""
    assert loaded.draft is not None, loaded.info.notes
    prompt = loaded.model.tokenize(arguments.prompt, add_special=True)
    plain, drafted, n_guessed, n_right = [], [], 0, 0
    for _ in range(arguments.pairs):
        plain.append(run(loaded, None, prompt, n_streams, arguments.tokens))
        for slot in range(loaded.draft.n_slots):
            loaded.draft.clear(slot)
        guesser = Counted([Draft(loaded.draft, arguments.draft_max)])
        drafted.append(run(loaded, guesser, prompt, n_streams, arguments.tokens))
        n_guessed, n_right = n_guessed + guesser.n_guessed, n_right + guesser.n_right
    ratio = statistics.median(after / before for before, after in zip(plain, drafted, strict=True))
    print(
        f"{n_streams} streams: {statistics.median(plain):.1f} tokens/s without, {statistics.median(drafted):.1f} with, "
        f"ratio {ratio:.2f}; {n_right} of {n_guessed} guesses were right ({n_right / max(1, n_guessed):.0%})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.guessing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", type=Path, help="the GGUF that is guessed for; default the padded demo")
    add("--draft", type=Path, default=DEMO_MODEL, help="the GGUF that guesses; default the demo")
    add("--layers", type=int, default=116, help="blocks that pad the demo; default 116")
    add("--draft-max", type=int, default=8, help="tokens a guess; default 8")
    add("--tokens", type=int, default=100, help="tokens a stream; default 100")
    add("--pairs", type=int, default=5, help="how often each takes its turn; default 5")
    add("--threads", type=int, default=1, help="threads of llama.cpp; default 1")
    add("--prompt", default=PROMPT, help="what is gone on with")
    arguments = parser.parse_args()
    if arguments.pairs < 1:
        parser.error("--pairs is 1 or more")
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or Path(folder) / "padded.gguf"
        if arguments.model is None:
            write_padded(model, arguments.layers)
        options = {"n_threads": arguments.threads, "n_ctx": 1024, "n_slots": 2}
        load = Load(str(model), draft_model=str(arguments.draft), draft_max=arguments.draft_max, **options)
        loaded = load_model(load)
        for n_streams in (1, 2):
            compare(loaded, arguments, n_streams)


if __name__ == "__main__":
    main()
