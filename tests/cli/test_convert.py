"""``api-host convert`` as a person runs it."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from tests.cli.terminal import Cli, assert_one_line_error
from tests.fakes.ggml_files import write_ggml
from tests.fakes.tiny_llama import TinyLlama


def test_it_prints_the_path_of_the_gguf(cli: Cli, tmp_path: Path) -> None:
    write_ggml(tmp_path / "llama.bin", TinyLlama(), ("ggjt", 1), "Q4_0")
    done = cli("convert", str(tmp_path / "llama.bin"), "--ctx-length", "512", "--rms-norm-eps", "1e-4")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'llama.gguf'}\n"), done.stderr
    assert "llama.gguf: " in done.stderr
    found = gguf.GGUFReader(tmp_path / "llama.gguf")
    n_ctx, eps = (
        found.get_field(f"llama.{key}") for key in ("context_length", "attention.layer_norm_rms_epsilon")
    )
    assert n_ctx is not None and n_ctx.contents() == 512
    assert eps is not None and eps.contents() == pytest.approx(1e-4)


def test_a_file_that_is_no_ggml_is_told_in_one_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing of this kind")
    assert_one_line_error(cli("convert", str(tmp_path / "notes.txt")), "notes.txt", "no GGML file")


def test_wrong_usage_ends_with_2(cli: Cli) -> None:
    done = cli("convert", __file__, "--rms-norm-eps", "0")
    assert done.returncode == 2
    assert "Error: " in done.stderr and "--rms-norm-eps" in done.stderr


def test_it_explains_itself(cli: Cli) -> None:
    done = cli("convert", "--help")
    assert done.returncode == 0
    assert "Usage: api-host convert" in done.stdout and "[default: 2048" in done.stdout
    assert "Examples:" in done.stdout
