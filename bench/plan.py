"""Which workloads are measured on which model, and in what amounts.

On a CPU the large model gets fewer rounds of the same work, for its tokens take eight times as long. A GPU has a larger
one, fewer chats, and longer streams around the long prompt. ``quick`` shows that all of it works, and measures nothing.
"""

from __future__ import annotations

from bench.demo_workloads import SmallRequests, Start
from bench.memory import Memory
from bench.workload import Workload
from bench.workloads import Chat, LongPrompt, OneStream, ReturningChats, SharedPrompt, Streams

DEMO = "demo"
CPU_MODELS = ("100m", DEMO, "1.1b")
GPU_MODELS = ("100m", "1.1b", "7b")
MODELS = tuple(dict.fromkeys(CPU_MODELS + GPU_MODELS))


def workloads(model: str, quick: bool = False, gpu: bool = False) -> list[Workload]:
    """The workloads of a model, in the order in which they are measured."""
    if model == DEMO:
        return _quick_demo() if quick else [SmallRequests(), Start()]
    if quick:
        return _quick()
    if gpu:
        return _on_gpu()
    if model == "100m":
        streams = [Streams(n) for n in (4, 8, 16)]
        return [OneStream(), *streams, SharedPrompt(), Chat(), ReturningChats(), LongPrompt(), Memory()]
    streams = [Streams(n, n_tokens=64, rounds=1) for n in (4, 8, 16)]
    return [OneStream(n_tokens=64), *streams, SharedPrompt(), Chat(chats=1), LongPrompt()]


def _on_gpu() -> list[Workload]:
    """Without the memory of the host's processes, for there is no KV cache in it."""
    streams = [Streams(n) for n in (4, 8, 16)]
    long = LongPrompt(n_tokens=1024, n_before=4)
    return [OneStream(), *streams, SharedPrompt(), Chat(chats=2), ReturningChats(), long]


def _quick() -> list[Workload]:
    streams = [Streams(n, n_prompt=16, n_tokens=16, rounds=1) for n in (4, 8, 16)]
    return [
        OneStream(n_tokens=32, rounds=1),
        *streams,
        SharedPrompt(n_shared=200, n_tokens=8),
        Chat(turns=3, n_tokens=8, chats=1),
        ReturningChats(n_chats=3, n_first=200, rounds=2),
        LongPrompt(n_long=1000, n_tokens=256),
        Memory(n_prompt=64),
    ]


def _quick_demo() -> list[Workload]:
    return [SmallRequests(n_requests=100, rounds=1), Start()]


KEYS = tuple(dict.fromkeys(workload.key for model in MODELS for workload in workloads(model)))
