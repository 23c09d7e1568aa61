"""Options that several commands share, and the words in which their defaults are shown.

The defaults themselves are HostConfig's: an option that is not given is None and leaves the choice to it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from api_host.config import HostConfig

THIS_MACHINE = "127.0.0.1"
"""Where the host of a command that needs one for itself listens, whatever the settings of others are."""

OF_NO_OTHER_MODEL: dict[str, Any] = {"draft_model": "", "lora": []}
"""What puts out those settings that belong to the settings' own model, for a host of another one."""

Command = TypeVar("Command", bound=Callable[..., Any])


class IntOrAuto(click.ParamType):
    """A whole number, or the word ``auto``."""

    name = "integer|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "auto" or isinstance(value, int):
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a whole number nor 'auto'", param, ctx)


def default(name: str) -> str:
    """`` [default: ...]`` as HostConfig has it, for the help text of option ``name``."""
    return f" [default: {HostConfig.model_fields[name].default}]"


def models_dir(command: Command) -> Command:
    """Adds ``--models-dir``."""
    return click.option(
        "--models-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where models are kept. [default: the Hugging Face cache]",
    )(command)


def as_json(what: str) -> Callable[[Command], Command]:
    """Adds ``--json``, for scripts; ``what`` it prints."""
    return click.option("--json", "as_json", is_flag=True, help=what)


def quiet(what: str) -> Callable[[Command], Command]:
    """Adds ``--quiet``; ``what`` it leaves."""
    return click.option("-q", "--quiet", is_flag=True, help=what)


def token(command: Command) -> Command:
    """Adds ``--token``. The environment is not read here: HostConfig, or the command, does that."""
    return click.option(
        "--token",
        metavar="T",
        help="The access token. Other users of this machine see it in `ps`: the environment variable "
        "API_HOST_TOKEN is the better way.",
    )(command)
