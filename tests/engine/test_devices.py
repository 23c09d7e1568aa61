"""Which GPUs get layers, by the settings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from api_host.config import HostConfig
from api_host.engine import loader, placing
from api_host.engine.llama import devices
from api_host.engine.llama.devices import Device, gpu_devices, used_devices
from api_host.engine.memory import GPU_RESERVE
from api_host.engine.messages import Load
from api_host.errors import ModelLoadFailed
from api_host.models.demo import DEMO_MODEL_PATH

FIRST, SECOND = (Device(f"CUDA{i}", "Tesla T4", 15_000_000_000, 15_800_000_000) for i in range(2))


@pytest.mark.parametrize(
    ("main_gpu", "tensor_split", "used"),
    [
        (None, None, [FIRST, SECOND]),
        (1, None, [SECOND]),
        (None, [3.0, 1.0], [FIRST, SECOND]),
        (None, [0.0, 1.0], [SECOND]),
        (None, [1.0], [FIRST]),
        (0, [1.0, 1.0], [FIRST]),
    ],
)
def test_the_settings_say_which_gpus_get_layers(
    main_gpu: int | None, tensor_split: list[float] | None, used: list[Device]
):
    assert used_devices([FIRST, SECOND], main_gpu, tensor_split) == used


@pytest.mark.parametrize(
    ("main_gpu", "tensor_split", "says"),
    [(2, None, "main_gpu: names 3 GPUs"), (None, [1.0, 1.0, 1.0], "tensor_split: names 3 GPUs")],
)
def test_a_gpu_that_is_not_there_is_refused(
    main_gpu: int | None, tensor_split: list[float] | None, says: str
):
    with pytest.raises(ModelLoadFailed, match=says):
        used_devices([FIRST, SECOND], main_gpu, tensor_split)


@pytest.mark.parametrize(("kinds", "n_gpus"), [([0], 0), ([2], 1), ([2, 1, 1], 2), ([0, 2, 3], 1)])
def test_a_gpu_that_shares_the_machines_memory_counts_where_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch, kinds: list[int], n_gpus: int
):
    """ggml's devices are all the CPU here; only what kind they are said to be is made up."""
    gpu_devices()  # tells ctypes of the functions
    cpu = devices.ggml.ggml_backend_dev_get(0)
    said = iter(kinds * 2)

    def count() -> int:
        return len(kinds)

    def get(i: int) -> int:
        return int(cpu)

    def kind(handle: int) -> int:
        return next(said)

    for name, made_up in {"count": count, "get": get, "type": kind}.items():
        monkeypatch.setattr(devices.ggml, f"ggml_backend_dev_{name}", made_up)
    found = gpu_devices()
    assert len(found) == n_gpus
    assert all(device.total > 10**9 for device in found)


def test_without_a_gpu_the_settings_mean_nothing():
    assert used_devices([], 1, [1.0, 1.0]) == []


def test_a_model_without_room_on_the_gpu_runs_on_the_cpu_with_its_whole_context(
    monkeypatch: pytest.MonkeyPatch,
):
    full = Device("CUDA0", "Tesla T4", free=100_000_000, total=15_800_000_000)
    monkeypatch.setattr(placing, "gpu_devices", lambda: [full])
    loaded = loader.load_model(Load(str(DEMO_MODEL_PATH), n_ctx=2048))
    info = loaded.info
    loaded.context.close()
    loaded.model.close()
    assert (info.device, info.n_gpu_layers, info.n_ctx, info.n_slots) == ("CPU", 0, 2048, 4)
    assert info.notes == ["the model runs on the CPU: the GPU has no room for a layer of it"]


@pytest.mark.parametrize(
    ("main_gpu", "tensor_split", "gigabytes"),
    [
        (None, None, 18.0),  # llama.cpp splits by what is free
        (None, [1.0, 1.0], 6.0),  # half of a model has room for 3 on the smaller one
        (None, [4.0, 1.0], 15.0),
        (None, [9.0, 1.0], 15.0 / 0.9),
        (None, [1.0], 15.0),
        (None, [0.0, 1.0], 3.0),
        (1, [1.0, 1.0], 3.0),
    ],
)
def test_a_share_of_a_model_fits_the_gpu_that_it_is_for(
    monkeypatch: pytest.MonkeyPatch, main_gpu: int | None, tensor_split: list[float] | None, gigabytes: float
):
    free = (15_000_000_000 + GPU_RESERVE, 3_000_000_000 + GPU_RESERVE)
    gpus = [Device(f"CUDA{i}", "Tesla T4", room, room) for i, room in enumerate(free)]
    rooms = []
    monkeypatch.setattr(placing, "gpu_devices", lambda: gpus)
    monkeypatch.setattr(placing.memory, "place_on_gpu", lambda *given: rooms.append(given[4]))
    loaded = loader.load_model(
        Load(str(DEMO_MODEL_PATH), n_ctx=512, main_gpu=main_gpu, tensor_split=tensor_split)
    )
    loaded.context.close()
    loaded.model.close()
    assert rooms == [pytest.approx(gigabytes * 1e9 + GPU_RESERVE)]


def test_shares_of_nothing_are_refused():
    with pytest.raises(ValidationError, match="at least one share above 0"):
        HostConfig.from_arguments(tensor_split=[0.0, 0.0])
