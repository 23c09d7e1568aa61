"""Models: the list, loading with a bar, unloading."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

import pytest

from api_host_client import Client, Model, Progress
from api_host_client import client as client_module
from api_host_client.errors import GatedRepo, ModelBusy, ModelLoadFailed, NotAnAnswer, RepoNotFound
from api_host_client.progress import Bar, Lines, Rate, display_for
from tests.fakes.edge import Edge, json_reply

NAME = "owner/name/a.gguf"


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "POLL_S", 0.02)


def state(status: str, **facts: Any) -> dict[str, Any]:
    return {"name": NAME, "status": status, "progress": None, "unheard_of": 1, **facts}


def listed(*models: dict[str, Any]) -> Any:
    return json_reply({"models": [state("unloaded", name="another"), *models], "default": None})


def downloading(done: int, total: int = 2_000_000) -> dict[str, Any]:
    return state("downloading", progress={"file": "a.gguf", "bytes_done": done, "bytes_total": total})


def test_models_are_typed_and_unknown_facts_ignored(edge: Edge, client: Client) -> None:
    facts = {
        "size": 9,
        "n_ctx": 4096,
        "n_slots": 4,
        "n_gpu_layers": 0,
        "device": "CPU",
        "draft_model": "small.gguf",
        "notes": ["CPU only"],
    }
    edge.answers(listed(state("loaded", **facts), downloading(1)))
    _, loaded, fetched = client.models()
    assert (loaded.name, loaded.loaded, loaded.n_ctx, loaded.notes) == (NAME, True, 4096, ["CPU only"])
    assert (loaded.draft_model, fetched.draft_model) == ("small.gguf", None)
    assert fetched.progress == Progress("a.gguf", 1, 2_000_000)
    assert (edge.requests[0].method, edge.requests[0].path) == ("GET", "/api/models")


@pytest.mark.parametrize("body", [{}, {"models": None}, {"models": [3]}, {"models": [{}]}])
def test_a_list_of_another_shape_is_no_answer(edge: Edge, client: Client, body: Any) -> None:
    edge.answers(json_reply(body))
    with pytest.raises(NotAnAnswer):
        client.models()


def test_loading_polls_until_the_model_is_there(edge: Edge, client: Client) -> None:
    edge.answers(
        json_reply({"model": downloading(0, 0)}, 202),
        listed(downloading(500_000)),
        listed(state("loading", progress={"seconds": 1.0})),
        listed(state("loaded", n_ctx=512)),
    )
    states: list[str] = []
    model = client.load(
        "owner/name", use_gpu=False, ctx_length=512, progress=lambda m: states.append(m.status)
    )
    assert (model.loaded, model.n_ctx) == (True, 512)
    assert states == ["downloading", "downloading", "loading", "loaded"]
    assert edge.requests[0].json == {
        "model": "owner/name",
        "options": {"use_gpu": False, "ctx_length": 512},
        "wait": False,
    }


def test_loading_need_not_be_waited_for(edge: Edge, client: Client) -> None:
    edge.answers(json_reply({"model": state("loading")}, 202))
    assert client.load("owner/name", wait=False).status == "loading"
    assert len(edge.requests) == 1


def test_a_load_that_fails_is_raised_with_the_hosts_reason(edge: Edge, client: Client) -> None:
    gated = {
        "error": "accept the licence",
        "code": "gated_repo",
        "status": 403,
        "accept_at": "https://hub.example",
    }
    edge.answers(
        json_reply({"error": "no such repository", "code": "repo_not_found"}, 404),
        json_reply({"model": state("loading")}, 202),
        listed(state("failed", error=gated)),
        json_reply({"model": state("loading")}, 202),
        listed(state("failed", error="not a GGUF")),
    )
    with pytest.raises(RepoNotFound):
        client.load("owner/name", progress=False)
    with pytest.raises(GatedRepo, match="accept the licence"):
        client.load("owner/name", progress=False)
    with pytest.raises(ModelLoadFailed, match="not a GGUF"):
        client.load("owner/name", progress=False)


def test_a_model_that_the_host_has_dropped_is_not_waited_for_for_ever(
    edge: Edge, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "GONE_AFTER_S", 0.1)
    edge.answers(json_reply({"model": state("loading")}, 202), *[listed(state("unloaded"))] * 50)
    with pytest.raises(ModelLoadFailed, match="no longer loads"):
        client.load("owner/name", progress=False)


def test_unloading_names_the_model_and_a_busy_one_refuses(edge: Edge, client: Client) -> None:
    edge.answers(json_reply({"unloaded": True}), json_reply({"error": "busy", "code": "model_busy"}, 409))
    client.unload("demo")
    assert (edge.requests[0].path, edge.requests[0].json) == ("/api/models/unload", {"model": "demo"})
    with pytest.raises(ModelBusy):
        client.unload("demo")


def test_health_has_its_status_and_version(edge: Edge, client: Client) -> None:
    edge.answers(json_reply({"status": "ok", "version": "0.1.0", "models": 1}))
    health = client.health()
    assert (health.ok, health.version, health.facts["models"]) == (True, "0.1.0", 1)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_is_one_line_that_is_redrawn(
    edge: Edge, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    edge.answers(
        json_reply({"model": downloading(0)}, 202), listed(downloading(1_000_000)), listed(state("loaded"))
    )
    client.load("owner/name")
    drawn = terminal.getvalue()
    assert drawn.count("\n") == 1
    assert drawn.endswith("\n")
    first, half, last = drawn.strip("\r\n").split("\r")
    assert f"[{'-' * 24}]  0%  0 B of 2.0 MB" in first
    assert f"[{'#' * 12}{'-' * 12}]  50%  1.0 MB of 2.0 MB" in half
    assert last.rstrip() == f"{NAME}  loaded"
    assert len(last) >= len(half), "what was longer is wiped"


def test_the_bar_stays_within_the_terminal() -> None:
    out = Terminal()
    bar = Bar(out, width=40)
    bar.show(Model("owner/" + "long" * 20, "downloading", Progress("f", 1, 2)))
    assert len(out.getvalue().strip("\r")) < 40


def test_a_log_gets_a_line_for_each_change_and_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    display = display_for(True)
    assert isinstance(display, Lines)
    for done in range(0, 101, 1):
        display.show(Model("m", "downloading", Progress("f", done, 100)))
    display.show(Model("m", "loading"))
    display.show(Model("m", "loaded"))
    display.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11 + 2
    assert lines[0] == "m: downloading  0%  0 B of 100 B"
    assert lines[-1] == "m: loaded"


def test_in_a_notebook_the_bar_is_redrawn_in_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    cell = io.StringIO()
    monkeypatch.setattr(sys, "stdout", cell)
    display = display_for(True)
    assert isinstance(display, Bar)
    display.show(Model("m", "loading"))
    assert cell.getvalue() == "\rm  loading"


def test_nothing_is_shown_when_nothing_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    display = display_for(False)
    display.show(Model("m", "loading"))
    display.close()
    assert capsys.readouterr() == ("", "")


def test_the_rate_counts_from_where_a_resumed_download_began() -> None:
    clock = iter([10.0, 10.0, 12.0])
    rate = Rate(now=lambda: next(clock))
    assert rate.text(Progress("f", 1_000_000, 9_000_000)) == ""
    assert rate.text(Progress("f", 5_000_000, 9_000_000)) == "  2.0 MB/s"
