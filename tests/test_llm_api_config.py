"""LLM API's own configuration becomes settings of a host: the file, the variables over it, and where the model is."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from pydantic import ValidationError

from api_host.config import HostConfig
from api_host.errors import InvalidRequest
from api_host.host import ApiHost
from api_host.llm_api_config import IGNORED, SETTINGS, ModelParams
from api_host.models.demo import DEMO_MODEL_PATH

pytestmark = pytest.mark.usefixtures("clean_settings")

EXAMPLE: dict[str, Any] = {
    "models_dir": "models",
    "model_family": "alpaca",
    "setup_params": {
        "repo_id": "owner/name",
        "filename": "name.Q4_K_M.gguf",
        "convert": False,
        "migrate": False,
    },
    "model_params": {
        "n_ctx": 512,
        "n_parts": -1,
        "n_gpu_layers": 0,
        "seed": -1,
        "use_mmap": True,
        "n_threads": 8,
        "n_batch": 2048,
        "last_n_tokens_size": 64,
        "lora_base": None,
        "lora_path": None,
        "low_vram": False,
        "tensor_split": None,
        "rope_freq_base": 10000.0,
        "rope_freq_scale": 1.0,
        "verbose": False,
    },
}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch, clean_settings: None) -> None:
    for name in ("MODELS_DIR", "MODEL_FAMILY", "MODEL_NAME", "SETUP_PARAMS", "MODEL_PARAMS", "HOST", "PORT"):
        monkeypatch.delenv(f"LLM_API_{name}", raising=False)


def configured(keys: dict[str, Any], **arguments: Any) -> HostConfig:
    """The settings of a host whose config.yaml has these keys."""
    Path("config.yaml").write_text(yaml.safe_dump(keys))
    return HostConfig.from_arguments(**arguments)


def problems(keys: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        configured(keys)
    return caught.value.problems


def with_params(**params: Any) -> dict[str, Any]:
    return {"models_dir": "models", "model_params": params}


def test_the_systems_own_example_becomes_settings_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    config = configured(EXAMPLE)
    assert config.model == "owner/name/name.Q4_K_M.gguf"
    assert (config.models_dir, config.chat_format, config.convert) == (Path("models"), "alpaca", False)
    assert (config.ctx_length, config.threads, config.n_batch, config.n_gpu_layers) == (512, 8, 2048, 0)
    assert (config.use_mmap, config.seed, config.tensor_split, config.lora) == (True, None, None, [])
    assert (config.rope_freq_base, config.rope_freq_scale) == (10000.0, 1.0)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("family", "chat_format"), [("llama", "llama-2"), ("alpaca", "alpaca"), ("vicuna", "vicuna")]
)
def test_a_family_is_a_prompt_style(family: str, chat_format: str) -> None:
    assert configured({"model_family": family}).chat_format == chat_format


def test_every_parameter_of_a_model_has_a_setting_or_a_reason() -> None:
    assert set(ModelParams.model_fields) == {*SETTINGS, *IGNORED, "lora_path"}
    assert set(SETTINGS.values()) <= set(HostConfig.model_fields)


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_what_has_no_meaning_is_left_out_with_a_warning_that_says_why(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    neutral, reason = IGNORED[name]
    value: Any = not neutral if isinstance(neutral, bool) else "x" if name == "lora_base" else 1
    configured(with_params(**{name: neutral}))
    assert caplog.messages == []
    configured(with_params(**{name: value}))
    assert caplog.messages == [f"model_params.{name} is ignored: {reason}"]
    assert caplog.records[0].levelno == logging.WARNING


def test_two_spellings_of_a_setting_have_to_agree() -> None:
    assert configured(with_params(n_ctx=512, ctx_size=512)).ctx_length == 512
    assert problems(with_params(n_ctx=512, ctx_size=1024)) == [
        "model_params.n_ctx: 512 differs from the other spelling of ctx_length; keep one of them"
    ]


def test_adapters_are_named_relative_to_the_folder_of_models(tmp_path: Path) -> None:
    keys = {"models_dir": str(tmp_path), "model_params": {"lora_path": str(tmp_path / "a" / "lora.gguf")}}
    assert configured(keys).lora == ["a/lora.gguf"]
    assert configured(with_params(lora_path="b.gguf")).lora == ["b.gguf"]
    assert problems({**keys, "models_dir": str(tmp_path / "other")}) == [
        "model_params.lora_path: lies outside of models_dir; put the adapter's GGUF below it"
    ]


def test_variables_override_the_file_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_API_MODELS_DIR", "elsewhere")
    monkeypatch.setenv("LLM_API_SETUP_PARAMS__REPO_ID", "another/repository")
    monkeypatch.setenv("LLM_API_MODEL_PARAMS", '{"n_threads": 2}')
    monkeypatch.setenv("LLM_API_PORT", "8001")
    monkeypatch.setenv("LLM_API_HOST", "0.0.0.0")
    config = configured(EXAMPLE)
    assert config.models_dir == Path("elsewhere")
    assert config.model == "another/repository/name.Q4_K_M.gguf"
    assert (config.threads, config.ctx_length) == (2, 512)
    assert (config.address, config.port) == ("0.0.0.0", 8001)


def test_variables_need_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_API_MODEL_FAMILY", "vicuna")
    monkeypatch.setenv("LLM_API_MODEL_PARAMS__N_CTX", "1024")
    config = HostConfig()
    assert (config.chat_format, config.ctx_length) == ("vicuna", 1024)


def test_arguments_and_the_hosts_own_variables_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_HOST_THREADS", "3")
    config = configured(EXAMPLE, ctx_length=256)
    assert (config.threads, config.ctx_length, config.n_batch) == (3, 256, 2048)


def test_a_variable_overrides_the_other_spelling_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_API_MODEL_PARAMS__N_CTX", "2048")
    assert configured(with_params(ctx_size=1024, num_threads=3)).ctx_length == 2048
    assert HostConfig().threads == 3
    monkeypatch.setenv("LLM_API_MODEL_PARAMS__CTX_SIZE", "512")
    assert len(problems(with_params(ctx_size=1024))) == 1


def test_a_model_that_is_named_elsewhere_outranks_one_that_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = {"models_dir": "models", "model_name": "gone"}
    assert configured(keys, model="demo").model == "demo"
    monkeypatch.setenv("API_HOST_MODEL", "owner/name")
    assert configured(keys).model == "owner/name"


def test_the_hosts_own_keys_may_stand_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured({**EXAMPLE, "tunnel": False, "parallel": 2})
    assert (config.tunnel, config.parallel, config.threads) == (False, 2, 8)
    assert problems({**EXAMPLE, "threads": 4}) == ["threads: LLM API's keys set it too; keep it, or those"]


def test_a_file_of_the_hosts_own_is_read_as_before() -> None:
    config = configured({"model": "demo", "port": 5050, "models_dir": "there"})
    assert (config.model, config.port, config.models_dir) == ("demo", 5050, Path("there"))


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"setup_params": {"repo": "o/n"}},
            "setup_params.repo: there is no such key; did you mean 'repo_id'?",
        ),
        ({"model_params": {"n_ctxx": 5}}, "model_params.n_ctxx: there is no such key; did you mean 'n_ctx'?"),
        ({"model_params": {"zzz": 5}}, "model_params.zzz: there is no such key; allowed: ctx_size, n_ctx, "),
        ({"model_params": {"n_ctx": "many"}}, "model_params.n_ctx: Input should be a valid integer"),
        ({"model_params": 7}, "model_params: Input should be a valid dictionary"),
        (
            {"model_family": "gptq_llama"},
            "model_family: 'gptq_llama' does not run on llama.cpp; allowed: llama, alpaca, vicuna",
        ),
        ({"setup_params": {"filename": "a.gguf"}}, "setup_params.repo_id: is missing"),
        (
            {"setup_params": {"repo_id": "o/n", "filename": "a.bin"}},
            "setup_params.filename: 'a.bin' is no GGUF; allowed: a .gguf file, or setup_params.convert: true",
        ),
        ({"model_name": "gone"}, "model_name: there is no file 'gone' below models_dir; allowed: "),
    ],
)
def test_a_wrong_key_is_told_with_its_name(keys: dict[str, Any], sentence: str) -> None:
    found = problems(keys)
    assert len(found) == 1
    assert found[0].startswith(sentence)


def test_a_wrong_key_at_the_top_is_told_with_its_name() -> None:
    with pytest.raises(ValidationError, match="modle_family"):
        configured({**EXAMPLE, "modle_family": "llama"})


def test_another_file_can_be_named_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.yaml").write_text("threads: 7")
    assert configured(EXAMPLE, config_file="mine.yaml").threads == 7
    assert HostConfig(config_file="").model is None
    monkeypatch.setenv("API_HOST_CONFIG_FILE", "mine.yaml")
    assert HostConfig().threads == 7
    with pytest.raises(InvalidRequest, match=r"config_file: there is no file 'gone\.yaml'"):
        HostConfig(config_file="gone.yaml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("a: [", "cannot be read"), ("- a", "is no YAML of keys and values"), ("\0", "cannot be read")],
)
def test_a_file_that_is_no_configuration_is_told(text: str, reason: str) -> None:
    Path("config.yaml").write_text(text)
    with pytest.raises(InvalidRequest, match=f"config_file: 'config.yaml' {reason}"):
        HostConfig()


def test_an_empty_file_sets_nothing() -> None:
    Path("config.yaml").write_text("# nothing yet\n")
    assert HostConfig().model is None


def folder_with(*names: str) -> dict[str, Any]:
    Path("models").mkdir(exist_ok=True)
    for name in names:
        Path("models", name).write_bytes(b"")
    return {"models_dir": "models", "setup_params": {"repo_id": "owner/name", "filename": "far.gguf"}}


@pytest.mark.parametrize(
    ("there", "name", "model"),
    [
        ("near.gguf", "near.gguf", "near.gguf"),
        ("near.gguf", "near", "near.gguf"),
        ("far.gguf", "near", "far.gguf"),
        ("other.gguf", "near", "owner/name/far.gguf"),
    ],
)
def test_a_model_that_is_there_is_taken_from_the_disk(there: str, name: str, model: str) -> None:
    assert configured({**folder_with(there), "model_name": name}).model == model


@pytest.mark.parametrize("key", ["convert", "migrate"])
def test_a_file_from_before_gguf_is_asked_for_by_the_name_of_the_gguf_it_becomes(key: str) -> None:
    setup = {"repo_id": "owner/name", "filename": "ggml-model-q4_0.bin", key: True}
    config = configured({"setup_params": setup})
    assert (config.model, config.convert) == ("owner/name/ggml-model-q4_0.gguf", True)
    setup["filename"] = "alpaca.ggml.bin"  # of which one ending alone is replaced
    assert configured({"setup_params": setup}).model == "owner/name/alpaca.ggml.gguf"
    legacy = {**folder_with("ggml-llama-7b-q4.bin"), "setup_params": setup}
    found = configured({**legacy, "model_family": "llama", "model_name": "7b"})
    assert found.model == "ggml-llama-7b-q4.gguf"


def test_the_folder_of_an_argument_is_the_one_that_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(b"")
    keys = {**folder_with(), "model_name": "mine"}
    assert configured(keys, models_dir=tmp_path).model == "mine.gguf"


def test_a_host_starts_from_such_a_file_and_answers(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(DEMO_MODEL_PATH.read_bytes())
    keys = {"models_dir": str(tmp_path), "model_name": "tiny", "model_params": {"n_ctx": 256, "seed": 1}}
    Path("config.yaml").write_text(yaml.safe_dump(keys))
    with ApiHost(tunnel=False, port=0, announce=False) as host:
        body = {"prompt": "<|user|>\nWhat is the capital of France?<|end|>\n<|assistant|>\n"}
        headers = {"Authorization": f"Bearer {host.access_token}"}
        params = {"temp": 0, "repeat_penalty": 1.0}
        answer = requests.post(
            f"{host.local_url}/generate", json={**body, "params": params}, headers=headers, timeout=30
        )
    assert answer.json() == "The capital of France is Paris."
