"""A worker on two GPUs: what each of them gets, and that the text is that of one CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from api_host.engine.memory import GPU_RESERVE
from api_host.engine.messages import Load
from api_host.engine.placing import shape_of
from api_host.engine.process import Worker
from api_host.errors import ModelLoadFailed
from api_host.generation import Message, SamplingParams
from api_host.gguf_header import read_header
from api_host.models.demo import DEMO_MODEL_PATH
from tests.engine.reading import begin, read
from tests.fakes import rpc_gpus
from tests.fakes.asking import free_port
from tests.fakes.rpc_gpus import RpcGpu

pytestmark = pytest.mark.skipif(rpc_gpus.missing() is not None, reason=rpc_gpus.missing() or "")

N_CTX = 2048
# Of the device's memory: enough for weights, too few for the KV cache of one layer and 4 sequences of 2,048 tokens.
FEW = 4 * 1024**2
QUESTIONS = [f"What is the capital of {country}?" for country in ("France", "Italy", "Japan", "Spain")]
STORY = "Write a short story about a cat that steals food."


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rpc_gpus.compiled(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def gpus(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RpcGpu, RpcGpu]]:
    with two_gpus(library, tmp_path_factory.mktemp("gpus")) as both:
        yield both


@contextmanager
def two_gpus(library: Path, folder: Path, *free: int | None) -> Iterator[tuple[RpcGpu, RpcGpu]]:
    """Two devices, seen by every worker that starts while they are there; ``free`` bytes each, or as it is."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        first, second = (
            stack.enter_context(rpc_gpus.rpc_gpu(library, free_port(), folder / f"gpu{i}.log", bytes))
            for i, bytes in enumerate(free or (None, None))
        )
        rpc_gpus.write_site(folder, library, [first, second])
        paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        yield first, second


@contextmanager
def running(**settings: object) -> Iterator[Worker]:
    worker = Worker.start(Load(str(DEMO_MODEL_PATH), N_CTX, **{"n_slots": 4, **settings}))  # type: ignore[arg-type]
    try:
        yield worker
    finally:
        worker.stop()


def layers_on(gpus: tuple[RpcGpu, RpcGpu], **settings: object) -> list[int]:
    """Bytes of weights on each; a device's first buffer is for them."""
    for gpu in gpus:
        gpu.allocations()
    with running(**settings) as worker:
        assert worker.info is not None
        assert worker.info.n_gpu_layers == worker.info.n_layer + 1
    return [next(iter(gpu.allocations()), 0) for gpu in gpus]


def greedy(worker: Worker, *texts: str) -> str:
    turns = [Message("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(texts)]
    return read(begin(worker, turns, SamplingParams(max_tokens=60, top_k=1)))[0][0]


def all_at_once(worker: Worker) -> list[str]:
    with ThreadPoolExecutor(len(QUESTIONS)) as threads:
        return list(threads.map(lambda question: greedy(worker, question), QUESTIONS))


def test_both_get_layers_by_default_and_other_shares_by_the_setting(gpus: tuple[RpcGpu, RpcGpu]):
    default, even = layers_on(gpus), layers_on(gpus, tensor_split=[1.0, 1.0])
    uneven = layers_on(gpus, tensor_split=[4.0, 1.0])
    # Of four layers and the output, the first GPU gets three, or four, and the second the others.
    assert default == even
    assert even[0] * 4 == uneven[0] * 3
    assert sum(even) == sum(uneven)
    assert even[1] > uneven[1] > 0


@pytest.mark.parametrize(
    ("free", "on_first"),
    [
        ((200, 400), 0.46),  # by all that is free: 0.69, three layers of four and the output
        ((400, 200), 0.92),
        ((900, -100), 1),
        ((-100, 900), 0),
    ],
)
def test_a_small_gpu_gets_no_more_than_it_has_beyond_its_buffers(
    library: Path, tmp_path: Path, free: tuple[int, int], on_first: float
):
    with two_gpus(library, tmp_path, *(GPU_RESERVE + mib * 1024**2 for mib in free)) as both:
        first, second = layers_on(both)
    assert first / (first + second) == pytest.approx(on_first, abs=0.07)


@pytest.mark.parametrize("settings", [{"main_gpu": 1}, {"tensor_split": [0.0, 1.0]}])
def test_only_the_gpu_that_is_named_holds_anything(gpus: tuple[RpcGpu, RpcGpu], settings: dict[str, object]):
    first, second = layers_on(gpus, **settings)
    assert first == 0
    assert second > 0


@pytest.mark.parametrize("n_gpu_layers", [None, -1])
@pytest.mark.parametrize(("most", "n_slots"), [(None, 8), (4, 4)])
def test_no_more_sequences_than_the_host_has_counted(
    gpus: tuple[RpcGpu, RpcGpu], most: int | None, n_slots: int, n_gpu_layers: int | None
):
    with running(n_slots=None, most_slots=most, n_gpu_layers=n_gpu_layers) as worker:
        assert worker.info is not None
        assert worker.info.n_slots == n_slots


def test_a_third_gpu_is_refused(gpus: tuple[RpcGpu, RpcGpu]):
    with pytest.raises(ModelLoadFailed, match="main_gpu: names 3 GPUs and this machine has 2"):
        Worker.start(Load(str(DEMO_MODEL_PATH), N_CTX, main_gpu=2))


def test_the_text_is_that_of_one_cpu(gpus: tuple[RpcGpu, RpcGpu]):
    with running(use_gpu=False) as worker:
        story = greedy(worker, STORY)
        expected = story, greedy(worker, STORY, story, "And then?"), all_at_once(worker)
        assert worker.info is not None
        assert worker.info.device == "CPU"
    with running() as worker:
        assert worker.info is not None
        assert worker.info.device == f"{gpus[0].endpoint}, {gpus[1].endpoint}"
        story = greedy(worker, STORY)
        assert (story, greedy(worker, STORY, story, "And then?"), all_at_once(worker)) == expected


def test_chats_that_take_turns_keep_their_prefixes(gpus: tuple[RpcGpu, RpcGpu]):
    """The state of a sequence goes from both devices to host memory and back to both."""
    with running(n_slots=1, prefix_memory=0) as worker:
        expected = [greedy(worker, question, "I think", "Go on.") for question in QUESTIONS]
    with running(n_slots=1) as worker:
        for question in QUESTIONS:
            greedy(worker, question)
        assert [greedy(worker, question, "I think", "Go on.") for question in QUESTIONS] == expected


def test_fewer_layers_go_there_when_one_has_less_than_it_says(gpus: tuple[RpcGpu, RpcGpu]):
    """As when another program takes a GPU's memory while a model is being loaded."""
    with gpus[1].full(left=FEW), running() as worker:
        assert worker.info is not None
        assert 0 <= worker.info.n_gpu_layers < worker.info.n_layer + 1
        assert "layers are on the GPU: more did not fit" in worker.info.notes[-1]
        assert greedy(worker, STORY)
    assert 0 in gpus[1].allocations()


def test_fewer_layers_do_not_hide_that_there_are_fewer_sequences(library: Path, tmp_path: Path):
    load = Load(str(DEMO_MODEL_PATH), N_CTX)
    each = GPU_RESERVE + shape_of(load, read_header(DEMO_MODEL_PATH)).size(N_CTX, 4) // 2 + 1024**2
    with (
        two_gpus(library, tmp_path, each, each) as gpus,
        gpus[1].full(left=FEW),
        running(n_slots=None) as worker,
    ):
        assert worker.info is not None
        sequences, layers = worker.info.notes
    assert "4 sequences run at once instead of 8" in sequences
    assert "layers are on the GPU: more did not fit" in layers
