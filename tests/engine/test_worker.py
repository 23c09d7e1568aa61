"""A real worker process with the demo model's real weights, and what happens when it dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gguf
import psutil
import pytest

from api_host.engine.messages import Load, Piece, RequestFinished
from api_host.engine.process import Worker
from api_host.errors import (
    ApiHostError,
    Cancelled,
    ContextLengthExceeded,
    InvalidRequest,
    ModelLoadFailed,
    WorkerDied,
)
from api_host.generation import Message, SamplingParams
from api_host.kv_cache import CacheType
from api_host.models.demo import DEMO_MODEL_PATH
from tests.engine.reading import begin, read


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker.start(Load(str(DEMO_MODEL_PATH), n_ctx=1024, n_slots=4, n_threads=1))
    yield worker
    worker.stop()


def greedy(**sampling: object) -> SamplingParams:
    return SamplingParams(**{"max_tokens": 60, "top_k": 1, **sampling})  # type: ignore[arg-type]


def ask(question: str, *before: Message) -> list[Message]:
    return [*before, Message("user", question)]


def answer(worker: Worker, inputs: str | list[Message], **sampling: object) -> str:
    return read(begin(worker, inputs, greedy(**sampling)))[0][0]


COUNTRIES = {"France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Spain": "Madrid", "Germany": "Berlin"}


def test_the_model_answers_by_its_own_template(worker: Worker):
    assert "Paris" in answer(worker, ask("What is the capital of France?"))


def test_a_second_turn_knows_the_first(worker: Worker):
    first = [Message("user", "What is the capital of France?")]
    first.append(Message("assistant", answer(worker, first)))
    assert "Rome" in answer(worker, ask("And of Italy?", *first))


def test_text_of_a_sequence_in_a_full_batch_equals_its_text_alone(worker: Worker):
    questions = [ask(f"What is the capital of {country}?") for country in COUNTRIES] + [
        ask("Write a short story about a cat that steals food."),
        ask("What is a zephyr?"),
        ask("Who are you?"),
    ]
    alone = [answer(worker, question) for question in questions]
    with ThreadPoolExecutor(len(questions)) as threads:
        together = list(threads.map(lambda question: answer(worker, question), questions))
    assert together == alone


def test_draws_depend_on_the_seed_alone_whatever_runs_beside(worker: Worker):
    story = ask("Write a short story about a cat that steals food.")
    hot = {"top_k": 0, "top_p": 1.0, "temperature": 3.0, "seed": 11}
    alone = answer(worker, story, **hot)
    with ThreadPoolExecutor(4) as threads:
        beside = [threads.submit(answer, worker, story, **{**hot, "seed": seed}) for seed in (1, 2, 3)]
        again = answer(worker, story, **hot)
    assert again == alone
    assert len({future.result() for future in beside} | {alone}) > 1


@pytest.mark.parametrize(
    "sampling",
    [
        {"top_k": 0, "top_p": 0.5},
        {"top_k": 0, "min_p": 0.2, "typical_p": 0.9},
        {"top_k": 40, "repeat_penalty": 1.3, "frequency_penalty": 0.5, "presence_penalty": 0.5},
        {"top_k": 40, "mirostat": 1},
        {"top_k": 40, "mirostat": 2, "mirostat_tau": 2.0},
    ],
)
def test_every_sampler_repeats_itself_with_a_seed(worker: Worker, sampling: dict):
    texts = {answer(worker, "A cat sat on", seed=3, max_tokens=30, **sampling) for _ in range(2)}
    assert len(texts) == 1
    assert texts.pop()


def test_a_strong_penalty_keeps_a_text_from_repeating(worker: Worker):
    plain = answer(worker, "A cat sat on", max_tokens=60, ignore_eos=True)
    penalised = answer(
        worker, "A cat sat on", max_tokens=60, ignore_eos=True, repeat_penalty=5.0, repeat_last_n=-1
    )
    assert len(set(penalised.split())) / len(penalised.split()) > len(set(plain.split())) / len(plain.split())


def test_logit_bias_forbids_a_token(worker: Worker):
    banned = {token: -1000.0 for token in range(3, 700) if token % 2}
    free, bound = (answer(worker, "A cat sat on", max_tokens=5, logit_bias=b) for b in ({}, banned))
    assert free != bound
    wanted = answer(worker, "A cat sat on", max_tokens=5, logit_bias={90: 1000.0})
    assert wanted == wanted[0] * 5 or len(set(wanted.split())) == 1
    with pytest.raises(InvalidRequest, match=r"parameters\.logit_bias: 123456 is no token"):
        answer(worker, "A cat sat on", logit_bias={123456: 1.0})


def test_greedy_is_the_same_through_the_chain_and_by_the_short_way(worker: Worker):
    short = answer(worker, "A cat sat on", max_tokens=100, ignore_eos=True)
    chain = answer(worker, "A cat sat on", max_tokens=100, ignore_eos=True, logit_bias={5: 1e-6})
    assert short == chain


def test_choices_have_seeds_of_their_own(worker: Worker):
    params = SamplingParams(n=3, max_tokens=30, temperature=3.0, top_k=0, top_p=1.0, seed=1)
    texts, finished = read(begin(worker, "A cat sat on", params))
    assert len(set(texts.values())) == 3
    assert finished.usage.completion_tokens <= 90


def test_a_stop_string_is_never_shown(worker: Worker):
    whole = answer(worker, ask("What is the capital of France?"))
    stop = whole[len(whole) // 2 : len(whole) // 2 + 4]
    pieces = []
    stream = begin(worker, ask("What is the capital of France?"), greedy(stop=[stop]))
    while not isinstance(event := stream.get(30), RequestFinished):
        if isinstance(event, Piece):
            pieces.append(event)
    assert "".join(piece.text for piece in pieces) == whole[: whole.index(stop)]
    assert pieces[-1].finish_reason == "stop"


def test_a_named_format_overrides_the_models_own(worker: Worker):
    def n_prompt(chat_format: str | None) -> int:
        stream = begin(worker, ask("Hello"), greedy(max_tokens=1), chat_format=chat_format)
        return read(stream)[1].usage.prompt_tokens

    assert n_prompt("chatml") != n_prompt(None)
    with pytest.raises(InvalidRequest, match="klingon"):
        n_prompt("klingon")


def test_a_conversation_reads_only_what_is_new(worker: Worker):
    first = ask("Write a short story about a cat that steals food.")
    story, finished = read(begin(worker, first, greedy()))
    turn = ask("What is a zephyr?", *first, Message("assistant", story[0]))
    _, second = read(begin(worker, turn, greedy()))
    assert second.usage.cached_tokens >= finished.usage.prompt_tokens
    assert second.usage.cached_tokens < second.usage.prompt_tokens


def test_a_prompt_that_is_too_long_is_refused_and_others_go_on(worker: Worker):
    running = begin(worker, "A cat sat on", greedy(max_tokens=200, ignore_eos=True))
    with pytest.raises(ContextLengthExceeded) as caught:
        read(begin(worker, "word " * 5000, greedy()))
    assert caught.value.details["n_ctx"] == 1024
    assert caught.value.details["n_prompt_tokens"] > 1024
    assert read(running)[1].usage.completion_tokens == 200


def test_cancelling_frees_the_slot_for_the_next(worker: Worker):
    endless = [begin(worker, "A cat sat on", greedy(max_tokens=1000, ignore_eos=True)) for _ in range(4)]
    for stream in endless:
        while not isinstance(stream.get(30), Piece):
            pass
    next_one = begin(worker, ask("What is the capital of France?"), greedy())
    endless[0].cancel()
    assert "Paris" in read(next_one)[0][0]
    for stream in endless:
        stream.cancel()
        with pytest.raises(Cancelled):
            read(stream)


@pytest.mark.parametrize("cache_type", ["q8_0", "q4_0"])
def test_a_quantised_cache_still_answers_right(cache_type: CacheType):
    worker = Worker.start(Load(str(DEMO_MODEL_PATH), n_ctx=512, n_threads=1, cache_type=cache_type))
    assert "Paris" in answer(worker, ask("What is the capital of France?"))
    worker.stop()


def test_killing_the_worker_ends_its_requests_at_once_with_a_reason():
    died = threading.Event()
    worker = Worker.start(
        Load(str(DEMO_MODEL_PATH), n_ctx=1024, n_threads=1), on_exit=lambda _worker: died.set()
    )
    streams = [begin(worker, "A cat sat on", greedy(max_tokens=900, ignore_eos=True)) for _ in range(6)]
    while not isinstance(streams[0].get(30), Piece):
        pass
    os.kill(worker.pid, signal.SIGKILL)
    killed = time.monotonic()
    for stream in streams:
        with pytest.raises(WorkerDied, match="SIGKILL"):
            read(stream)
    assert time.monotonic() - killed < 10
    assert died.wait(10)
    with pytest.raises(WorkerDied):
        read(begin(worker, "Hello", greedy()))
    worker.stop()


@pytest.fixture
def broken_gguf(tmp_path: Path) -> Path:
    return Path(shutil.copy(DEMO_MODEL_PATH, tmp_path / "broken.gguf"))


def load_error(path: Path) -> ApiHostError:
    with pytest.raises(ApiHostError) as caught:
        Worker.start(Load(str(path), n_ctx=512))
    assert str(path.parent) not in f"{caught.value.message} {caught.value.details}"
    return caught.value


def test_a_gguf_that_makes_llama_cpp_abort_ends_only_its_worker(broken_gguf: Path):
    reader = gguf.GGUFReader(broken_gguf, "r+")
    reader.fields["llama.block_count"].parts[-1][0] = 600
    reader.data.flush()
    error = load_error(broken_gguf)
    assert isinstance(error, WorkerDied)
    assert "SIGABRT" in error.message
    assert "LLAMA_MAX_LAYERS" in error.details["stderr"]


def test_a_cut_file_is_refused_with_llama_cpps_reason(broken_gguf: Path):
    broken_gguf.write_bytes(broken_gguf.read_bytes()[:-500_000])
    error = load_error(broken_gguf)
    assert isinstance(error, ModelLoadFailed)
    assert "corrupted or incomplete" in error.message


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path):
    path = tmp_path / "text.gguf"
    path.write_text("this is no model " * 100)
    error = load_error(path)
    assert isinstance(error, ModelLoadFailed)
    assert "text.gguf" in error.message


def test_stopping_leaves_no_process_and_no_thread():
    before = set(threading.enumerate())
    worker = Worker.start(Load(str(DEMO_MODEL_PATH), n_ctx=8192))
    stream = begin(worker, "A cat sat on", greedy(max_tokens=8000, ignore_eos=True))
    worker.stop()
    with pytest.raises(Cancelled):
        read(stream)
    assert not psutil.pid_exists(worker.pid)
    assert set(threading.enumerate()) == before


def test_a_load_can_be_stopped_from_another_thread():
    started: list[Worker] = []

    def stop_soon(worker: Worker) -> None:
        started.append(worker)
        os.kill(worker.pid, signal.SIGSTOP)  # so that it has not loaded before it is stopped
        threading.Thread(target=worker.stop).start()

    with pytest.raises(Cancelled):
        Worker.start(Load(str(DEMO_MODEL_PATH), n_ctx=512), on_start=stop_soon)
    assert not started[0].alive


def test_the_worker_ends_when_its_host_is_killed(tmp_path: Path):
    program = (
        "import sys, time; from api_host.engine.process import Worker; from api_host.engine.messages import Load\n"
        f"w = Worker.start(Load({str(DEMO_MODEL_PATH)!r}, n_ctx=512)); print(w.pid, flush=True); sys.stdin.read()"
    )
    host = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with host:
        assert host.stdout is not None
        worker = psutil.Process(int(host.stdout.readline()))
        host.kill()
    worker.wait(timeout=30)
