"""Python code in one style, and whatever black cannot or may not do."""

from __future__ import annotations

import pytest

from api_host.web.dialects.zephyr.python_code import formatted, is_python

pytest.importorskip("black", reason="black is missing; pip install 'api-host[zephyr]'")


def test_code_is_written_as_black_writes_it() -> None:
    assert formatted("def f( a ):\n  return  {'b':a}") == 'def f(a):\n    return {"b": a}\n'
    assert formatted("x = 'ä😀'") == 'x = "ä😀"\n'
    assert formatted("# coding: latin-1\nx = 'ä'") == '# coding: latin-1\nx = "ä"\n'


@pytest.mark.parametrize("code", ["def f( a:", "x = \x00", "print 'old'", "(" * 3000])
def test_code_that_does_not_parse_stays_as_it_came(code: str) -> None:
    assert formatted(code) == code


def test_code_that_takes_too_long_stays_as_it_came() -> None:
    code = "x = [1,2 ]\n" * 20_000
    assert formatted(code, timeout=0.3) == code


def test_the_folder_that_the_host_runs_in_has_no_say(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    (folder / "pyproject.toml").write_text("[tool.black]\nskip-string-normalization = true\n")
    monkeypatch.chdir(folder)
    assert formatted("x='a'") == 'x = "a"\n'


def test_a_languages_name_is_read_loosely() -> None:
    assert all(is_python(name) for name in ("python", "Python", " py", "python3"))
    assert not any(is_python(name) for name in ("ruby", "pythonic", ""))
