"""``deploy/truss``: the Model that a Truss server loads, in this process, with the demo model."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from api_host.errors import GenerationFailed
from api_host.generation import Accepted, Chunk
from api_host_client.errors import ModelError
from tests.fakes.pipeline import FakePipeline
from tests.web.site import ENDLESS, TOKEN, Site, until

FOLDER = Path(__file__).parents[2] / "deploy" / "truss"
MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
QUESTION = {"messages": MESSAGES, "do_sample": False}
PARIS = "The capital of France is Paris."


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """model/model.py, imported as a Truss server does: by its path."""
    spec = importlib.util.spec_from_file_location("truss_model", FOLDER / "model" / "model.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The folder's own config.yaml, with the demo model."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / "config.yaml").read_text())
    settings = {"model": "demo", "ctx_length": 256, "models_dir": str(tmp_path_factory.mktemp("truss"))}
    found["model_metadata"]["api_host"] |= {**settings, "announce": False}
    return found


@pytest.fixture(scope="module")
def model(module: ModuleType, config: dict[str, Any]) -> Iterator[Any]:
    made = module.Model(config=config, data_dir=Path("data"), secrets=Secrets(), environment=None)
    made.load()
    yield made
    made.stop()


def test_predict_streams_the_text_unless_it_is_told_not_to(model: Any) -> None:
    pieces = model.predict(QUESTION)
    assert iter(pieces) is pieces
    found = list(pieces)
    assert "".join(found) == PARIS
    assert all(isinstance(piece, str) for piece in found)


def test_predict_answers_with_the_whole_conversation(model: Any) -> None:
    found = model.predict({**QUESTION, "stream": False})
    assert found == {"output": f"<|user|>\n{MESSAGES[0]['content']}<|end|>\n<|assistant|>\n{PARIS}"}


def test_the_model_is_loaded_when_load_returns(model: Any) -> None:
    with model._host.client() as client:
        assert [found.name for found in client.models() if found.loaded] == ["demo"]


def test_a_wrong_argument_is_raised_with_its_sentence(module: ModuleType, model: Any) -> None:
    with pytest.raises(module.PredictError, match="num_beams: 4 has no equivalent here") as caught:
        model.predict({**QUESTION, "num_beams": 4})
    assert caught.value.status == 400


def test_what_is_no_number_is_refused_as_any_wrong_argument(module: ModuleType, model: Any) -> None:
    with pytest.raises(module.PredictError, match="temperature: NaN") as caught:
        model.predict({**QUESTION, "temperature": float("nan")})
    assert caught.value.status == 400


def test_a_proxy_and_a_login_of_the_container_are_not_asked(
    model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert "".join(model.predict(QUESTION)) == PARIS
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert "".join(model.predict(QUESTION)) == PARIS


def test_a_truss_server_gets_the_exception_that_it_passes_on(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class HTTPException(Exception):
        def __init__(self, status_code: int, detail: str) -> None:
            super().__init__(detail)
            self.status_code = status_code

    fastapi = ModuleType("fastapi")
    fastapi.HTTPException = HTTPException  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fastapi", fastapi)
    with pytest.raises(HTTPException, match="messages: is missing") as caught:
        model.predict({})
    assert caught.value.status_code == 400


def test_before_load_it_says_so(module: ModuleType, config: dict[str, Any]) -> None:
    with pytest.raises(module.PredictError, match="not loaded yet"):
        module.Model(config=config).predict(QUESTION)


class Secrets:
    """As Truss hands them out: looked up by name, and an error of its own for one that is not set."""

    def __init__(self, **values: str) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        if name not in self._values:
            raise RuntimeError(f"secret {name} is not set")
        return self._values[name]


def test_a_declared_secret_becomes_the_hubs_token(module: ModuleType, config: dict[str, Any]) -> None:
    declared = {**config, "secrets": {"hf_access_token": None}}
    made = module.Model(config=declared, secrets=Secrets(hf_access_token="hf_x"))
    assert made._settings["hub_token"] == "hf_x"
    assert "hub_token" not in module.Model(config=config, secrets=Secrets())._settings
    with pytest.raises(RuntimeError, match="hf_access_token is not set"):
        module.Model(config=declared, secrets=Secrets())


def test_load_and_stop_leave_nothing_behind(
    module: ModuleType,
    config: dict[str, Any],
    leaves_nothing: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the folder of a Truss server, whose config.yaml is Truss's own."""
    monkeypatch.chdir(FOLDER)
    made = module.Model(config=config)
    made.load()
    assert "".join(made.predict(QUESTION)) == PARIS
    made.stop()


def test_a_load_that_fails_or_is_repeated_leaves_one_host_at_most(
    module: ModuleType, config: dict[str, Any], leaves_nothing: Callable[[], None]
) -> None:
    settings = config["model_metadata"]["api_host"]
    made = module.Model(config={"model_metadata": {"api_host": {**settings, "model": "missing.gguf"}}})
    for _ in range(2):
        with pytest.raises(ModelError):
            made.load()
    leaves_nothing()
    with pytest.raises(module.PredictError, match="not loaded yet"):
        made.predict(QUESTION)
    made = module.Model(config=config)
    made.load()
    made.load()
    assert "".join(made.predict(QUESTION)) == PARIS
    made.stop()


class SiteAsHost:
    """A site on a fake pipeline in the place of the Model's host."""

    def __init__(self, site: Site) -> None:
        self.local_url, self.access_token = site.url, TOKEN


@pytest.fixture
def faked(module: ModuleType, site: Site) -> Any:
    made = module.Model()
    made._host = SiteAsHost(site)
    return made


def test_a_late_error_comes_out_of_the_iterator(
    module: ModuleType, faked: Any, pipeline: FakePipeline
) -> None:
    pipeline.script = lambda request: [Accepted("demo", 1), Chunk("Hél"), 0.05, GenerationFailed("it bröke")]
    pieces = faked.predict(QUESTION)
    assert next(pieces) == "Hél"
    with pytest.raises(module.PredictError, match="it bröke") as caught:
        next(pieces)
    assert caught.value.status == 500


def test_a_late_error_of_a_whole_answer_is_raised(
    module: ModuleType, faked: Any, pipeline: FakePipeline
) -> None:
    pipeline.script = lambda request: [
        Accepted("demo", 1),
        0.3,
        Chunk("x"),
        0.3,
        GenerationFailed("it broke"),
    ]
    with pytest.raises(module.PredictError, match="it broke"):
        faked.predict({**QUESTION, "stream": False})


def test_closing_the_iterator_ends_the_generation(faked: Any, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: ENDLESS
    pieces = faked.predict(QUESTION)
    assert next(pieces)
    pieces.close()
    assert until(lambda: pipeline.generations[-1].ended.is_set())


def test_the_requirements_are_those_of_the_package() -> None:
    root = FOLDER.parents[1]
    text = (root / "pyproject.toml").read_text()
    listing = re.search(r"^dependencies = \[\n(.*?)\n\]", text, re.DOTALL | re.MULTILINE)
    assert listing is not None
    needed = set(re.findall(r'"(.+)"', listing[1]))
    lines = (FOLDER / "requirements.txt").read_text().splitlines()
    listed = {line for line in lines if line and line[0] not in "#-"}
    assert listed == {name for name in needed if not name.startswith("api-host-client")}
