"""The card in a real kernel: two places, kept up to date, with no token in them, gone quiet at the end."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from tests.fakes.cloudflared import install
from tests.fakes.processes import below
from tests.notebook.running import Kernel, html_of, notebook_of, run

TOKEN = "my-long-secret"
START = """
from api_host import ApiHost
host = ApiHost(model="demo", port=0)
host.start();
"""
USE = """
import threading, time, requests
deadline = time.monotonic() + 30
while host.url == host.local_url and time.monotonic() < deadline:
    time.sleep(0.05)
client = host.client()
client.load("demo")
for _ in range(7):
    client.chat("What is the capital of France?")
requests.post(host.local_url + "/api", json={"token": host.access_token, "inputs": 5}, timeout=10)
time.sleep(4)
print([thread.name for thread in threading.enumerate()].count("card"))
"""
ASK = "host.show_token(1)"
WAIT = "time.sleep(6)"
AGAIN = "host.start();"
STOP = """
host.stop()
print([thread.name for thread in threading.enumerate()].count("card"))
"""
CELLS = {"start": START, "use": USE, "ask": ASK, "wait": WAIT, "again": AGAIN, "stop": STOP}


class Ran:
    """One notebook after its run, and what its kernel has shown."""

    def __init__(self, notebook: Any, kernel: Kernel) -> None:
        self.cells = dict(zip(CELLS, notebook.cells, strict=True))
        self.saved = nbformat.writes(notebook)
        self.shown = kernel.shown

    def of(self, place: str) -> list[dict[str, Any]]:
        """All that was shown in one place, in turn."""
        return [shown for shown in self.shown if shown["transient"]["display_id"] == place]

    @property
    def places(self) -> list[str]:
        """The places in the order in which they were opened."""
        return [shown["transient"]["display_id"] for shown in self.shown if shown["kind"] == "display_data"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("cell")
    before = below()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
        monkeypatch.setenv("API_HOST_TOKEN", TOKEN)
        monkeypatch.setenv("API_HOST_CLOUDFLARED", str(install(folder)))
        monkeypatch.setenv("API_HOST_TUNNEL_PROBE", "0")
        monkeypatch.setenv("API_HOST_MODELS_DIR", str(folder))
        notebook = notebook_of(CELLS.values())
        yield Ran(notebook, run(notebook, folder))
    _, alive = psutil.wait_procs(below() - before, timeout=10)
    assert alive == []


def test_the_cell_shows_two_places_and_fills_them_anew(ran: Ran) -> None:
    above, below = ran.places[:2]
    first, *_, last = [shown["data"]["text/html"] for shown in ran.of(above)]
    assert "on its way" in first and ".trycloudflare.com" not in first
    assert "shown by a later cell" in last
    with_url = [shown for shown in ran.of(above) if ".trycloudflare.com" in shown["data"]["text/html"]]
    assert len(with_url) == 1 and "<svg" in with_url[0]["data"]["text/html"]
    figures = [shown["data"]["text/html"] for shown in ran.of(below)]
    assert any("8 so far" in html and "400 on /api, just now: inputs" in html for html in figures)
    assert len(html_of(ran.cells["start"])) == 2, "what is updated takes no more room"


def test_a_place_is_redrawn_at_most_once_a_second_and_only_when_it_changes(ran: Ran) -> None:
    for place in ran.places[:2]:
        shown = [one for one in ran.of(place) if "later cell" not in one["data"]["text/html"]][:-1]
        times = [datetime.fromisoformat(str(one["at"])) for one in shown]
        assert all((after - before).total_seconds() > 0.9 for before, after in itertools.pairwise(times))
        contents = [json.dumps(one["data"]) for one in ran.of(place)]
        assert all(before != after for before, after in itertools.pairwise(contents))


def test_frontends_without_html_get_lines(ran: Ran) -> None:
    above, below = ran.places[:2]
    assert any("Public URL: https://" in shown["data"]["text/plain"] for shown in ran.of(above))
    assert any("Requests: 8 so far" in shown["data"]["text/plain"] for shown in ran.of(below))


def test_the_token_is_shown_only_where_it_is_asked_for_and_taken_out_again(ran: Ran) -> None:
    with_token = {
        shown["transient"]["display_id"] for shown in ran.shown if TOKEN in json.dumps(shown["data"])
    }
    asked = ran.places[2]
    assert with_token == {asked}
    first, last = ran.of(asked)
    assert f"/#token={TOKEN}" in first["data"]["text/html"]
    assert "hidden again" in last["data"]["text/html"]
    again = next(shown for shown in ran.shown if shown["transient"]["display_id"] == ran.places[3])
    assert ran.shown.index(last) < ran.shown.index(again), "it did not wait for the host's end"
    assert TOKEN not in ran.saved


def test_the_card_moves_to_the_cell_that_shows_it_again(ran: Ran) -> None:
    assert "shown by a later cell" in html_of(ran.cells["start"])[0]
    assert html_of(ran.cells["start"])[1] == ""
    assert len(ran.places) == 5


def test_one_thread_keeps_the_card_and_ends_with_the_host(ran: Ran) -> None:
    assert [output.text for output in ran.cells["use"].outputs if output.get("name") == "stdout"][-1] == "1\n"
    assert [output.text for output in ran.cells["stop"].outputs if output.get("name") == "stdout"] == ["0\n"]
    assert "has stopped" in html_of(ran.cells["again"])[0]
    assert ".trycloudflare.com" not in ran.saved, "a host that has stopped leaves no link that leads nowhere"


def test_a_quiet_host_shows_no_card_and_its_token_for_a_while(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    start = "from api_host import ApiHost\nhost = ApiHost(token='my-long-secret', tunnel=False, announce=False, port=0)"
    ask = "host.start()\nhost.show_token(1);\nimport time; time.sleep(5)"
    loud = "ApiHost(token='my-long-secret', tunnel=False, port=0).start();"
    notebook = notebook_of([start, ask, loud, "import threading" + STOP])
    kernel = run(notebook, tmp_path)
    first, last = kernel.shown[:2]
    assert TOKEN in json.dumps(first["data"]) and "hidden again" in json.dumps(last["data"])
    assert len({shown["transient"]["display_id"] for shown in kernel.shown}) == 3, (
        "and a card once it is wanted"
    )
    assert TOKEN not in nbformat.writes(notebook).replace("token='my-long-secret'", "")
    assert [output.text for output in notebook.cells[3].outputs if output.get("name") == "stdout"] == ["0\n"]


def test_a_kernel_that_ends_takes_its_host_along(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    before = below()
    start = "from api_host import ApiHost\nhost = ApiHost(model='demo', tunnel=False, port=0).start()"
    notebook = notebook_of([start, "host.show_token()\nhost.client().load('demo')"])
    run(notebook, tmp_path)
    _, alive = psutil.wait_procs(below() - before, timeout=10)
    assert alive == []
    assert all(output.get("name") != "stderr" for output in notebook.cells[1].outputs)
