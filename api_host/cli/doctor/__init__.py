"""``api-host doctor``: looks at all that a host needs of its machine, and says how to mend what is not as it should be.

    command.py   the command: which checks, and how they are told
    check.py     a check, what it finds, and its time limit
    machine.py   Python, packages, compiler, disk, port
    llama.py     llama.cpp's build against the GPU; the demo model in a worker
    network.py   the hub, cloudflared

Changes nothing and downloads nothing. Knows nothing of how a host works inside.
"""

from api_host.cli.doctor.command import doctor

__all__ = ["doctor"]
