"""One command that builds llama.cpp's tools, makes the models, measures everything in turn, and writes the tables.

    python -m bench                        all of it; docs/performance.md gets the tables
    python -m bench --quick                shows in a few minutes that all of it works; writes no document
    python -m bench --only shared --models 100m --pairs 3
    python -m bench --render               writes the tables again from the figures of the last run

Needs the packages of ``pip install -e '.[bench]'`` and a C++ compiler. Figures mean something on a quiet machine only.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bench import models
from bench.build import Tools, prepare, server_python
from bench.machine import machine_facts, versions
from bench.plan import CPU_MODELS, DEMO, GPU_MODELS, KEYS, MODELS, workloads
from bench.report import insert, render
from bench.results import Results, UnreadableResults
from bench.runner import Runner
from bench.servers import ROOT, ApiHostServer, BindingsServer, LlamaServer, Server
from bench.workload import Ground

CACHE = Path(__file__).parent / ".cache"
# On a CPU, and with --cuda.
DOCUMENTS = (ROOT / "docs" / "performance.md", ROOT / "docs" / "gpu.md")
RESULTS = ("results.json", "results-cuda.json")
DEMO_MODEL = ROOT / "api_host" / "models" / "demo" / "demo.gguf"
QUIET_LOAD = 0.5
SERVERS = ("api-host", "llama-server", "bindings")


def main() -> None:
    arguments = parse_arguments()
    # Ended from outside, or with its terminal, it ends the server that it measures as well; nohup has its way.
    for end in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(end) != signal.SIG_IGN:
            signal.signal(end, lambda number, _: sys.exit(128 + number))
    name = "results-quick.json" if arguments.quick else RESULTS[arguments.cuda]
    results_file = arguments.cache / name
    try:
        results = Results.load(results_file)
    except UnreadableResults as error:
        sys.exit(str(error))
    if not arguments.render:
        measure(arguments, results, results_file)
    if not results.runs:
        sys.exit(f"there are no figures in {results_file}; measure first")
    tables = render(results)
    if arguments.quick:
        print(tables)
        return
    document = DOCUMENTS[arguments.cuda]
    document.write_text(insert(document.read_text(), tables))
    print(f"The figures are in {results_file}, the tables in {document}.")


def measure(arguments: argparse.Namespace, results: Results, results_file: Path) -> None:
    """Measures what is asked for; every finished workload is saved at once."""
    chosen = [
        (model, workload)
        for model in arguments.models
        for workload in workloads(model, arguments.quick, arguments.cuda)
        if workload.key in arguments.only
    ]
    if not chosen:
        sys.exit(f"none of {', '.join(arguments.only)} is measured on {', '.join(arguments.models)}")
    tools = prepare(arguments.cache, arguments.cuda, arguments.llama_bin, arguments.llama_source)
    if (busy := os.getloadavg()[0]) > QUIET_LOAD:
        print(f"This machine has other work to do (load average {busy:.1f}): the figures will mean little.")
    machine, software = machine_facts(), versions(tools.bin)
    runner = Runner(
        chosen_servers(arguments.servers, tools, arguments.cache),
        tools.bin,
        with_limits=not arguments.no_limits,
        check_texts=not arguments.no_texts,
        command=shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        software=software,
    )
    for model, of_model in itertools.groupby(chosen, lambda pair: pair[0]):
        ground = make_ground(model, arguments, tools)
        if not ground.model.exists():
            print(f"{model}: {ground.model} is missing; its workloads are left out")
            continue
        for _, workload in of_model:
            print(f"{model}: {workload.name}", flush=True)
            results.replace(runner.run(workload, model, ground, arguments.pairs))
            results.machine, results.versions = machine, software
            results.save(results_file)


def chosen_servers(names: list[str], tools: Tools, cache: Path) -> list[Server]:
    """The contenders, in a fixed order."""
    every: dict[str, Callable[[], Server]] = {
        "api-host": ApiHostServer,
        "llama-server": lambda: LlamaServer(tools.bin),
        "bindings": lambda: BindingsServer(server_python(cache)),
    }
    return [server() for name, server in every.items() if name in names]


def make_ground(model: str, arguments: argparse.Namespace, tools: Tools) -> Ground:
    """The model's file, made when it is not there, and what goes with it."""
    threads, gpu, folder = arguments.threads, arguments.cuda, arguments.cache / "models"
    logs = arguments.cache / "logs"
    if model == DEMO:
        return Ground(arguments.demo_model, [], 0, threads, gpu, logs)
    path = models.ensure_model(folder, model, tools.vocabulary)
    words = models.ensure_words(folder, tools.vocabulary)
    return Ground(path, words, models.SIZES[model].kv_bytes_per_token, threads, gpu, logs)


def parse_arguments() -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="small amounts, one pair, the small models; writes no document")
    add("--only", nargs="+", choices=KEYS, default=KEYS, metavar="W", help=f"workloads: {', '.join(KEYS)}")
    add("--models", nargs="+", choices=MODELS, help=f"default: {' '.join(CPU_MODELS)}; quick leaves 1.1b out")
    add("--servers", nargs="+", choices=SERVERS, default=SERVERS, metavar="S", help=", ".join(SERVERS))
    add("--pairs", type=_positive, help="how often each contender takes its turn; default 5")
    add("--threads", type=_positive, default=cores, help=f"threads of llama.cpp; default {cores}")
    add("--no-limits", action="store_true", help="leave llama-bench and llama-batched-bench out")
    add("--no-texts", action="store_true", help="do not compare greedy texts")
    add("--render", action="store_true", help="measure nothing, write the tables from the last figures")
    on_gpu = " ".join(GPU_MODELS)
    add("--cuda", action="store_true", help=f"build for NVIDIA GPUs, all layers there; default: {on_gpu}")
    add("--cache", type=_whole_path, default=CACHE, help="where everything is kept")
    add("--demo-model", type=_whole_path, default=DEMO_MODEL, help="the GGUF of the demo workloads")
    add(
        "--llama-bin",
        type=_whole_path,
        default=_path("BENCH_LLAMA_BIN"),
        help="built programs; $BENCH_LLAMA_BIN",
    )
    add(
        "--llama-source",
        type=_whole_path,
        default=_path("BENCH_LLAMA_SOURCE"),
        help="sdist; $BENCH_LLAMA_SOURCE",
    )
    arguments = parser.parse_args()
    arguments.pairs = arguments.pairs or (1 if arguments.quick else 5)
    full = GPU_MODELS if arguments.cuda else CPU_MODELS
    arguments.models = arguments.models or (CPU_MODELS[:2] if arguments.quick else full)
    return arguments


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def _whole_path(text: str) -> Path:
    """Servers run in another folder than this."""
    return Path(text).resolve()


def _path(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return _whole_path(value) if value else None


if __name__ == "__main__":
    main()
