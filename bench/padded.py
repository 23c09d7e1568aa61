"""Pads a GGUF with transformer blocks that add nothing: a model that costs more and says the same, bit for bit.

    python -m bench.padded OUT.gguf --layers 116

It stands for a large model whose small one, the file that was padded, guesses all tokens right. The added blocks are
copies of the first one with zeros for attn_output and ffn_down, so what they add to their input is zero. Knows
architectures only as far as their blocks end in these two matrices (llama and its kin).
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import gguf
import numpy as np

DEMO_MODEL = Path(__file__).parent.parent / "api_host" / "models" / "demo" / "demo.gguf"
SILENT = ("attn_output.weight", "ffn_down.weight")
_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")


def write_padded(path: Path, n_added: int, source: Path = DEMO_MODEL) -> None:
    """Writes the GGUF with ``n_added`` blocks more than ``source`` has."""
    reader = gguf.GGUFReader(source)
    architecture = str(reader.fields["general.architecture"].contents())
    n_blocks = int(reader.fields[f"{architecture}.block_count"].contents())
    writer = gguf.GGUFWriter(path, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = n_blocks + n_added if field.name.endswith(".block_count") else field.contents()
        sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, value, field.types[0], sub_type=sub_type)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        block = _BLOCK.fullmatch(tensor.name)
        if block is None or int(block[1]) > 0:
            continue
        # Zero bytes are zeros in every type of ggml that has a scale, and in F32 and F16.
        data = np.zeros_like(tensor.data) if block[2] in SILENT else tensor.data
        for i in range(n_blocks, n_blocks + n_added):
            writer.add_tensor(f"blk.{i}.{block[2]}", data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.padded",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--layers", type=int, default=116, help="blocks to add; default 116, 30 times the demo"
    )
    parser.add_argument("--source", type=Path, default=DEMO_MODEL, help="the GGUF to pad; default the demo")
    arguments = parser.parse_args()
    write_padded(arguments.out, arguments.layers, arguments.source)


if __name__ == "__main__":
    main()
