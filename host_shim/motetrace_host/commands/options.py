"""The option --state, as every command that reads a shim's state folder has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def state_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option; its value is `state: Path | None`."""
    option = click.option(
        "--state",
        envvar="MOTETRACE_STATE",
        metavar="DIR",
        type=click.Path(path_type=Path, readable=False),
        help="State folder of the shim. [default: this user's state folder]",
    )
    return option(command)
