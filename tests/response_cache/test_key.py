"""What makes two requests the same."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from api_host.generation import (
    Adapter,
    GenerationRequest,
    LoadOptions,
    Message,
    SamplingParams,
)
from api_host.response_cache.key import cache_key, files_identity
from tests.response_cache.ground import FILE, GREEDY, HI, Ground

OTHERS: dict[str, Any] = {
    "inputs": [Message("user", "Hi")],
    "model": "other",
    "sampling": dataclasses.replace(GREEDY, max_tokens=7),
    "options": LoadOptions(ctx_length=128),
    "chat_format": "zephyr",
    "lora": [Adapter("demo", 0.5)],
}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(GenerationRequest)])
def test_every_field_of_a_request_is_part_of_the_key(ground: Ground, name: str) -> None:
    ground.files["other"] = FILE
    ground.ask()
    assert ground.ask(dataclasses.replace(HI, **{name: OTHERS.get(name, "another value")}))[0] == "miss"
    assert ground.ask()[0] == "hit"


def test_every_sampling_parameter_is_part_of_the_key() -> None:
    keys = set()
    for field in dataclasses.fields(SamplingParams):
        sampling = dataclasses.replace(GREEDY, **{field.name: "another value"})
        keys.add(cache_key(dataclasses.replace(HI, sampling=sampling), "demo", FILE, ""))
    assert len(keys) == len(dataclasses.fields(SamplingParams))


def test_the_order_inside_a_schema_counts() -> None:
    keys = [
        cache_key(dataclasses.replace(HI, sampling=SamplingParams(json_schema=schema)), "demo", FILE, "")
        for schema in ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    ]
    assert keys[0] != keys[1]


def test_a_model_has_one_key_however_it_is_spelled(ground: Ground) -> None:
    ground.ask(dataclasses.replace(HI, model="demo"))
    assert ground.ask()[0] == "hit"


def test_another_file_under_the_same_name_is_another_model(ground: Ground) -> None:
    ground.ask()
    ground.files["demo"] = "demo.gguf 6"
    assert ground.ask()[0] == "miss"


def test_another_adapter_file_is_another_model(ground: Ground) -> None:
    request = dataclasses.replace(HI, lora=[Adapter("style")])
    ground.files["style"] = "1"
    assert [ground.ask(request)[0] for _ in range(2)] == ["miss", "hit"]
    ground.files["style"] = "2"
    assert ground.ask(request)[0] == "miss"


def test_a_files_identity_is_its_content_where_the_hub_has_named_it_so(tmp_path: Path) -> None:
    checksum = "0123456789abcdef" * 4
    blob, link = tmp_path / "blobs" / checksum, tmp_path / "model.gguf"
    blob.parent.mkdir()
    blob.write_bytes(b"12345")
    link.symlink_to(blob)
    assert files_identity([link]) == f"{checksum} 5"
    os.utime(blob, (1, 1))
    assert files_identity([link]) == f"{checksum} 5"
    before = files_identity([blob])
    os.utime(blob, (2, 2))
    assert files_identity([blob]) not in (before, None)
    assert files_identity([link, None]) is None
    blob.unlink()
    assert files_identity([link]) is None


def test_a_link_of_the_owners_is_known_by_what_it_leads_to(tmp_path: Path) -> None:
    target, link = tmp_path / "model-v1.gguf", tmp_path / "current.gguf"
    target.write_bytes(b"12345")
    link.symlink_to(target)
    before = files_identity([link])
    assert before == files_identity([target])
    os.utime(target, (1, 1))
    assert files_identity([link]) not in (before, None)
