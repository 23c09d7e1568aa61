"""A hub that converts: GGML files from before GGUF, local ones and those of the hub, are found as GGUFs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api_host.errors import ModelFileNotFound, ModelLoadFailed
from api_host.gguf_header import read_header
from api_host.host import ApiHost
from api_host.models.hub.before_gguf import ConvertingHub
from api_host.models.hub.hub import Hub
from api_host.models.reference import parse_reference
from tests.fakes.ggml_files import write_ggml
from tests.fakes.hub import LoopbackHub
from tests.fakes.tiny_llama import TinyLlama


@pytest.fixture(scope="module")
def ggml(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("ggml") / "llama.bin"
    write_ggml(path, TinyLlama(n_layer=1))
    return path.read_bytes()


@pytest.fixture
def loopback() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


def converting(loopback: LoopbackHub, folder: Path) -> ConvertingHub:
    return ConvertingHub(folder, disk_reserve=0, endpoint=loopback.url)


@pytest.mark.parametrize("name", ["llama.q4_0.bin", "llama.q4_0.ggml", "llama.q4_0"])
def test_a_local_file_becomes_a_gguf_beside_it(
    loopback: LoopbackHub, tmp_path: Path, ggml: bytes, name: str
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / name).write_bytes(ggml)
    hub = converting(loopback, tmp_path)
    ref = parse_reference("old/llama.q4_0.gguf")
    assert hub.locate(ref) is None
    path = hub.fetch(ref)
    assert path == tmp_path / "old" / "llama.q4_0.gguf" == hub.locate(ref)
    assert read_header(path)["general.architecture"] == "llama"
    assert [model.name for model in hub.cache.list()] == ["old/llama.q4_0.gguf"]
    assert loopback.requests == []


def test_a_gguf_that_is_there_is_left_as_it_is(loopback: LoopbackHub, tmp_path: Path, ggml: bytes) -> None:
    (tmp_path / "llama.bin").write_bytes(ggml)
    (tmp_path / "llama.gguf").write_bytes(b"GGUF of another origin")
    path = converting(loopback, tmp_path).fetch(parse_reference("llama.gguf"))
    assert path.read_bytes() == b"GGUF of another origin"


def test_a_file_of_the_hub_is_downloaded_and_converted_once(
    loopback: LoopbackHub, tmp_path: Path, ggml: bytes
) -> None:
    loopback.add("owner/name", "ggml-model-q4_0.bin", ggml)
    ref = parse_reference("owner/name/ggml-model-q4_0.gguf")
    path = converting(loopback, tmp_path).fetch(ref)
    assert path.name == "ggml-model-q4_0.gguf"
    assert read_header(path)["general.architecture"] == "llama"
    asked = len(loopback.requests)
    later = converting(loopback, tmp_path)
    assert later.locate(ref) == later.fetch(ref) == path
    assert len(loopback.requests) == asked
    assert [model.name for model in later.cache.list()] == [ref.name]
    assert later.cache.remove(ref) > 0
    assert later.locate(ref) is None


def test_a_gguf_of_the_hub_is_preferred(loopback: LoopbackHub, tmp_path: Path, ggml: bytes) -> None:
    loopback.add("owner/name", "m.bin", ggml)
    loopback.add("owner/name", "m.gguf", b"GGUF")
    path = converting(loopback, tmp_path).fetch(parse_reference("owner/name/m.gguf"))
    assert path.read_bytes() == b"GGUF"


def test_what_is_nowhere_is_told_as_ever(loopback: LoopbackHub, tmp_path: Path) -> None:
    loopback.add("owner/name", "other.gguf", b"GGUF")
    with pytest.raises(ModelFileNotFound) as caught:
        converting(loopback, tmp_path).fetch(parse_reference("owner/name/m.gguf"))
    assert "m.gguf" in caught.value.message
    assert caught.value.details["available"] == ["other.gguf"]
    with pytest.raises(ModelFileNotFound):
        converting(loopback, tmp_path).fetch(parse_reference("here.gguf"))


def test_a_file_of_another_kind_is_refused_with_the_reason(loopback: LoopbackHub, tmp_path: Path) -> None:
    loopback.add("owner/name", "pytorch_model.bin", b"PK\x03\x04" + bytes(64))
    with pytest.raises(ModelLoadFailed, match=r"pytorch_model\.bin"):
        converting(loopback, tmp_path).fetch(parse_reference("owner/name/pytorch_model.gguf"))


def test_a_link_out_of_the_folder_is_not_followed(loopback: LoopbackHub, tmp_path: Path, ggml: bytes) -> None:
    (tmp_path / "outside.bin").write_bytes(ggml)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "llama.bin").symlink_to(tmp_path / "outside.bin")
    with pytest.raises(ModelFileNotFound):
        converting(loopback, tmp_path / "models").fetch(parse_reference("llama.gguf"))


@pytest.mark.usefixtures("clean_settings")
def test_a_host_answers_with_a_file_from_before_gguf(tmp_path: Path, ggml: bytes) -> None:
    (tmp_path / "llama.bin").write_bytes(ggml)
    settings = {"models_dir": tmp_path, "model": "llama.gguf", "ctx_length": 128}
    with ApiHost(tunnel=False, port=0, announce=False, convert=True, **settings) as host:
        answer = host.client().complete("the cat", max_tokens=4, top_k=1)
    assert answer.usage.completion_tokens == 4


@pytest.mark.usefixtures("clean_settings")
def test_without_the_setting_nothing_is_converted(loopback: LoopbackHub, tmp_path: Path, ggml: bytes) -> None:
    (tmp_path / "llama.bin").write_bytes(ggml)
    with pytest.raises(ModelFileNotFound):
        Hub(tmp_path, endpoint=loopback.url).fetch(parse_reference("llama.gguf"))
