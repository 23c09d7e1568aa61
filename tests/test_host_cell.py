"""What becomes of a host when the cell of a notebook that starts it is run again."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from api_host.host import ApiHost
from tests.fakes.asking import post, text_of, within

pytestmark = pytest.mark.usefixtures("clean_settings", "notebook")


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api_host.host.in_notebook", lambda: True)


def test_a_cell_that_is_run_again_finds_its_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"model": "demo", "tunnel": False, "port": 0, "models_dir": tmp_path}
    first = ApiHost(**settings).start()  # type: ignore[arg-type]
    again = ApiHost(**settings).start()  # type: ignore[arg-type]
    assert (again.local_url, again.access_token) == (first.local_url, first.access_token)
    other = ApiHost(**{**settings, "model": None}).start()  # type: ignore[arg-type]
    try:
        assert not first.running and not again.running
        assert other.running
        text_of(post(other, {"model": "demo", "inputs": "Hello"}))
    finally:
        other.stop()
    assert capsys.readouterr().out.count(str(first.access_token)) >= 4


def test_a_cell_that_runs_its_host_again_returns_when_that_is_stopped(tmp_path: Path) -> None:
    first = ApiHost(tunnel=False, port=0, models_dir=tmp_path, announce=False).start()
    again = ApiHost(tunnel=False, port=0, models_dir=tmp_path, announce=False)
    serving = threading.Thread(target=again.run, daemon=True)
    serving.start()
    assert within(5, lambda: again.running)
    assert again.local_url == first.local_url
    again.stop()
    serving.join(5)
    assert not serving.is_alive()
    assert not first.running


def test_a_cell_that_is_run_again_with_another_hub_token_gets_a_host_with_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    first = ApiHost(tunnel=False, port=0, models_dir=tmp_path, announce=False).start()
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    with ApiHost(tunnel=False, port=0, models_dir=tmp_path, announce=False) as again:
        assert not first.running
        assert again._hub_token == "hf_right"


def test_a_cell_that_is_run_again_is_told_of_a_host_that_was_silent_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ApiHost(tunnel=False, port=0, models_dir=tmp_path, announce=False).start()
    assert capsys.readouterr().out == ""
    with ApiHost(tunnel=False, port=0, models_dir=tmp_path) as again:
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == [f"Access token: {first.access_token}", f"Local URL: {first.local_url}"]
        text_of(post(again, {"model": "demo", "inputs": "Hello"}))
    assert "Model: demo is loaded" in capsys.readouterr().out
