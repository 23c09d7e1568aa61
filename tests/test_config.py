"""The host's own settings, wrong: in a file of another shape, in a variable that is no list."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from api_host.config import HostConfig
from api_host.errors import InvalidRequest

pytestmark = pytest.mark.usefixtures("clean_settings")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("5000: x", "config_file: 'config.yaml' has the key 5000, which is no text; name a setting"),
        ("~: 1", "config_file: 'config.yaml' has the key None, which is no text; name a setting"),
        ("true: 1", "config_file: 'config.yaml' has the key True, which is no text; name a setting"),
        ("a: " + "[" * 3000, "config_file: 'config.yaml' cannot be read: it is nested too deeply"),
    ],
)
def test_a_file_with_what_no_setting_is_has_its_sentence(text: str, sentence: str) -> None:
    Path("config.yaml").write_text(text)
    with pytest.raises(InvalidRequest) as told:
        HostConfig()
    assert told.value.problems == [sentence]


@pytest.mark.parametrize("text", ["owner/name", "[owner/name]", '"owner/name"', "7"])
def test_a_variable_that_is_no_list_says_what_is_expected(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_HOST_LORA", text)
    monkeypatch.setenv("API_HOST_TENSOR_SPLIT", "1,1")
    with pytest.raises(ValidationError) as told:
        HostConfig()
    lora, split = sorted(problem["msg"] for problem in told.value.errors())
    assert 'a list, such as ["owner/name/adapter.gguf"]' in lora
    assert "a list, such as [3, 1]" in split
    monkeypatch.setenv("API_HOST_LORA", '["owner/name/a.gguf"]')
    monkeypatch.setenv("API_HOST_TENSOR_SPLIT", "[1, 1]")
    assert (HostConfig().lora, HostConfig().tensor_split) == (["owner/name/a.gguf"], [1.0, 1.0])


@pytest.mark.parametrize("keys", ["", "model_name: mine\n"])
def test_a_home_that_nobody_has_is_told_of_a_setting_and_a_file(
    keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("config.yaml").write_text(f"{keys}models_dir: ~nobody-of-that-name/models")
    with pytest.raises((ValidationError, InvalidRequest), match="nobody here has the home folder"):
        HostConfig()
    with pytest.raises((ValidationError, InvalidRequest), match="nobody here has the home folder"):
        HostConfig(models_dir=Path("~nobody-of-that-name"), config_file="")
    monkeypatch.setenv("API_HOST_CONFIG_FILE", "~nobody-of-that-name/config.yaml")
    with pytest.raises(InvalidRequest, match="cannot be read: Could not determine home directory"):
        HostConfig()


@pytest.mark.parametrize("name", ["rope_freq_base", "rope_freq_scale", "tensor_split"])
def test_infinity_is_no_number_to_compute_with(name: str) -> None:
    with pytest.raises(ValidationError, match="finite"):
        HostConfig(**{name: [float("inf"), 1] if name == "tensor_split" else float("inf")})


@pytest.mark.parametrize("name", ["n_batch", "use_mmap", "tensor_split"])
def test_auto_is_what_each_setting_takes_whose_default_it_is(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HostConfig(**{name: "auto"}) == HostConfig()
    monkeypatch.setenv(f"API_HOST_{name.upper()}", "auto")
    Path("config.yaml").write_text("n_batch: 64\nuse_mmap: true\ntensor_split: [1, 3]\n")
    assert getattr(HostConfig(), name) is None


def test_an_empty_folder_of_models_is_the_hubs_cache_and_not_the_working_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("API_HOST_MODELS_DIR", "")
    assert HostConfig().models_dir is None
    Path("config.yaml").write_text("model_name: mine\n")
    Path("mine.gguf").touch()
    with pytest.raises(InvalidRequest, match="model_name: there is no file 'mine' below models_dir"):
        HostConfig()
