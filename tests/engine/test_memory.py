"""Where layers go: fewer slots, then fewer layers, then a shorter context, then a refusal with the numbers."""

from __future__ import annotations

import pytest

from api_host.engine.memory import GPU_RESERVE, HOST_RESERVE, Shape, place_on_cpu, place_on_gpu
from api_host.errors import OutOfMemory
from api_host.kv_cache import KvCache

GB = 10**9
# Llama 3 8B, Q4_K_M: 4.9 GB, 32 layers, 8 KV heads of 128: 131072 bytes a token.
LLAMA_8B = Shape(n_layer=32, weights=4_900_000_000, kv_cache=KvCache(131_072))


def test_a_t4_takes_the_whole_8b_model_with_eight_slots():
    placed = place_on_gpu(LLAMA_8B, 4096, None, None, 15 * GB)
    assert (placed.n_gpu_layers, placed.n_ctx, placed.n_slots, placed.notes) == (33, 4096, 8, ())


def test_slots_go_first_and_it_is_said():
    placed = place_on_gpu(LLAMA_8B, 4096, None, None, 7 * GB)
    assert (placed.n_gpu_layers, placed.n_ctx, placed.n_slots) == (33, 4096, 2)
    assert "2 sequences" in placed.notes[0]


def test_then_layers_go():
    placed = place_on_gpu(LLAMA_8B, 4096, None, None, 4 * GB)
    assert 0 < placed.n_gpu_layers < 33
    assert (placed.n_ctx, placed.n_slots) == (4096, 1)
    assert "of 33 layers" in placed.notes[0]


def test_layers_that_stay_behind_must_fit_host_memory():
    placed = place_on_gpu(LLAMA_8B, 4096, None, None, 4 * GB, host_free=16 * GB)
    assert placed == place_on_gpu(LLAMA_8B, 4096, None, None, 4 * GB)
    behind = LLAMA_8B.size(4096, 1) * (33 - placed.n_gpu_layers) / 33
    just = HOST_RESERVE + int(behind)
    assert place_on_gpu(LLAMA_8B, 4096, None, None, 4 * GB, host_free=just) == placed
    with pytest.raises(OutOfMemory, match=f"{placed.n_gpu_layers} of 33 layers fit on the GPU") as caught:
        place_on_gpu(LLAMA_8B, 4096, None, None, 4 * GB, host_free=just - 1)
    assert caught.value.details == {"needed": just, "free": just - 1}
    assert place_on_gpu(LLAMA_8B, 4096, None, 7, 4 * GB, host_free=0).n_gpu_layers == 7


def test_without_room_for_a_layer_the_context_stays_and_nothing_is_on_the_gpu():
    assert place_on_gpu(LLAMA_8B, 131_072, None, None, 900_000_000) is None
    assert place_on_gpu(LLAMA_8B, 131_072, None, None, 0) is None


def test_a_set_number_of_layers_is_taken_as_it_is():
    assert place_on_gpu(LLAMA_8B, 4096, None, 7, GB).n_gpu_layers == 7
    assert place_on_gpu(LLAMA_8B, 4096, 3, -1, GB).n_gpu_layers == 33


@pytest.mark.parametrize(
    ("layers", "free", "host_free", "slots"),
    [
        (-1, 15 * GB, 0, 8),
        (-1, 7 * GB, 16 * GB, 2),
        (-1, GB, 16 * GB, 1),  # llama.cpp has the last word
        (17, 15 * GB, 16 * GB, 8),
        (17, 4 * GB, 16 * GB, 2),
        (17, 15 * GB, 4 * GB, 4),
        (17, 15 * GB, None, 8),
    ],
)
def test_beside_a_set_number_of_layers_run_as_many_sequences_as_fit(
    layers: int, free: int, host_free: int | None, slots: int
):
    placed = place_on_gpu(LLAMA_8B, 4096, None, layers, free, host_free)
    assert (placed.n_gpu_layers, placed.n_ctx, placed.n_slots) == (layers % 34, 4096, slots)
    assert [f"{slots} sequences run at once instead of 8" in note for note in placed.notes] == [True] * (
        slots < 8
    )
    assert place_on_gpu(LLAMA_8B, 4096, 8, layers, free, host_free).n_slots == 8


def test_host_memory_bounds_slots_then_context():
    assert place_on_cpu(LLAMA_8B, 4096, None, 16 * GB).n_slots == 4
    assert place_on_cpu(LLAMA_8B, 4096, None, 6 * GB).n_slots == 1
    short = place_on_cpu(LLAMA_8B, 32_768, None, 6 * GB)
    assert (short.n_slots, short.n_ctx) == (1, 4096)


def test_a_draft_model_takes_its_share_before_layers_are_counted():
    draft = Shape(n_layer=16, weights=GB, kv_cache=KvCache(32_768))
    both = Shape(32, LLAMA_8B.weights, LLAMA_8B.kv_cache, draft)
    assert both.size(4096, 8) == LLAMA_8B.size(4096, 8) + int(1.03 * GB) + 32_768 * 8 * 4096
    just = GPU_RESERVE + both.size(4096, 8)
    assert place_on_gpu(both, 4096, None, None, just).n_slots == 8
    assert place_on_gpu(both, 4096, None, None, just - 1).n_slots == 4
    alone, beside = (place_on_gpu(shape, 4096, None, None, 4 * GB) for shape in (LLAMA_8B, both))
    per_layer = LLAMA_8B.size(4096, 1) / 33
    assert alone.n_gpu_layers - beside.n_gpu_layers == pytest.approx(draft.size(4096, 1) / per_layer, abs=1)
    assert place_on_cpu(both, 4096, None, HOST_RESERVE + both.size(4096, 1)).n_slots == 1
    assert place_on_cpu(LLAMA_8B, 4096, None, HOST_RESERVE + both.size(4096, 1)).n_slots == 2


def test_what_can_never_fit_is_refused_with_the_numbers():
    with pytest.raises(OutOfMemory) as caught:
        place_on_cpu(LLAMA_8B, 4096, None, 3 * GB)
    assert caught.value.details["needed"] > 5 * GB
    assert caught.value.details["free"] == 3 * GB
    assert "GB" in caught.value.message
