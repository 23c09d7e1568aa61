"""What the bench does when something is not as it should be: a contender, a text, a command, an older file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from api_host.models.demo import DEMO_MODEL_PATH
from bench.asking import Asked, answered, request
from bench.build import VOCABULARY, installed_version, prepare
from bench.limits import TextGeneration
from bench.load import Load
from bench.machine import versions
from bench.process import RunningServer, ServerFailed
from bench.reference import UNDER_LOAD, Reference
from bench.report import BEGIN, insert, render
from bench.results import Results, Run, Sample, TextCheck, UnreadableResults
from bench.runner import Runner
from bench.servers import HOST, BindingsServer, LlamaServer, Server, Setting
from bench.workload import Ground, Measured
from tests.fakes.event_server import HEAD, EventServer, chunk
from tests.fakes.programs import program, with_first
from tests.fakes.word_server import WordServer

ROOT = Path(__file__).parent.parent


def ground_of(folder: Path) -> Ground:
    return Ground(folder / "no.gguf", [], 0, 1, False, folder)


def test_a_text_is_compared_behind_a_near_tie_as_well(tmp_path: Path) -> None:
    asked = Asked("a", 4)
    texts = {"b c d e": (1, 0), "b d e g": (0, 1), "b d e z": (0, 0), "z a b c": (0, 0)}
    with Reference(WordServer(tmp_path), ground_of(tmp_path), 256) as reference:
        for text, (equal, near_ties) in texts.items():
            check = reference.check(HOST, UNDER_LOAD, [(asked, text)])
            gap = 0.1 if near_ties else 0.0
            assert check == TextCheck(HOST, UNDER_LOAD, equal, 1, near_ties, gap), text


class Asks:
    """A workload of one question to whoever listens at a port."""

    key = name = "asks"
    servers = (HOST, BindingsServer.name)
    limits = ()

    def __init__(self, port: int) -> None:
        self.port = port

    def setting(self, ground: Ground) -> Setting:
        return Setting(ground.model, 1, 256, 1)

    def measure(self, server: Server, ground: Ground, seed: str) -> Measured:
        asked = Asked("go", 1)
        with Load(self.port) as load:
            exchanges = load.send(request(server, asked))
            load.run()
        return Measured({"decode_tps": answered(server, asked, exchanges[0]).decode_rate})


@pytest.mark.parametrize("event", [b'{"error": "no"}', b'{"choices": []}', b"[1]", b"{", b'"'])
def test_an_event_that_nobody_expects_fails_its_contender_and_no_other(tmp_path: Path, event: bytes) -> None:
    answer = [(0.0, HEAD + chunk(b"data: " + event + b"\n\n") + b"0\r\n\r\n")]
    runner = Runner([BindingsServer(tmp_path)], tmp_path, check_texts=False, say=lambda line: None)
    with EventServer(lambda body: answer) as site:
        run = runner.run(Asks(site.port), "100m", ground_of(tmp_path), 2)
    assert run.samples == []
    assert [failure[:24] for failure in run.failures] == [f"llama_cpp.server, pair {i}" for i in (1, 2)]


def test_a_stream_without_a_second_event_has_no_rate(tmp_path: Path) -> None:
    answer = (
        HEAD + chunk(b'data: {"choices": [{"text": " go", "finish_reason": "length"}]}\n\n') + b"0\r\n\r\n"
    )
    runner = Runner([BindingsServer(tmp_path)], tmp_path, check_texts=False, say=lambda line: None)
    with EventServer(lambda body: [(0.0, answer)]) as site:
        run = runner.run(Asks(site.port), "100m", ground_of(tmp_path), 1)
    assert run.samples == [] and len(run.failures) == 1


class LeavesAChild(LlamaServer):
    """Starts a process and ends."""

    def command(self, setting: Setting, port: int) -> list[str]:
        return ["sh", "-c", "sleep 300 & echo child $!; exit 3"]


def test_what_a_dead_server_left_behind_is_ended_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    server = LeavesAChild(tmp_path)
    with (
        pytest.raises(ServerFailed, match="code 3"),
        RunningServer(server, Setting(tmp_path, 1, 256, 1), log) as running,
    ):
        running.wait_ready()
    with contextlib.suppress(psutil.NoSuchProcess):
        child = psutil.Process(int(log.read_text().split()[1]))
        gone, _ = psutil.wait_procs([child], timeout=5)
        assert gone or child.status() == psutil.STATUS_ZOMBIE


def test_no_setting_of_the_environment_reaches_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "llama-bench"
    program.write_text('#!/bin/sh\necho "{\\"samples_ts\\": [${LLAMA_ARG_THREADS:-7}]}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("LLAMA_ARG_THREADS", "64")
    assert TextGeneration(8, 1).measure(tmp_path, Setting(tmp_path, 1, 256, 1)) == {"decode_tps": 7}


def test_a_run_with_other_software_than_the_last_one_says_so() -> None:
    run = Run("1.1b", "4", "4 streams", "python -m bench", "2025-01-01 10:00", 0.1)
    run.samples.append(Sample(HOST, 0, {"total_tps": 1.0}))
    run.software = {"api-host": "aaaaaaa", "Python": "3.12"}
    tables = render(Results({}, {"api-host": "bbbbbbb", "Python": "3.12"}, [run]))
    assert "Software of the last run: api-host bbbbbbb, Python 3.12." in tables
    assert (
        "- 4 streams, 1.1b: 2025-01-01 10:00, 1 pairs, load average before it 0.1; api-host aaaaaaa" in tables
    )


def test_a_document_without_the_second_marker_keeps_what_it_has() -> None:
    with pytest.raises(ValueError, match="bench:end"):
        insert(f"# Performance\n{BEGIN}\nold\n\nWhere the time goes.\n", "new")


@pytest.mark.parametrize(
    "text", ['{"machine"', "[]", '{"runs": [{"model": "x"}]}', '{"runs": [], "more": 1}']
)
def test_results_of_another_format_are_told_as_such(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(UnreadableResults, match="another format"):
        Results.load(tmp_path / "results.json")


def test_runs_of_a_file_from_before_software_was_kept_are_read(tmp_path: Path) -> None:
    run = '{"model": "m", "key": "4", "name": "n", "command": "c", "started": "s", "load_average": 0, "samples": []'
    (tmp_path / "results.json").write_text(f'{{"runs": [{run}, "texts": [], "failures": []}}]}}')
    assert Results.load(tmp_path / "results.json").runs[0].software == {}


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Starts the command in ``folder``, where programs and a vocabulary that nobody needs lie, by relative paths."""
    (folder / "bin").mkdir()
    (folder / "source/vendor/llama.cpp/models").mkdir(parents=True)
    (folder / "source/vendor/llama.cpp/models/ggml-vocab-llama-spm.gguf").touch()
    for name in ("llama-server", "llama-bench", "llama-batched-bench"):
        (folder / "bin" / name).touch(0o755)
    (folder / "demo.gguf").symlink_to(DEMO_MODEL_PATH)
    # Tests that run under nohup would hand on that they do not hear the end of their terminal.
    command = ["env", "--default-signal=HUP", sys.executable, "-m", "bench"]
    command += ["--quick", "--servers", "api-host", "--cache", "cache"]
    command += ["--llama-bin", "bin", "--llama-source", "source", "--demo-model", "demo.gguf", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    process = started(folder, *arguments)
    said, errors = process.communicate(timeout=100)
    return subprocess.CompletedProcess(process.args, process.returncode, said, errors)


def test_paths_are_those_of_the_folder_where_the_command_was_given(tmp_path: Path) -> None:
    done = bench(tmp_path, "--models", "demo", "--only", "start", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert "FAILED" not in done.stdout and "| start to first token | demo | time, s |" in done.stdout
    (run,) = Results.load(tmp_path / "cache" / "results-quick.json").runs
    assert run.software["llama-cpp-python"]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_a_bench_that_is_ended_takes_the_server_along(tmp_path: Path, end: signal.Signals) -> None:
    process = started(tmp_path, "--models", "demo", "--only", "requests", "--threads", "1")
    this = psutil.Process(process.pid)
    deadline, servers = time.monotonic() + 30, list[psutil.Process]()
    while not servers:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
        with contextlib.suppress(psutil.Error):  # of a child that ends in this moment
            servers = [child for child in this.children() if "serve" in child.cmdline()]
    process.send_signal(end)
    process.communicate(timeout=30)
    assert process.returncode == 128 + end
    gone, _ = psutil.wait_procs(servers, timeout=10)
    assert gone == servers


def test_a_choice_that_leaves_nothing_to_measure_is_refused(tmp_path: Path) -> None:
    done = bench(tmp_path, "--models", "demo", "--only", "shared")
    assert done.returncode == 1 and "none of shared is measured on demo" in done.stderr


def test_a_missing_program_costs_no_figures(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="name another --llama-bin") as found:
        prepare(tmp_path / "cache", built=tmp_path, source=tmp_path)
    assert f"remove {tmp_path / 'cache'} " not in str(found.value)


class EndedAtStart(LeavesAChild):
    """Is told to end while its process is being started; the process says who it is."""

    def command(self, setting: Setting, port: int) -> list[str]:
        signal.raise_signal(signal.SIGTERM)
        return ["sh", "-c", "exec sleep 300"]


def test_an_end_while_a_server_starts_leaves_none(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    running = RunningServer(EndedAtStart(tmp_path), Setting(tmp_path, 1, 256, 1), tmp_path / "log")
    try:
        with pytest.raises(SystemExit), running:
            pytest.fail("it was entered")
    finally:
        signal.signal(signal.SIGTERM, before)
    with pytest.raises(psutil.NoSuchProcess):
        running.pids  # noqa: B018


CMAKE = """
case "$*" in
  *--build*) ;;
  *) mkdir -p "$4/bin"; for each in llama-server llama-bench llama-batched-bench; do echo "$*" > "$4/bin/$each"; done ;;
esac
"""


def test_the_tools_are_built_with_what_the_bindings_were_built_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "cmake", CMAKE)
    monkeypatch.setenv("PATH", with_first(tmp_path / "bin"))
    source, cache = tmp_path / "source", tmp_path / "cache"
    for made in (
        source / "vendor" / "llama.cpp" / "models" / VOCABULARY,
        cache / "venv" / f"ready-{installed_version()}",
    ):
        made.parent.mkdir(parents=True)
        made.touch()
    folders = set()
    for arguments in ("", "-DONE=1 -DCMAKE_C_FLAGS='-a -b'"):
        monkeypatch.setenv("CMAKE_ARGS", arguments)
        tools = prepare(cache, source=source)
        folders.add(tools.bin)
        said = (tools.bin / "llama-server").read_text()
        assert said.endswith("-DONE=1 -DCMAKE_C_FLAGS=-a -b\n") == bool(arguments)
        assert versions(tools.bin).get("CMAKE_ARGS", "") == arguments
    assert len(folders) == 2


@pytest.mark.parametrize("option", ["--pairs", "--threads"])
def test_amounts_below_one_are_refused(tmp_path: Path, option: str) -> None:
    done = bench(tmp_path, "--models", "demo", "--only", "start", option, "-1")
    assert done.returncode == 2 and "-1 is below 1" in done.stderr
