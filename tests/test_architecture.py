"""The walls of docs/architecture.md: who may import whom, and how large a room may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOST = ROOT / "api_host"
CLIENT = ROOT / "client" / "api_host_client"
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc", "handler"}

EVERYBODY_MAY_IMPORT = {
    "api_host.generation",
    "api_host.config",
    "api_host.config_file",
    "api_host.llm_api_config",
    "api_host.errors",
    "api_host.free_memory",
    "api_host.gguf_header",
    "api_host.kv_cache",
    "api_host.gpu_shares",
    "api_host.gpus",
    "api_host.metrics",
    "api_host.sending",
}

# The counters are fed with the worker's own figures.
COMMON_MAY_IMPORT = {("api_host.metrics", "api_host.engine.messages")}

# The host's side, from the door inwards: a layer may import itself and those below it.
HOST_LAYERS = [
    ["api_host.cli"],
    ["api_host.host"],
    ["api_host.web", "api_host.tunnel", "api_host.notebook", "api_host.signals", "api_host.credentials"],
    ["api_host.response_cache"],
    ["api_host.pipeline", "api_host.answering", "api_host.pulling", "api_host.facts"],
    ["api_host.models"],
    ["api_host.engine.process", "api_host.engine.request_stream"],
    ["api_host.engine.messages"],
]
# The worker's side of the socket; only the messages are on both.
WORKER_LAYERS = [
    ["api_host.engine.worker"],
    ["api_host.engine.engine"],
    ["api_host.engine.scheduler"],
    ["api_host.engine.*"],
    ["api_host.engine.messages"],
]
ONLY_IN = {
    "flask": ["api_host.web"],
    "flask_openapi3": ["api_host.web"],
    "werkzeug": ["api_host.web"],
    "cheroot": ["api_host.web"],
    "wsproto": ["api_host.web"],
    "redis": ["api_host.response_cache"],
    "pynvml": ["api_host.gpus"],
    "black": ["api_host.web.dialects.zephyr"],
    "gguf": ["api_host.models.ggml"],
    "flask_cloudflared": ["api_host.tunnel"],
    "huggingface_hub": ["api_host.models"],
    "llama_cpp": ["api_host.engine.llama"],
    "llguidance": ["api_host.engine.llama"],
    "click": ["api_host.cli"],
    "rich": ["api_host.cli"],
    "markdown_it": ["api_host.cli"],
    "IPython": ["api_host.notebook"],
}


def module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules_of(package: Path) -> dict[str, Path]:
    return {module_name(path, package): path for path in sorted(package.rglob("*.py"))}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports_of(path: Path, package: Path) -> Iterator[tuple[str, int]]:
    """The modules that a file imports anywhere in it, each with its line."""
    known = modules_of(package)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module_name(path, package).split(".")
                keep = len(here) - node.level + (path.name == "__init__.py")
                base = ".".join([*here[:keep], *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                if inner != "api_host.__version__":
                    yield (inner if inner in known else base), node.lineno


def belongs_to(module: str, places: list[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def layer_of(module: str, layers: list[list[str]]) -> int | None:
    for depth, names in enumerate(layers):
        if belongs_to(module, [name for name in names if not name.endswith("*")]):
            return depth
    for depth, names in enumerate(layers):
        if any(name.endswith(".*") and module.startswith(name[:-1]) for name in names):
            return depth
    return None


def on_the_host(module: str) -> bool:
    return layer_of(module, HOST_LAYERS) is not None


def python_files() -> list[Path]:
    places = [HOST, CLIENT, ROOT / "tests", ROOT / "demo_model", ROOT / "bench"]
    found = [path for place in places for path in sorted(place.rglob("*.py"))]
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]


def violations_of_direction() -> Iterator[str]:
    for module, path in modules_of(HOST).items():
        if module == "api_host":
            continue  # lists the public names, and resolves them on first use
        for imported, line in imports_of(path, HOST):
            if not belongs_to(imported, ["api_host"]) or imported in EVERYBODY_MAY_IMPORT:
                continue
            problem = direction_problem(module, imported)
            if problem:
                yield f"{path.relative_to(ROOT)}:{line} imports {imported}: {problem}"


def direction_problem(module: str, imported: str) -> str | None:
    if (module, imported) in COMMON_MAY_IMPORT:
        return None
    if module in EVERYBODY_MAY_IMPORT:
        return "what all may import imports none of the layers"
    on_both_sides = "api_host.engine.messages"
    if on_the_host(module) != on_the_host(imported) and imported != on_both_sides:
        return "that is the other side of the socket, or has no layer"
    layers = HOST_LAYERS if on_the_host(module) else WORKER_LAYERS
    here, there = layer_of(module, layers), layer_of(imported, layers)
    if here is None or there is None:
        return "a module without a layer; give it one in this test and in docs/architecture.md"
    return None if here <= there else "that is further out"


def test_imports_run_one_way_from_the_cli_to_the_engine() -> None:
    assert list(violations_of_direction()) == []


def test_every_module_of_the_host_has_a_layer() -> None:
    homeless = [
        module
        for module in modules_of(HOST)
        if module not in EVERYBODY_MAY_IMPORT | {"api_host", "api_host.engine"}
        and layer_of(module, HOST_LAYERS) is None
        and layer_of(module, WORKER_LAYERS) is None
    ]
    assert homeless == []


@pytest.mark.parametrize(
    ("module", "imported", "allowed"),
    [
        ("api_host.web.app", "api_host.pipeline", True),
        ("api_host.pipeline", "api_host.web.app", False),
        ("api_host.models.pool.pool", "api_host.engine.process", True),
        ("api_host.models.pool.pool", "api_host.engine.scheduler", False),
        ("api_host.engine.process", "api_host.engine.llama", False),
        ("api_host.engine.worker", "api_host.engine.process", False),
        ("api_host.engine.scheduler", "api_host.engine.slots", True),
        ("api_host.engine.slots", "api_host.engine.scheduler", False),
        ("api_host.engine.llama", "api_host.engine.messages", True),
        ("api_host.engine.llama", "api_host.models.pool.pool", False),
        ("api_host.errors", "api_host.pipeline", False),
    ],
)
def test_the_rule_of_direction_tells_right_from_wrong(module: str, imported: str, allowed: bool) -> None:
    assert (direction_problem(module, imported) is None) == allowed


def lines_for_types_alone(path: Path) -> set[int]:
    """The lines below ``if TYPE_CHECKING``, which no interpreter runs."""
    return {
        line
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def test_each_outside_library_stays_in_its_room() -> None:
    strays = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for module, path in modules_of(HOST).items()
        for imported, line in imports_of(path, HOST)
        if imported.split(".")[0] in ONLY_IN and not belongs_to(module, ONLY_IN[imported.split(".")[0]])
        if line not in lines_for_types_alone(path)
    ]
    assert strays == []


def test_the_client_imports_only_requests_and_the_standard_library() -> None:
    allowed = {"requests", "api_host_client", "__future__", *sys.stdlib_module_names}
    imported = {
        name.split(".")[0] for path in modules_of(CLIENT).values() for name, _ in imports_of(path, CLIENT)
    }
    assert imported - allowed == set()


def test_dialects_never_import_each_other() -> None:
    dialects = {
        module: path
        for module, path in modules_of(HOST).items()
        if module.startswith("api_host.web.dialects.")
    }
    crossings = [
        f"{module} imports {imported}"
        for module, path in dialects.items()
        for imported, _ in imports_of(path, HOST)
        if imported in dialects and imported.split(".")[3] != module.split(".")[3]
    ]
    assert crossings == []


def loaded_after(statement: str) -> set[str]:
    """The top-level modules in a fresh interpreter after ``statement``."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_the_hosts_process_never_loads_llama_cpp() -> None:
    loaded = loaded_after("import api_host.host, api_host.web.app, api_host.cli.root")
    assert "flask" in loaded
    assert "llama_cpp" not in loaded


def test_the_worker_loads_neither_flask_nor_the_hub() -> None:
    loaded = loaded_after("import api_host.engine.worker")
    assert "llama_cpp" in loaded
    assert loaded & {"flask", "werkzeug", "cheroot", "huggingface_hub", "requests", "click"} == set()


def test_no_file_is_longer_than_300_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in python_files()}
    assert {path: length for path, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_no_function_is_longer_than_40_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in python_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_no_room_has_a_vague_name() -> None:
    places = [part for path in python_files() for part in path.relative_to(ROOT).with_suffix("").parts]
    vague = {place for place in places if set(place.split("_")) & VAGUE_NAMES}
    assert vague == set()


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in python_files()
        if path.read_text().strip() and not ast.get_docstring(tree_of(path))
    ]
    assert silent == []
