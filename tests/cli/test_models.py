"""``api-host ls`` and ``api-host rm``: the models on this disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

from api_host.cli import exits
from tests.cli.terminal import Cli, Terminal, assert_one_line_error

Begin = Callable[..., Terminal]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with two models: one tells its quantization by its name, one by its header."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "mine-IQ4_XS.gguf").write_bytes(b"GGUF" + bytes(1_499_996))
    writer = gguf.GGUFWriter(folder / "other.gguf", "llama")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q5_K_M)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder


def test_ls_is_a_table_of_names_quants_sizes_and_times(cli: Cli, models: Path) -> None:
    heading, mine, other = cli("ls", "--models-dir", str(models)).stdout.splitlines()
    assert heading.split() == ["MODEL", "QUANT", "SIZE", "LAST", "USED"]
    assert mine.split()[:4] == ["mine-IQ4_XS.gguf", "IQ4_XS", "1.5", "MB"]
    assert other.split()[:2] == ["other.gguf", "Q5_K_M"]


def test_ls_has_forms_for_scripts(cli: Cli, models: Path) -> None:
    first, second = json.loads(cli("ls", "--json", "--models-dir", str(models)).stdout)
    assert (first["model"], first["quant"], first["size"]) == ("mine-IQ4_XS.gguf", "IQ4_XS", 1_500_000)
    assert Path(second["path"]) == models / "other.gguf"
    assert cli("ls", "-q", "--models-dir", str(models)).stdout == "mine-IQ4_XS.gguf\nother.gguf\n"


def test_ls_of_nothing_says_how_to_fetch_and_keeps_stdout_clean(cli: Cli, tmp_path: Path) -> None:
    done = cli("ls", "--models-dir", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (0, "")
    assert "api-host pull" in done.stderr
    assert json.loads(cli("ls", "--json", "--models-dir", str(tmp_path / "none")).stdout) == []
    quiet = cli("ls", "--quiet", "--models-dir", str(tmp_path / "none"))
    assert (quiet.stdout, quiet.stderr) == ("", "")


def test_rm_removes_without_asking_when_told_so(cli: Cli, models: Path) -> None:
    folder = ["--models-dir", str(models)]
    removed = cli("rm", "--yes", "mine-IQ4_XS.gguf", *folder)
    assert removed.returncode == 0 and "1.5 MB" in removed.stdout
    assert [path.name for path in models.iterdir()] == ["other.gguf"]
    (entry,) = json.loads(cli("rm", "--yes", "--json", "other.gguf", *folder).stdout)
    assert entry["model"] == "other.gguf" and entry["freed"] > 0
    gone = cli("rm", "--yes", "mine-IQ4_XS.gguf", *folder)
    assert_one_line_error(gone, "mine-IQ4_XS.gguf", code=exits.NOT_FOUND)


def test_rm_tells_what_it_has_removed_before_one_that_is_not_there(cli: Cli, models: Path) -> None:
    folder = ["--models-dir", str(models)]
    done = cli("rm", "--yes", "other.gguf", "other.gguf", "gone.gguf", *folder)
    assert done.returncode == exits.NOT_FOUND
    assert done.stdout.startswith("Removed other.gguf: ") and "gone.gguf is not on this disk" in done.stderr
    done = cli("rm", "--yes", "--json", "mine-IQ4_XS.gguf", "gone.gguf", *folder)
    assert [entry["model"] for entry in json.loads(done.stdout)] == ["mine-IQ4_XS.gguf"]


def test_rm_of_a_repository_names_its_files_and_no_local_ones(terminal: Begin, models: Path) -> None:
    snapshot = models / "models--owner--name" / "snapshots" / "1"
    local = models / "owner" / "name"
    for folder in (snapshot, local):
        folder.mkdir(parents=True)
        (folder / f"{folder.name}.gguf").write_bytes(b"GGUF")
    (local / "1.gguf").write_bytes(b"a local file of the same spelling")
    shown = terminal("rm", "owner/name", "--models-dir", str(models))
    shown.until("owner/name/1.gguf  4 B", "Remove this? [y/N]")
    shown.type("y\n")
    assert shown.to_the_end() == 0
    assert len(list(local.iterdir())) == 2 and not snapshot.exists()


def test_rm_of_a_repository_asks_about_what_is_no_model_too(terminal: Begin, cli: Cli, models: Path) -> None:
    blobs = models / "models--owner--name" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "weights-of-another-program").write_bytes(bytes(2_000_000))
    (blobs / "etag.1234.incomplete").write_bytes(bytes(1_000_000))
    unasked = cli("rm", "owner/name", "--models-dir", str(models))
    assert unasked.returncode == exits.USAGE and len(list(blobs.iterdir())) == 2
    shown = terminal("rm", "owner/name", "--models-dir", str(models))
    shown.until("owner/name: other files and unfinished downloads  3 MB", "Remove this? [y/N]")
    shown.type("y\n")
    assert shown.to_the_end() == 0 and not blobs.exists()


@pytest.mark.parametrize("name", ["other.gguf", "mmproj-other.gguf"])
def test_rm_removes_nothing_where_nobody_can_be_asked(cli: Cli, models: Path, name: str) -> None:
    (models / "mmproj-other.gguf").write_bytes(b"GGUF")
    done = cli("rm", name, "--models-dir", str(models), stdin="y\n")
    assert done.returncode == exits.USAGE and "--yes" in done.stderr
    assert (models / name).exists()


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 130, 2), ("\n", 130, 2)])
def test_rm_names_what_goes_and_asks_once(
    terminal: Begin, models: Path, answer: str, code: int, left: int
) -> None:
    shown = terminal("rm", "mine-IQ4_XS.gguf", "other.gguf", "--models-dir", str(models))
    shown.until("mine-IQ4_XS.gguf  1.5 MB", "other.gguf", "Remove these 2? [y/N]")
    shown.type(answer)
    assert shown.to_the_end() == code
    assert len(list(models.iterdir())) == left


def test_a_name_that_no_model_has_is_refused(cli: Cli) -> None:
    assert_one_line_error(cli("rm", "../../etc/passwd"), "model", code=exits.USAGE)
    assert_one_line_error(cli("rm", "--yes", "demo"), "part of the program", code=exits.USAGE)
