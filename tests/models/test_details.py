"""What is known of a model on disk without loading it: headers written here, and the hub cache's layout."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest

from api_host.gguf_header import NotGguf, read_header, read_metadata
from api_host.models.demo import DEMO_MODEL_PATH
from api_host.models.details import QUANTIZATIONS, details_of
from api_host.models.hub.hub import Hub
from api_host.models.reference import parse_reference
from tests.fakes.hub import LoopbackHub


def write_model(path: Path, parameters: int = 6) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_token_list(["a", "b", "c"])
    writer.add_token_scores([0.5] * 5000)
    writer.add_chat_template("{{ messages }}")
    writer.add_file_type(15)  # behind the tokenizer, where llama-quantize writes it
    writer.add_tensor("a", np.zeros((2, parameters // 2), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_header_template_quantization_and_parameters_are_told_without_arrays(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf")
    details = details_of("m.gguf", path)
    assert details["metadata"]["llama.context_length"] == 512
    assert details["metadata"]["general.architecture"] == "llama"
    assert not any("tokens" in key or "scores" in key for key in details["metadata"])
    assert details["template"] == "{{ messages }}"
    assert "tokenizer.chat_template" not in details["metadata"]
    assert (details["quantization"], details["n_params"]) == ("Q4_K_M", 6)
    assert (details["name"], details["size"]) == ("m.gguf", path.stat().st_size)
    assert details["modified_at"] == path.stat().st_mtime


def test_the_demo_model_is_known_in_full() -> None:
    details = details_of("demo", DEMO_MODEL_PATH)
    tensors = gguf.GGUFReader(DEMO_MODEL_PATH).tensors
    assert details["n_params"] == sum(int(tensor.n_elements) for tensor in tensors)
    assert details["quantization"] == "Q8_0"
    assert details["template"] and "messages" in details["template"]
    assert details["metadata"]["tokenizer.ggml.add_bos_token"] is True


def test_the_parts_of_a_split_model_count_together(tmp_path: Path) -> None:
    first = write_model(tmp_path / "m-00001-of-00002.gguf", 6)
    second = write_model(tmp_path / "m-00002-of-00002.gguf", 8)
    details = details_of("m-00001-of-00002.gguf", first)
    assert details["n_params"] == 14
    assert details["size"] == first.stat().st_size + second.stat().st_size


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", 6)
    assert details_of("m.gguf", path)["n_params"] == 6
    path.unlink()
    assert details_of("m.gguf", write_model(path, 8))["n_params"] == 8


@pytest.mark.parametrize("n_bytes", [0, 3, 20, 60, 300])
def test_a_file_that_is_no_gguf_or_is_cut_off_has_no_header_but_is_there(
    tmp_path: Path, n_bytes: int
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(DEMO_MODEL_PATH.read_bytes()[:n_bytes])
    details = details_of("m.gguf", path)
    assert (details["metadata"], details["template"], details["n_params"]) == ({}, None, None)
    assert details["size"] == n_bytes
    with pytest.raises(NotGguf):
        read_metadata(path)


def test_an_array_of_arrays_and_an_endless_text_are_refused(tmp_path: Path) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 9)
    path = tmp_path / "m.gguf"
    for array in (
        struct.pack("<IQ", 9, 1),
        struct.pack("<IQQ", 8, 1, 1 << 40),
        *(struct.pack("<IQ", kind, (1 << 64) - 1) for kind in (0, 5, 12)),
        struct.pack("<IQ", 0, 1 << 40),
    ):
        path.write_bytes(head + array)
        with pytest.raises(NotGguf):
            read_metadata(path)
        path.write_bytes(head.replace(b"\x01\0\0\0\0\0\0\0k", struct.pack("<Q", 11) + b"tokenizer.k") + array)
        with pytest.raises(NotGguf):
            read_header(path)
        assert details_of("m.gguf", path)["metadata"] == {}


def test_numbers_that_no_json_can_say_are_left_out(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_float32("llama.rope.freq_base", float("inf"))
    writer.add_float64("llama.rope.scaling.factor", float("nan"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert details_of("m.gguf", tmp_path / "m.gguf")["metadata"] == {"general.architecture": "llama"}


def test_the_digest_is_the_files_sha256_where_the_hubs_cache_knows_it(tmp_path: Path) -> None:
    data = DEMO_MODEL_PATH.read_bytes()
    with LoopbackHub() as loopback:
        loopback.add("owner/name-GGUF", "m.Q8_0.gguf", data)
        hub = Hub(tmp_path / "models", disk_reserve=0, endpoint=loopback.url)
        path = hub.fetch(parse_reference("owner/name-GGUF:Q8_0"))
    assert details_of("owner/name-GGUF:Q8_0", path)["digest"] == hashlib.sha256(data).hexdigest()
    local = details_of("demo", DEMO_MODEL_PATH)["digest"]
    assert len(local) == 64 and local == details_of("demo", DEMO_MODEL_PATH)["digest"]
    assert local != hashlib.sha256(data).hexdigest()


def test_the_names_of_quantizations_are_llama_cpps() -> None:
    theirs = {
        value: name.removeprefix("LLAMA_FTYPE_").removeprefix("MOSTLY_").removeprefix("ALL_")
        for name, value in vars(llama_cpp).items()
        if name.startswith("LLAMA_FTYPE_")
    }
    assert {value: theirs[value] for value in QUANTIZATIONS} == QUANTIZATIONS


def test_both_ways_to_read_a_header_agree() -> None:
    short = {key: value for key, value in read_header(DEMO_MODEL_PATH).items() if not isinstance(value, list)}
    whole = read_metadata(DEMO_MODEL_PATH).values
    assert short and {key: whole[key] for key in short} == short


@contextlib.contextmanager
def as_anybody() -> Iterator[None]:
    """Root may read everything."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_file_that_may_not_be_read_has_a_size_and_no_header() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = write_model(Path(folder) / "m.gguf")
        size = path.stat().st_size
        path.chmod(0)
        with as_anybody():
            details = details_of("m.gguf", path)
    assert (details["size"], details["metadata"], details["quantization"]) == (size, {}, None)
