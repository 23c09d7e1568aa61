"""What a KV cache takes, by a header: layers that keep all tokens, layers with a sliding window, layers without any."""

from __future__ import annotations

from typing import Any

import pytest

from api_host.kv_cache import KvCache, kv_cache


def test_kv_bytes_come_from_the_metadata():
    metadata = {
        "general.architecture": "llama",
        "llama.block_count": 32,
        "llama.embedding_length": 4096,
        "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": 8,
    }
    assert kv_cache(metadata) == KvCache(131_072)
    assert kv_cache({**metadata, "llama.attention.key_length": 256}) == KvCache(32 * 8 * (256 + 128) * 2)
    mixed = [8, 0] * 16
    assert kv_cache({**metadata, "llama.attention.head_count_kv": mixed}) == KvCache(131_072 // 2)
    assert kv_cache({}) == KvCache(0)


TOY = {"general.architecture": "toy", "toy.block_count": 2, "toy.embedding_length": 64}


@pytest.mark.parametrize(
    ("attention", "per_token"),
    [
        ({}, 0),  # rwkv has no heads
        ({"head_count": 0, "key_length": 16}, 0),  # mamba
        ({"head_count": [8, 4]}, (8 + 4) * (8 + 8) * 2),
        ({"head_count": [8, 8], "head_count_kv": [2, 0]}, 2 * (8 + 8) * 2),
        ({"head_count": [8, 0], "head_count_kv": 2}, 2 * 2 * (8 + 8) * 2),
        ({"head_count": [0, 8]}, 0),
        ({"head_count": 8, "head_count_kv": "many"}, 0),
        ({"head_count": "eight"}, 0),
        ({"head_count": []}, 0),
        ({"head_count": 8, "key_length": float("nan")}, 2 * 8 * (8 + 8) * 2),
        ({"head_count": float("inf")}, 0),
        ({"head_count": -8}, 0),
        ({"head_count": 8, "head_count_kv": [float("nan"), 2]}, 2 * (8 + 8) * 2),
        ({"head_count": 8, "head_count_kv": ["x", 2, 2]}, 2 * (8 + 8) * 2),
    ],
)
def test_heads_are_counted_as_llama_cpp_does_and_what_is_no_number_is_none(
    attention: dict[str, Any], per_token: int
) -> None:
    header = {**TOY, **{f"toy.attention.{key}": value for key, value in attention.items()}}
    assert kv_cache(header) == KvCache(per_token)


def test_a_model_that_reads_texts_only_as_a_whole_has_no_kv_cache() -> None:
    bert = {f"{key}".replace("toy", "bert"): value for key, value in TOY.items()}
    bert |= {"general.architecture": "bert", "bert.attention.head_count": 8, "bert.attention.causal": False}
    assert kv_cache(bert) == KvCache(0)
    # llama.cpp gives other architectures one whatever their mask is.
    llama = {key.replace("bert", "llama"): value for key, value in bert.items()}
    assert kv_cache({**llama, "general.architecture": "llama"}) == KvCache(2 * 8 * (8 + 8) * 2)


GEMMA = {
    "general.architecture": "gemma3",
    "gemma3.block_count": 48,
    "gemma3.attention.head_count": 16,
    "gemma3.attention.head_count_kv": 8,
    "gemma3.attention.key_length": 256,
    "gemma3.attention.value_length": 256,
    "gemma3.attention.sliding_window": 1024,
}
PER_LAYER = 8 * (256 + 256) * 2


def of_family(name: str, **attention: Any) -> dict[str, Any]:
    header = {key.replace("gemma3", name): value for key, value in GEMMA.items()}
    return (
        header | {"general.architecture": name} | {f"{name}.attention.{k}": v for k, v in attention.items()}
    )


def test_a_layer_with_a_window_keeps_the_window_and_one_pass():
    cache = kv_cache(GEMMA)
    assert cache == KvCache(8 * PER_LAYER, 40 * PER_LAYER, 1024)
    assert cache.size(16_384) == 8 * PER_LAYER * 16_384 + 40 * PER_LAYER * (1024 + 512)
    assert cache.size(16_384, n_slots=3) == 3 * cache.size(16_384)
    assert cache.size(1000) == 48 * PER_LAYER * 1024


@pytest.mark.parametrize(
    ("header", "whole", "windowed", "window"),
    [
        (of_family("gemma2"), 24, 24, 1024),
        (of_family("gemma2", sliding_window=0), 24, 24, 4096),
        (of_family("cohere2"), 12, 36, 1024),
        (of_family("gpt-oss", sliding_window=128), 24, 24, 128),
        (of_family("gemma3n"), 4, 16, 1024),  # from the 21st on, layers use what those before have kept
        (of_family("gemma4", sliding_window_pattern=[True] * 5 + [False]), 43, 5, 1024),
        (of_family("gemma4", sliding_window_pattern=[1, 0] * 24, shared_kv_layers=18), 15, 15, 1024),
        (of_family("gemma4", sliding_window_pattern=[1] * 99), 0, 48, 1024),
        (of_family("gemma4"), 48, 0, 1024),
        (of_family("gemma3", sliding_window_pattern=2), 24, 24, 1024),
        (of_family("gemma3", sliding_window_pattern=0), 0, 48, 1024),
        (of_family("gemma3", sliding_window=0), 48, 0, 0),
        (of_family("phi3", sliding_window_pattern=2), 48, 0, 0),  # llama.cpp keeps all of it
    ],
)
def test_which_layers_have_a_window_is_in_the_header_or_known_of_the_family(
    header: dict[str, Any], whole: int, windowed: int, window: int
):
    assert kv_cache(header) == KvCache(whole * PER_LAYER, windowed * PER_LAYER, window)


def test_heads_of_layers_with_a_window_may_be_of_another_size():
    pattern = [1, 1, 1, 1, 1, 0] * 8
    heads = [16 if windowed else 4 for windowed in pattern]
    header = of_family(
        "gemma4",
        sliding_window_pattern=pattern,
        head_count_kv=heads,
        key_length=512,
        value_length=512,
        key_length_swa=256,
        value_length_swa=256,
    )
    assert kv_cache(header, "q8_0") == KvCache(
        8 * 4 * (512 + 512) * 34 // 32, 40 * 16 * (256 + 256) * 34 // 32, 1024
    )


STATE = {"ssm.conv_kernel": 4, "ssm.inner_size": 256, "ssm.state_size": 64, "ssm.group_count": 2}
OF_STATE = (3 * (256 + 2 * 2 * 64) + 64 * 256) * 4


@pytest.mark.parametrize(
    ("family", "own", "n_whole", "state"),
    [
        ("mamba2", {"attention.head_count": 0, **STATE}, 0, 4 * OF_STATE),
        ("granitehybrid", {"attention.head_count_kv": [0, 0, 0, 2], **STATE}, 1, 3 * OF_STATE),
        ("falcon-h1", STATE, 4, 4 * OF_STATE),
        ("qwen3next", STATE, 1, 3 * OF_STATE),
        ("qwen35moe", {"full_attention_interval": 2, **STATE}, 2, 2 * OF_STATE),
        ("qwen35", {"attention.recurrent_layers": [1, 0, 0, 0], **STATE}, 3, OF_STATE),
        (
            "nemotron_h",
            {"attention.head_count_kv": [0, 0, 2, 0], "feed_forward_length": [0, 9, 0, 0], **STATE},
            1,
            2 * OF_STATE,
        ),
        ("deci", {"attention.head_count_kv": [0, 2, 2, 2]}, 3, 0),
        ("rwkv7", {"attention.head_count": 0, "wkv.head_size": 64}, 0, 4 * 128 * (2 + 64) * 4),
        ("arwkv7", {"attention.head_count": 0, "wkv.head_size": 64, "token_shift_count": 1}, 0, 133_120),
        (
            "kimi-linear",
            {"attention.head_count_kv": [0, 0, 0, 2], "ssm.conv_kernel": 4, "kda.head_dim": 16},
            1,
            3 * 8 * 16 * (3 * 3 + 16) * 4,
        ),
        ("lfm2", {"attention.head_count_kv": [0, 2, 0, 2], "shortconv.l_cache": 3}, 2, 2 * 128 * 2 * 4),
    ],
)
def test_layers_with_a_running_state_take_as_much_for_one_token_as_for_a_thousand(
    family: str, own: dict[str, Any], n_whole: int, state: int
):
    told = {
        "block_count": 4,
        "embedding_length": 128,
        "attention.head_count": 8,
        "attention.head_count_kv": 2,
        **own,
    }
    header = {"general.architecture": family, **{f"{family}.{key}": value for key, value in told.items()}}
    cache = kv_cache(header)
    assert cache == KvCache(n_whole * 2 * (16 + 16) * 2, state=state)
    assert cache.size(1000, 3) - cache.size(1, 3) == 3 * 768 * cache.per_token
    assert cache.size(0, 3) == 3 * state


def test_keys_that_have_the_values_in_them_are_kept_alone():
    lengths = {"key_length": 576, "value_length": 512, "key_length_mla": 192, "value_length_mla": 128}
    attention = {"head_count": 16, "head_count_kv": 1, **lengths}
    header = {**TOY, **{f"toy.attention.{key}": value for key, value in attention.items()}}
    assert kv_cache(header) == KvCache(2 * 576 * 2)
    assert kv_cache({**header, "toy.attention.indexer.key_length": 128}).per_token >= 2 * (576 + 128) * 2
