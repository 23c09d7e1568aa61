"""Spellings of a model, and the names that are refused by their looks."""

from __future__ import annotations

import pytest

from api_host.errors import InvalidRequest
from api_host.models.gguf_files import first_part, models_among, pick, split_parts
from api_host.models.reference import ModelRef, parse_reference, reference_from_parts

SPELLINGS = {
    "demo": ModelRef(),
    "owner/name/file.gguf": ModelRef("owner/name", file_name="file.gguf"),
    "owner/name/Q4_K_M/a b (1)-00001-of-00003.gguf": ModelRef(
        "owner/name", file_name="Q4_K_M/a b (1)-00001-of-00003.gguf"
    ),
    "owner/name:Q4_K_M": ModelRef("owner/name", quant="Q4_K_M"),
    "owner/name": ModelRef("owner/name"),
    "my.gguf": ModelRef(path="my.gguf"),
    "folder/my.GGUF": ModelRef(path="folder/my.GGUF"),
    "a folder/deeper/my.gguf": ModelRef(path="a folder/deeper/my.gguf"),
}

ADDRESSES = {
    "https://huggingface.co/owner/name/resolve/main/sub/file.gguf?download=true": "owner/name/sub/file.gguf",
    "https://huggingface.co/owner/name/blob/main/a%20b.gguf": "owner/name/a b.gguf",
    "https://huggingface.co/owner/name/tree/main": "owner/name",
    "https://huggingface.co/owner/name": "owner/name",
    "hf.co/owner/name:Q4_K_M": "owner/name:Q4_K_M",
    "  owner/name  ": "owner/name",
}

HOSTILE = [
    "",
    "   ",
    "llama",
    "../secret.gguf",
    "owner/../x.gguf",
    "owner/name/../../x.gguf",
    "owner/name/..%2f..%2fx.gguf",
    "/etc/x.gguf",
    "~/x.gguf",
    "./x.gguf",
    "a\\b.gguf",
    "C:\\x.gguf",
    "a//b.gguf",
    "x\x00.gguf",
    "x\n.gguf",
    ".hidden/x.gguf",
    "owner/.name",
    "-owner/name",
    "owner/na--me",
    "owner/name.",
    "owner/name/file.bin",
    "owner/name:Q4/../x",
    "owner/name:",
    "owner:Q4",
    "owner/" + "n" * 97,
    "owner/name/" + "f" * 512 + ".gguf",
    "x" * 2000,
    "http://169.254.169.254/latest/x.gguf",
    "https://huggingface.co.evil.example/owner/name",
    "https://user@huggingface.co/owner/name",
    "https://huggingface.co/owner/name/resolve/dev/file.gguf",
    "file:///etc/x.gguf",
    "https://[x",
    "https://hf.co\u2100/owner/name",
    "owner/name/file.gguf?x=1",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_spelling_is_read_and_written_back_unchanged(text: str) -> None:
    ref = parse_reference(text)
    assert ref == SPELLINGS[text]
    assert ref.name == text
    assert parse_reference(ref.name) == ref


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_that_people_paste_is_the_spelling_inside_it(text: str) -> None:
    assert parse_reference(text).name == ADDRESSES[text]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_or_misspelled_name_is_refused_with_the_field_and_the_cure(text: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_reference(text)
    assert raised.value.message.startswith("model: ")
    assert raised.value.status == 400


def test_the_kinds_of_a_reference_are_told_apart() -> None:
    assert parse_reference("demo").is_demo and not parse_reference("demo").is_local
    assert parse_reference("a.gguf").is_local and not parse_reference("a.gguf").is_demo
    assert not parse_reference("owner/name").is_demo and not parse_reference("owner/name").is_local


def test_two_fields_name_a_file_in_a_folder_of_the_repository() -> None:
    assert reference_from_parts("owner/name", "sub/file.gguf").name == "owner/name/sub/file.gguf"


def test_both_wrong_fields_are_listed_at_once() -> None:
    with pytest.raises(InvalidRequest) as raised:
        reference_from_parts("owner", "../file.gguf")
    assert [problem.partition(":")[0] for problem in raised.value.problems] == ["repo_id", "file_name"]


def test_one_wrong_field_is_listed_alone() -> None:
    with pytest.raises(InvalidRequest) as raised:
        reference_from_parts("owner/name", "file.bin")
    assert len(raised.value.problems) == 1 and "file_name" in raised.value.problems[0]


def test_a_split_file_has_all_its_parts_and_a_later_part_leads_to_the_first() -> None:
    parts = [f"x/m-0000{part}-of-00003.gguf" for part in (1, 2, 3)]
    assert split_parts("x/m-00002-of-00003.gguf") == parts
    assert first_part("x/m-00003-of-00003.gguf") == parts[0]
    assert split_parts("m-00004-of-00003.gguf") == ["m-00004-of-00003.gguf"]
    assert split_parts("m.gguf") == ["m.gguf"]


def test_companions_and_unfinished_splits_are_no_models() -> None:
    names = ["README.md", "mmproj-F16.gguf", "a.imatrix.gguf", "m-00001-of-00002.gguf", "b.gguf"]
    assert models_among(names) == ["b.gguf"]
    assert models_among([*names, "m-00002-of-00002.gguf"]) == ["b.gguf", "m-00001-of-00002.gguf"]


@pytest.mark.parametrize(
    ("quant", "wanted"),
    [
        ("q4_k_m", "m.Q4_K_M.gguf"),
        ("Q4_K", "m.Q4_K.gguf"),
        ("Q4_XS", None),
        ("IQ4_XS", "m-IQ4_XS.gguf"),
        ("Q4_K_XL", "m-Q4_K_XL.gguf"),
        ("UD-Q4_K_XL", "m-UD-Q4_K_XL.gguf"),
        ("Q8_0", "Q8_0/m-00001-of-00002.gguf"),
        ("f16", None),
    ],
)
def test_a_quantization_is_matched_whole_and_in_any_case(quant: str, wanted: str | None) -> None:
    names = ["m.Q4_K_M.gguf", "m.Q4_K.gguf", "m-IQ4_XS.gguf", "m-UD-Q4_K_XL.gguf", "m-Q4_K_XL.gguf"]
    names += ["Q8_0/m-00001-of-00002.gguf", "Q8_0/m-00002-of-00002.gguf", "mmproj-f16.gguf"]
    assert pick(names, quant) == wanted


def test_a_repository_alone_means_its_best_known_quantization_or_its_only_model() -> None:
    assert pick(["m.Q8_0.gguf", "m.Q4_K_M.gguf", "m.Q2_K.gguf"], None) == "m.Q4_K_M.gguf"
    assert pick(["m.Q8_0.gguf", "m.Q4_0.gguf"], None) == "m.Q4_0.gguf"
    assert pick(["only.gguf", "mmproj.gguf"], None) == "only.gguf"
    assert pick(["one.gguf", "two.gguf"], None) is None
