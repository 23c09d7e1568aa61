"""``api-host chat`` as a person has it: keys, history, /commands, Ctrl-C, Markdown."""

from __future__ import annotations

import importlib
import io
import json
import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from api_host.cli import exits
from api_host.cli.line_input import history_file
from tests.cli.terminal import CTRL_C, CTRL_D, ERASE_LINE, TAB, UP, Terminal
from tests.fakes.event_server import HEAD, EventServer, Piece, chunk

Begin = Callable[..., Terminal]
QUESTION = "What is the capital of France?"
STORY = "Write a short story about a cat that steals food."
HISTORY = Path(".local/state/api-host/chat_history")
PROMPT = "> "


@pytest.fixture
def chat(terminal: Begin) -> Callable[..., Terminal]:
    def begin(*arguments: str, **environment: str) -> Terminal:
        shown = terminal("chat", "demo", "--temperature", "0", *arguments, **environment)
        shown.until("/help", PROMPT)
        return shown

    return begin


def hold(shown: Terminal, *lines: tuple[str, str]) -> None:
    """A conversation to its end: a line is typed when the one before has been answered with what stands beside it."""
    for line, told in lines:
        shown.type(f"{line}\n")
        shown.until(told, PROMPT)
    shown.type(CTRL_D)
    assert shown.to_the_end() == 0


@pytest.mark.parametrize(("last", "code"), [(CTRL_D, 0), ("/quit\n", 0), (CTRL_C, exits.INTERRUPTED)])
def test_it_prompts_answers_and_ends(chat: Begin, last: str, code: int) -> None:
    shown = chat()
    shown.type(f"{QUESTION}\n")
    shown.until("The capital of France is Paris.", "tokens per second", PROMPT)
    shown.settle()
    shown.type(last)
    assert shown.to_the_end() == code
    assert "Traceback" not in shown.raw
    assert shown.screen.count("The capital of France is Paris.") == 1


def test_ctrl_c_stops_the_answer_and_a_second_one_at_the_prompt_leaves(chat: Begin) -> None:
    shown = chat("--max-tokens", "30000")
    shown.type("/set ignore_eos true\n")
    shown.until("ignore_eos = true", PROMPT)
    shown.type(f"{STORY}\n")
    shown.until("Biscuit")
    shown.type(CTRL_C)
    shown.until("(stopped)", PROMPT)
    shown.type("/set ignore_eos default\n")
    shown.until("ignore_eos = false", PROMPT)
    shown.type(f"{QUESTION}\n")
    shown.until("tokens per second", PROMPT)
    shown.settle()
    shown.type(CTRL_C)
    assert shown.to_the_end() == exits.INTERRUPTED
    assert "Traceback" not in shown.raw


def test_ctrl_c_drops_what_is_typed_before_it_leaves(chat: Begin) -> None:
    shown = chat()
    shown.type("something half-wr")
    shown.until("half-wr")
    shown.settle()
    shown.type(CTRL_C)
    shown.until(PROMPT)
    shown.type(f"{QUESTION}\n")
    shown.until("Paris", PROMPT)
    shown.type(CTRL_D)
    assert shown.to_the_end() == 0


def test_typed_lines_are_there_again_in_the_next_chat_for_their_owner_alone(
    chat: Begin, tmp_path: Path
) -> None:
    shown = chat()
    shown.type(f"{QUESTION}\n")
    shown.until("Paris", PROMPT)
    shown.process.kill()  # nothing is written at the end
    shown.process.wait()
    file = tmp_path / HISTORY
    assert file.read_text() == f"{QUESTION}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    file.chmod(0o644)
    again = chat()
    again.type(f"{UP}\n")
    again.until(QUESTION, "Paris", PROMPT)
    again.type(CTRL_D)
    assert again.to_the_end() == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("off", [{"arguments": "--no-history"}, {"API_HOST_CHAT_HISTORY": "0"}])
def test_no_history_is_kept_where_none_is_wanted(chat: Begin, tmp_path: Path, off: dict[str, str]) -> None:
    arguments = [off.pop("arguments")] if "arguments" in off else []
    shown = chat(*arguments, **off)
    shown.type(f"{QUESTION}\n")
    shown.until("Paris", PROMPT)
    shown.type(CTRL_D)
    assert shown.to_the_end() == 0
    assert not (tmp_path / HISTORY).exists()


def test_without_a_home_there_is_no_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 2)  # a container's user that has no name
    assert history_file() is None


def test_a_history_that_cannot_be_kept_stops_no_chat(chat: Begin, tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("a file where a folder should be")
    shown = chat()
    assert "is not kept" in shown.raw
    shown.type(f"{QUESTION}\n")
    shown.until("Paris", PROMPT)
    shown.type(CTRL_D)
    assert shown.to_the_end() == 0


def test_tab_completes_commands_parameters_models_and_files(chat: Begin, tmp_path: Path) -> None:
    (tmp_path / "earlier.json").write_text(json.dumps([{"role": "user", "content": "Hello"}]))
    shown = chat()
    for typed, completed in [
        (f"/res{TAB}", "/reset"),
        (f"/set top_{TAB}{TAB}", "top_k"),
        (f"/model de{TAB}", "/model demo"),
        (f"/load ear{TAB}", "/load earlier.json"),
    ]:
        shown.type(typed)
        shown.until(completed)
        shown.type(ERASE_LINE)
    shown.type(CTRL_D)
    assert shown.to_the_end() == 0


def test_a_conversation_is_saved_and_gone_on_with(chat: Begin, tmp_path: Path) -> None:
    shown = chat()
    hold(
        shown,
        (QUESTION, "Paris"),
        ("/save first.json", "Saved to first.json."),
        ("/save first.md", "Saved to first.md."),
        ("/reset", "forgotten"),
        ("/load first.json", "Going on after 1 turns"),
        ("And of Italy?", "Rome"),
        ("/retry", "Rome"),
        ("/save first.json", "Saved"),
        ("/fly", "is no command"),
    )
    kept = json.loads((tmp_path / "first.json").read_text())
    assert [turn["content"] for turn in kept["messages"]][0::2] == [QUESTION, "And of Italy?"]
    assert kept["parameters"] == {"temperature": 0.0}
    assert "**Assistant**\n\nThe capital of France is Paris." in (tmp_path / "first.md").read_text()


def test_a_file_that_cannot_be_used_costs_no_conversation(chat: Begin, tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "half.json").write_text(
        r'[{"role": "user", "content": "\ud800"}, {"role": "assistant", "content": "?"}]'
    )
    for name, parameters in [("odd", {"system": "a name of the client's"}), ("hot", {"temperature": "hot"})]:
        (tmp_path / f"{name}.json").write_text(json.dumps({"messages": [], "parameters": parameters}))
    shown = chat()
    hold(
        shown,
        (QUESTION, "Paris"),
        (f"/save {'n' * 300}", "cannot be written: File name too long"),
        ("/save ~nobody-of-that-name/first.json", "nobody here has such a home"),
        ("/load ~nobody-of-that-name/first.json", "nobody here has such a home"),
        ("/load deep.json", "it is no JSON"),
        ("/load half.json", "holds no conversation"),
        ("/load odd.json", '"parameters": system: '),
        ("/load hot.json", '"parameters": temperature: '),
        ("And of Italy?", "Rome"),
        ("/save kept.json", "Saved to kept.json."),
    )
    assert len(json.loads((tmp_path / "kept.json").read_text())["messages"]) == 4


def test_a_retry_takes_back_no_earlier_turn_of_the_same_words(chat: Begin, tmp_path: Path) -> None:
    shown = chat()
    hold(
        shown,
        (QUESTION, "Paris"),
        ("/set grammar root ::= (", "grammar = "),
        (QUESTION, "Error: "),
        ("/set grammar default", "grammar = "),
        ("/retry", "tokens per second"),
        ("/retry", "tokens per second"),
        ("/save kept.json", "Saved to kept.json."),
    )
    kept = json.loads((tmp_path / "kept.json").read_text())["messages"]
    assert [turn["content"] for turn in kept[0::2]] == [QUESTION, QUESTION]


def test_ctrl_c_while_another_model_comes_leaves_the_chat_where_it_was(chat: Begin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent_hub:
        shown = chat(HF_ENDPOINT=f"http://127.0.0.1:{silent_hub.getsockname()[1]}")
        shown.type(f"{QUESTION}\n")
        shown.until("Paris", PROMPT)
        shown.type("/model owner/name/file.gguf\n")
        shown.until("owner/name/file.gguf ")
        shown.type(CTRL_C)
        shown.until("(stopped)", PROMPT)
        shown.type("And of Italy?\n")
        shown.until("Rome", PROMPT)
        shown.type(CTRL_D)
        assert shown.to_the_end() == 0


def test_an_error_of_the_host_is_told_and_the_chat_goes_on(chat: Begin) -> None:
    shown = chat()
    shown.type("/model nowhere.gguf\n")
    shown.until("Error: ", "nowhere.gguf", PROMPT)
    shown.type(f"{QUESTION}\n")
    shown.until("Paris", PROMPT)
    shown.type(CTRL_D)
    assert shown.to_the_end() == 0


def answering(text: str) -> Callable[[bytes], list[Piece]]:
    events = [f"data: {json.dumps({'text': text[i : i + 3]})}\n\n" for i in range(0, len(text), 3)]
    events.append('event: done\ndata: {"model": "m", "finish_reason": "stop"}\n\n')
    return lambda body: [
        (0.0, HEAD),
        *((0.002, chunk(event.encode())) for event in events),
        (0.0, chunk(b"")),
    ]


HOSTILE = "# Title\n\nSome **bold** text.\n\n- one\n- two\n\n\x1b[2J\x1b]0;owned\x07done\n"


def test_markdown_is_drawn_and_nothing_in_it_steers_the_terminal(terminal: Begin) -> None:
    with EventServer(answering(HOSTILE)) as host:
        shown = terminal("chat", "--url", f"http://127.0.0.1:{host.port}", "--no-history")
        shown.until("/help", PROMPT)
        shown.type("Hello\n")
        shown.until("done", "tokens per second", PROMPT)
        shown.type(CTRL_D)
        assert shown.to_the_end() == 0
    assert "\x1b[2J" not in shown.raw and "owned\x07" not in shown.raw
    assert "Title\n\nSome bold text.\n\n • one\n • two\n\n[2J]0;owneddone\n" in shown.screen


def test_headings_are_drawn_to_the_left_by_every_release_of_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("rich.markdown.Heading.LEVEL_ALIGN", raising=False)  # releases before 14.3 have none
    monkeypatch.delitem(sys.modules, "api_host.cli.markdown", raising=False)
    view = importlib.import_module("api_host.cli.markdown").MarkdownView
    console = Console(file=io.StringIO(), width=40)
    with view(console) as drawn:
        drawn.add("# One\n\n## Two\n\ntext\n")
    assert console.file.getvalue().split() == ["One", "Two", "text"]
    assert all(line == line.lstrip() for line in console.file.getvalue().splitlines())


def test_plain_shows_the_text_as_it_is_written_but_for_controls(terminal: Begin) -> None:
    with EventServer(answering(HOSTILE)) as host:
        shown = terminal("chat", "--plain", "--url", f"http://127.0.0.1:{host.port}", "--no-history")
        shown.until("/help", PROMPT)
        shown.type("Hello\n")
        shown.until("tokens per second", PROMPT)
        shown.type(CTRL_D)
        assert shown.to_the_end() == 0
    assert "# Title\n\nSome **bold** text." in shown.screen
    assert "\x1b[2J" not in shown.raw
