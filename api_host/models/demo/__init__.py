"""The demo model: a GGUF of about 2 MB that ships inside the package; ``demo_model`` in the repository made it."""

from __future__ import annotations

from pathlib import Path

DEMO_MODEL_PATH: Path = Path(__file__).resolve().parent / "demo.gguf"
