"""Trains the demo model from scratch and writes it as a GGUF: ``python -m demo_model.train``.

The same seed, versions and processor give the same file.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F

from demo_model.batches import Batch, long_batches, short_batches
from demo_model.dialogues import SPECIAL_TOKENS, document
from demo_model.gguf_file import write_gguf
from demo_model.network import Network, Shape
from demo_model.tokenizer import Tokenizer, learn_merges

OUTPUT = Path(__file__).resolve().parent.parent / "api_host" / "models" / "demo" / "demo.gguf"
SEED = 20
N_VOCAB = 832
N_STEPS = 1700
LONG_EVERY = 8  # one batch in so many is of long documents
WARMUP_STEPS = 30
DECAY_SHARE = 0.6  # so many of the steps, the last ones, lower the learning rate to nothing
MATRIX_RATE, OTHER_RATE = 0.02, 0.004


def make_tokenizer(seed: int) -> Tokenizer:
    """A tokenizer learned from a sample of the corpus."""
    rng = random.Random(seed)
    texts = [span.text for _ in range(10_000) for span in document(rng) if span.text not in SPECIAL_TOKENS]
    for token in SPECIAL_TOKENS:
        texts = [text.replace(token, "") for text in texts]
    return Tokenizer(SPECIAL_TOKENS, learn_merges(texts, N_VOCAB - len(SPECIAL_TOKENS) - 256))


def make_optimizers(network: Network) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, Adam for the embedding and the norms."""
    matrices = [p for p in network.blk.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in network.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.01),
        torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.97), weight_decay=0.0),
    ]


def rate_at(step: int, n_steps: int) -> float:
    """The share of the learning rate at a step: up, level, and down to nothing."""
    up = (step + 1) / WARMUP_STEPS
    down = (n_steps - step) / (n_steps * DECAY_SHARE)
    return min(1.0, up, down)


def curriculum(tokenizer: Tokenizer, seed: int) -> Iterator[Batch]:
    """The batches of the training, in order."""
    rng = random.Random(seed)
    short, long = short_batches(tokenizer, rng), long_batches(tokenizer, rng)
    for step in itertools.count(1):
        yield next(long if step % LONG_EVERY == 0 else short)


def train(network: Network, tokenizer: Tokenizer, seed: int, n_steps: int) -> None:
    """Runs the steps and prints the loss now and then."""
    optimizers = make_optimizers(network)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda step: rate_at(step, n_steps)) for o in optimizers
    ]
    started = time.monotonic()
    recent: list[float] = []
    for step, batch in enumerate(itertools.islice(curriculum(tokenizer, seed + 1), n_steps)):
        logits = network(batch.ids, batch.positions, batch.mask, batch.chosen)
        loss = F.cross_entropy(logits, batch.targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
        recent.append(loss.item())
        if (step + 1) % 50 == 0:
            seconds = time.monotonic() - started
            print(
                f"step {step + 1}/{n_steps}  loss {sum(recent) / len(recent):.4f}  {seconds:.0f} s",
                flush=True,
            )
            recent.clear()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the demo model and write it as a GGUF.")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the GGUF goes")
    parser.add_argument("--steps", type=int, default=N_STEPS, help="training steps (default %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="default %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="processor cores to use (default %(default)s)")
    args = parser.parse_args()
    started = time.monotonic()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = make_tokenizer(args.seed)
    network = Network(Shape(n_vocab=len(tokenizer.tokens)))
    n_parameters = sum(p.numel() for p in network.parameters())
    print(f"{n_parameters:,} parameters, {len(tokenizer.tokens)} tokens in the vocabulary", flush=True)
    train(network, tokenizer, args.seed, args.steps)
    write_gguf(args.output, network, tokenizer)
    size = args.output.stat().st_size
    print(f"wrote {args.output.name}, {size:,} bytes, {time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()
