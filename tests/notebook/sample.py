"""Facts of hosts in states that take a GPU, a large model or bad luck, for tests and for pictures to look at."""

from __future__ import annotations

import time
from dataclasses import replace

from api_host.facts import Addresses, Facts, ModelFacts
from api_host.gpus import Gpu
from api_host.metrics import Failure

NAME = "unsloth/Qwen3-4B-Instruct-2507-GGUF/Qwen3-4B-Instruct-2507-Q4_K_M.gguf"
LOADED = ModelFacts(
    NAME,
    "loaded",
    size=2_497_281_120,
    description="qwen3 4B Q4_K - Medium",
    n_params=4_022_468_096,
    device="Tesla T4",
    n_ctx=8192,
    n_slots=8,
    n_layer=36,
    n_gpu_layers=37,
    n_running=3,
    n_waiting=1,
)
DOWNLOADING = ModelFacts(NAME, "downloading", bytes_done=650_000_000, bytes_total=2_497_281_120)
LOADING = ModelFacts(NAME, "loading", seconds=7.4)
FAILED = ModelFacts(
    "owner/<script>alert(1)</script>",
    "failed",
    error="the model needs about 20.1 GB of memory and 12.0 GB are free; choose a smaller quant",
    notes=('a note with "quotes" & <i>tags</i>',),
)
T4 = Gpu(0, "Tesla T4", "550.54.15", 87.0, 9120.0, 6240.0, 15360.0)
ADDRESSES = Addresses("http://127.0.0.1:5000", "https://grove-amber-linen-iris.trycloudflare.com", None, True)

SERVING = Facts(
    addresses=ADDRESSES,
    default_model=NAME,
    uptime=4_520.0,
    models=(LOADED,),
    gpus=(T4,),
    memory_used=2_900_000_000,
    memory_total=13_600_000_000,
    requests=1_284,
    tokens=402_118,
    tokens_per_second=212.4,
    last_failure=None,
)
BUSY = replace(
    SERVING,
    models=(LOADED, DOWNLOADING, LOADING, FAILED),
    gpus=(T4, replace(T4, id=1, load=None, memoryUsed=310.0)),
    last_failure=Failure(
        "/v1/chat/completions", 400, "the prompt has 9,120 tokens & the context 8,192", time.monotonic()
    ),
)
STARTING = replace(
    SERVING,
    addresses=Addresses(None, None, None, True),
    models=(),
    gpus=(),
    requests=0,
    tokens=0,
    tokens_per_second=0.0,
    uptime=None,
)
LOCAL_ONLY = replace(
    STARTING,
    addresses=Addresses(
        "http://127.0.0.1:5000", None, "no network: switch Internet on in the notebook's settings", True
    ),
    default_model=None,
    uptime=12.0,
)
STATES = {"serving": SERVING, "busy": BUSY, "starting": STARTING, "local_only": LOCAL_ONLY}
