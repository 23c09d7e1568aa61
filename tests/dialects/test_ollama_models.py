"""What the Ollama API tells of models and does with them, with its official client and on a pipeline without models."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import ollama
import pytest
import requests

from api_host.errors import DownloadFailed
from api_host.generation import Accepted, Finished, Timings, Usage, Waiting
from api_host.host import ApiHost
from api_host.models.demo import DEMO_MODEL_PATH
from api_host.web.dialects.ollama.models import in_detail, in_memory, parameter_size
from tests.fakes.asking import capital_of, model_of, within
from tests.fakes.hub import LoopbackHub
from tests.fakes.pipeline import Step
from tests.web.site import Site

GREEDY = {"temperature": 0}
FRANCE = "What is the capital of France?"
REPO = "owner/name-GGUF"


def authorization(host: ApiHost) -> dict[str, str]:
    return {"Authorization": f"Bearer {host.access_token}"}


@pytest.fixture
def client(demo_host: ApiHost) -> Iterator[ollama.Client]:
    client = ollama.Client(demo_host.local_url, headers=authorization(demo_host), timeout=30)
    yield client
    client.close()


@pytest.fixture(scope="module", autouse=True)
def _loaded(demo_host: ApiHost) -> None:
    """What a test leaves is told from the host's own worker, which is there by then."""
    with demo_host.client() as client:
        client.load("demo")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def test_the_models_on_disk_and_in_memory_are_told(client: ollama.Client) -> None:
    client.generate("demo", FRANCE, options=GREEDY)
    (listed,) = [model for model in client.list().models if model.model == "demo"]
    assert listed.size == DEMO_MODEL_PATH.stat().st_size
    assert listed.details and listed.digest and len(listed.digest) == 64
    assert (listed.details.family, listed.details.quantization_level) == ("llama", "Q8_0")
    assert (listed.details.format, listed.details.parameter_size) == ("gguf", "1.9M")
    (loaded,) = [model for model in client.ps().models if model.model == "demo"]
    assert (loaded.name, loaded.context_length, loaded.size) == ("demo", 2048, listed.size)
    assert loaded.expires_at and loaded.expires_at > datetime.now(timezone.utc)
    assert (loaded.size_vram or 0) <= listed.size


def test_a_model_is_shown_with_template_and_header(client: ollama.Client) -> None:
    shown = client.show("demo")
    assert shown.template and "messages" in shown.template
    assert shown.modelinfo and shown.modelinfo["llama.context_length"] == 2048
    assert shown.modelinfo["general.parameter_count"] == 1930944
    assert (shown.capabilities, shown.license) == (["completion"], "MIT")
    assert shown.details and shown.details.family == "llama"


def test_no_prompt_only_loads_and_keep_alive_0_unloads(demo_host: ApiHost, client: ollama.Client) -> None:
    def names() -> list[str | None]:
        return [model.model for model in client.ps().models]

    assert client.generate("demo").done_reason == "load"
    assert "demo" in names()
    unloaded = client.generate("demo", keep_alive=0)
    assert (unloaded.done_reason, unloaded.response, names()) == ("unload", "", [])
    assert client.chat("demo", []).done_reason == "load"
    answer = client.chat("demo", capital_of("Italy"), options=GREEDY, keep_alive="0s")
    assert (answer.message.content, names()) == ("The capital of Italy is Rome.", [])
    *_, last = client.generate("demo", FRANCE, options=GREEDY, keep_alive=0, stream=True)
    assert last.done and within(5, lambda: names() == [])
    assert model_of(demo_host, "demo")["status"] == "unloaded"
    assert client.chat("demo", [], keep_alive=0).done_reason == "unload"


def test_a_pull_tells_its_progress_and_the_model_is_there(
    demo_host: ApiHost, client: ollama.Client, hub: LoopbackHub
) -> None:
    data = DEMO_MODEL_PATH.read_bytes()
    hub.add(REPO, "m.Q8_0.gguf", data)
    hub.misbehave(bytes_per_second=len(data))
    first, *moved, last = client.pull(f"{REPO}:Q8_0", stream=True)
    assert (first.status, last.status) == ("pulling manifest", "success")
    assert {part.digest for part in moved} == {"m.Q8_0.gguf"}
    done = [part.completed or 0 for part in moved]
    assert done == sorted(done) and done[-1] == len(data) and len(done) > 2
    assert {part.total for part in moved} == {len(data)}
    (listed,) = [model for model in client.list().models if str(model.model).startswith(REPO)]
    assert listed.model == f"{REPO}/m.Q8_0.gguf"
    assert listed.digest == hashlib.sha256(data).hexdigest()
    assert model_of(demo_host, str(listed.model))["status"] == "unloaded"
    asked = len(hub.requests)
    assert client.pull(f"hf.co/{REPO}:Q8_0").status == "success"
    assert len(hub.requests) == asked


def test_a_pull_whose_client_goes_ends(demo_host: ApiHost, hub: LoopbackHub, leaves_nothing: Any) -> None:
    hub.add(REPO, "slow.Q4_0.gguf", bytes(1_000_000))
    hub.misbehave(file="slow.Q4_0.gguf", bytes_per_second=50_000)
    with send(demo_host, "/api/pull", {"model": f"{REPO}/slow.Q4_0.gguf"}):
        assert within(10, lambda: ("GET", f"/{REPO}/resolve/main/slow.Q4_0.gguf") in paths(hub))
    leaves_nothing()


def test_what_is_not_there_is_a_404(client: ollama.Client, hub: LoopbackHub) -> None:
    for ask in (
        lambda: client.pull("owner/none"),
        lambda: client.show("owner/none"),
        lambda: client.generate("llama3.2", "Hi"),
        lambda: list(client.chat("llama3.2", capital_of("Italy"), stream=True)),
    ):
        with pytest.raises(ollama.ResponseError) as refusal:
            ask()
        assert refusal.value.status_code == 404, refusal.value
    with pytest.raises(ollama.ResponseError, match="owner/none is not on the hub"):
        list(client.pull("owner/none", stream=True))


def lines(response: requests.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/x-ndjson"
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]


def test_a_pull_shows_each_step_once_and_a_late_failure_last(site: Site) -> None:
    def moved(done: int) -> Waiting:
        return Waiting("downloading", {"file": "m.gguf", "bytes_done": done, "bytes_total": 9})

    steps: list[Step] = [Waiting("downloading"), moved(0), moved(4), moved(4), 0.3]
    end: list[Step] = [moved(9), Accepted("owner/name", 0), Finished(Usage(), Timings())]
    site.pipeline.script = lambda request: [*steps, *end]
    told = lines(site.post({"name": "owner/name"}, "/api/pull"))
    assert [line.get("completed") for line in told] == [None, 0, 4, 9, None]
    assert told[0] == {"status": "pulling manifest"} and told[-1] == {"status": "success"}
    assert told[1] == {"status": "pulling m.gguf", "digest": "m.gguf", "total": 9, "completed": 0}
    assert site.pipeline.pulled == ["owner/name"]
    assert site.post({"model": "owner/name", "stream": False}, "/api/pull").json() == {"status": "success"}
    site.pipeline.script = lambda request: [*steps, moved(5), DownloadFailed("it broke off")]
    assert lines(site.post({"model": "owner/name"}, "/api/pull"))[-1] == {"error": "it broke off"}


DETAILS: dict[str, Any] = {
    "name": "owner/name:Q4_K_M",
    "size": 1000,
    "modified_at": 1e9,
    "digest": "0" * 64,
    "metadata": {
        "general.architecture": "qwen3",
        "tokenizer.ggml.fim_pre_token_id": 5,
        "qwen3.x": float("nan"),
    },
    "template": "{% if tools %}{{ enable_thinking }}{% endif %}",
    "quantization": "Q4_K_M",
    "n_params": 7_615_616_512,
}


def test_what_a_model_can_do_is_read_from_its_header_and_template(site: Site) -> None:
    site.pipeline.on_disk["demo"] = DETAILS  # type: ignore[assignment]
    shown = site.post({"model": "demo"}, "/api/show").json()
    assert shown["capabilities"] == ["completion", "tools", "insert", "thinking"]
    assert (shown["details"]["parameter_size"], shown["modified_at"]) == ("7.6B", "2001-09-09T01:46:40Z")
    assert shown["model_info"]["qwen3.x"] is None
    metadata = {"general.architecture": "bert", "bert.pooling_type": 1}
    bert = in_detail({**DETAILS, "metadata": metadata, "template": None, "n_params": None})  # type: ignore[typeddict-item]
    assert (bert["capabilities"], bert["template"]) == (["embedding"], "")
    assert [parameter_size(n) for n in (None, 12, 1500, 22_700_000)] == ["", "12", "1.5K", "22.7M"]


def test_models_that_are_not_on_disk_are_not_listed_and_only_loaded_ones_are_in_memory(site: Site) -> None:
    pipeline = site.pipeline
    pipeline.known = [
        {"name": "a/b:Q4_K_M", "status": "loaded", "n_ctx": 4096, "n_gpu_layers": 5, "n_layer": 9},
        {"name": "a/b:Q8_0", "status": "unloaded"},
        {"name": "a/b:F16", "status": "downloading"},
    ]
    pipeline.on_disk = {
        name: {**DETAILS, "name": name}  # type: ignore[typeddict-item]
        for name in ("a/b:Q4_K_M", "a/b:Q8_0")
    }
    names = [model["name"] for model in site.get("/api/tags").json()["models"]]
    assert names == ["a/b:Q4_K_M", "a/b:Q8_0"]
    (loaded,) = in_memory(pipeline)
    assert (loaded["name"], loaded["size_vram"], loaded["context_length"]) == ("a/b:Q4_K_M", 500, 4096)


def send(host: ApiHost, path: str, body: dict[str, Any]) -> socket.socket:
    """Sends a request and reads nothing; closing the socket is the client's going."""
    content = json.dumps({"token": host.access_token, **body}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    sock = socket.create_connection(("127.0.0.1", int(host.local_url.rpartition(":")[2])))
    sock.sendall(head.encode() + content)
    return sock


def paths(hub: LoopbackHub) -> list[tuple[str, str]]:
    return hub.requests
