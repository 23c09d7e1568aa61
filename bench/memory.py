"""Memory of a server above its model and KV cache, on Linux.

Every mapping of the server's processes counts with its proportional share (PSS of ``/proc/PID/smaps``, see proc(5)),
save those of the model's file; the KV cache, whose size follows from the model and the context, is taken off, and the
file's size where nobody maps it: then its weights lie in memory of the process's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.asking import Asked, ask
from bench.limits import Limit
from bench.prompts import Prompts
from bench.servers import BINDINGS, HOST, LLAMA_SERVER, Server, Setting
from bench.workload import Ground, Measured, make_setting, warm_server

MB = 1e6


@dataclass(frozen=True)
class Memory:
    """The memory of a server that has just answered in all of its slots at once."""

    slots: int = 4
    n_prompt: int = 512
    n_tokens: int = 16
    ctx: int = 4096
    key: str = "memory"
    name: str = "memory above model and KV cache"
    servers: tuple[str, ...] = (HOST, LLAMA_SERVER, BINDINGS)
    limits: tuple[Limit, ...] = ()

    def setting(self, ground: Ground) -> Setting:
        return make_setting(ground, self.slots, self.ctx)

    def measure(self, server: Server, ground: Ground, seed: str) -> Measured:
        prompts = Prompts(ground.words, seed)
        asked = [Asked(prompts.text(self.n_prompt), self.n_tokens) for _ in range(self.slots)]
        setting = self.setting(ground)
        with warm_server(server, ground, setting) as running:
            answers = ask(running, asked)
            maps = [Path(f"/proc/{pid}/smaps").read_text() for pid in running.pids]
        n_slots = 1 if server.name == BINDINGS else setting.slots
        resident = above_model(maps, ground.model)
        above = resident - ground.kv_bytes_per_token * setting.ctx * n_slots
        return Measured({"above_mb": above / MB, "n_processes": len(maps)}, answers)


def above_model(maps: list[str], model: Path) -> int:
    """PSS of several processes, by the text of their smaps files, without the weights of ``model``."""
    file = str(model.resolve())
    total = sum(pss_without(smaps, file) for smaps in maps)
    is_mapped = any(line.endswith(file) for smaps in maps for line in smaps.splitlines())
    return total if is_mapped else total - model.stat().st_size


def pss_without(smaps: str, file: str) -> int:
    """Bytes of PSS in the text of an smaps file, without the mappings of ``file``."""
    total, counted = 0, True
    for line in smaps.splitlines():
        key, _, rest = line.partition(" ")
        if not key.endswith(":"):
            counted = not line.endswith(file)
        elif key == "Pss:" and counted:
            total += int(rest.split()[0]) * 1024
    return total
