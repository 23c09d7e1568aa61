"""A request that nothing good can come of ends alone: the worker and everybody else's text go on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest

from api_host.engine import engine as engine_module
from api_host.engine.engine import Engine
from api_host.engine.llama.chat_template import ChatTemplate
from api_host.engine.loader import load_model
from api_host.engine.messages import Generate, Load, RequestAccepted, RequestFailed
from api_host.engine.process import Worker
from api_host.errors import InvalidRequest
from api_host.generation import GenerationRequest, Message, SamplingParams, ToolCall
from api_host.models.demo import DEMO_MODEL_PATH
from tests.engine.reading import begin, read

LOAD = Load(str(DEMO_MODEL_PATH), n_ctx=1024, n_slots=2, n_threads=1)
# Takes llama.cpp hours.
ENDLESS = 'root ::= x{500}\nx ::= "a"? "b"?'


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker.start(LOAD)
    yield worker
    worker.stop()


@pytest.fixture
def bystander(worker: Worker) -> Iterator[None]:
    """Somebody whose text is written meanwhile, and has to be written to its end."""
    stream = begin(worker, "A cat sat on", SamplingParams(max_tokens=200, ignore_eos=True))
    yield
    assert read(stream)[1].usage.completion_tokens == 200


@pytest.mark.parametrize(
    ("grammar", "says"),
    [
        ('root ::= "a"{3,1}', "swap the numbers"),
        ("root ::= " + "(" * 20_000 + '"a"' + ")" * 20_000, "nested deeper than"),
        ("root ::= <[500000]>", "names a token"),
        ('root ::= "T" !<[5]>', "names a token"),
        ('root ::= "Th" !<|end|>', "names a token"),
        ('root ::= "a\0b"', "character of code 0"),
        ("root ::= " + "[" * 90_000, "does not parse"),
        ("root ::= " + '"\\' * 45_000, "does not parse"),
        ("root ::= " + "!<" * 45_000, "does not parse"),
    ],
)
def test_a_grammar_that_would_end_the_process_is_refused(
    worker: Worker, bystander: None, grammar: str, says: str
):
    with pytest.raises(InvalidRequest, match=f"parameters.grammar: .*{says}"):
        read(begin(worker, "Hello", SamplingParams(grammar=grammar)))


def test_what_looks_like_a_token_in_a_literal_or_a_class_is_text(worker: Worker):
    grammar = 'root ::= "<[5]>{3,1}" [<>({"\\]]{2} # <[5]> {3,1} ((('
    text = read(begin(worker, "Hello", SamplingParams(grammar=grammar, max_tokens=30)))[0][0]
    assert text[:10] == "<[5]>{3,1}" and set(text[10:]) <= set('<>({"]') and len(text) == 12


@pytest.mark.parametrize(
    "draw", [{"top_k": 1}, {"top_k": 40}, {"top_k": 0}, {"mirostat": 2}, {"top_k": 0, "typical_p": 0.5}]
)
@pytest.mark.parametrize(
    ("form", "text"),
    [
        ({"json_schema": {"enum": ["a"]}, "ignore_eos": True}, '"a"'),
        ({"json_schema": {"type": "boolean"}, "min_tokens": 50}, None),
        ({"json_schema": {"type": "integer", "maximum": 9, "minimum": 9}, "ignore_eos": True}, "9"),
        ({"json_schema": {"type": "array", "items": {"const": 1}}, "no_repeat_ngram_size": 1}, None),
        ({"grammar": 'root ::= "ab"', "ignore_eos": True}, "ab"),
        ({"grammar": 'root ::= "\\x00"'}, ""),
        ({"grammar": "root ::= [z-a]"}, ""),
    ],
)
def test_a_text_of_which_nothing_may_follow_ends(
    worker: Worker, bystander: None, form: dict, text: str | None, draw: dict
):
    texts, end = read(begin(worker, "Hello", SamplingParams(max_tokens=80, seed=1, **form, **draw)))
    assert text is None or texts[0] == text
    assert end.usage.completion_tokens < 80


def history(arguments: str) -> list[Message]:
    call = Message("assistant", "", tool_calls=[ToolCall("weather", arguments)])
    return [Message("user", "Is it cold?"), call, Message("tool", "yes")]


def test_half_a_character_in_a_calls_arguments_stays_an_escape(worker: Worker, bystander: None):
    asked = GenerationRequest(history('{"city": "\\ud800"}'), want_prompt=True)
    stream = worker.generate(asked)
    accepted = stream.get(30)
    assert isinstance(accepted, RequestAccepted) and r"\ud800" in (accepted.prompt or "")
    read(stream)


@pytest.mark.parametrize("depth", [900, 960, 990, 1100, 3000])
def test_arguments_that_are_nested_deeply_are_text_or_refused(worker: Worker, bystander: None, depth: int):
    with contextlib.suppress(InvalidRequest):
        read(worker.generate(GenerationRequest(history("[" * depth + "]" * depth))))


@pytest.mark.parametrize("source", ["{{ 1 // 0 }}", "{{ messages.nothing.at_all }}", "{{ 10.0 ** 400 }}"])
def test_whatever_a_template_raises_is_told(source: str):
    with pytest.raises(InvalidRequest, match="inputs: the model's chat template refuses this chat: "):
        ChatTemplate(source, bos="", eos="").render(GenerationRequest([Message("user", "Hello")]))


def test_a_request_that_cannot_be_read_fails_alone(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of this program")

    engine = Engine(load_model(LOAD), LOAD)
    monkeypatch.setattr(engine_module, "read_prompt", broken)
    engine.take(Generate(1, GenerationRequest("Hello")))
    (failed,) = engine.take_events()
    assert isinstance(failed, RequestFailed)
    assert failed.code == "generation_failed" and "RuntimeError" in failed.message


def test_a_worker_that_does_not_read_can_be_stopped():
    worker = Worker.start(LOAD)
    os.kill(worker.pid, signal.SIGSTOP)
    asked = GenerationRequest("word " * 200_000)
    sending = threading.Thread(target=worker.generate, args=[asked], daemon=True)
    sending.start()
    sending.join(1)
    assert sending.is_alive(), "the socket took all of it"
    stopping = threading.Thread(target=worker.stop, args=[1.0], daemon=True)
    stopping.start()
    stopping.join(20)
    sending.join(20)
    assert not stopping.is_alive() and not sending.is_alive()


HOST = f"""
from api_host.engine.messages import Load
from api_host.engine.process import Worker
from api_host.generation import GenerationRequest, SamplingParams
worker = Worker.start(Load({str(DEMO_MODEL_PATH)!r}, n_ctx=1024, n_slots=1, n_threads=1))
stream = worker.generate(GenerationRequest("Hello", sampling=SamplingParams(grammar={ENDLESS!r})))
print(worker.pid, flush=True)
stream.get()
stream.get()
"""


def test_a_worker_inside_an_endless_call_ends_after_its_host():
    host = subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    with host.stdout:
        worker = psutil.Process(int(host.stdout.readline()))
    host.kill()
    host.wait()
    worker.wait(30)


FORKING_HOST = f"""
import os, time
from api_host.engine.messages import Load
from api_host.engine.process import Worker
worker = Worker.start(Load({str(DEMO_MODEL_PATH)!r}, n_ctx=256, n_slots=1, n_threads=1))
if child := os.fork():
    print(worker.pid, child, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the system does not tell of a process's end")
def test_a_worker_ends_after_its_host_whatever_child_of_that_goes_on():
    host = subprocess.Popen([sys.executable, "-c", FORKING_HOST], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    with host.stdout:
        worker, child = map(int, host.stdout.readline().split())
        worker_process = psutil.Process(worker)
        host.kill()
        host.wait()
        try:
            worker_process.wait(30)
        finally:
            os.kill(child, signal.SIGKILL)
