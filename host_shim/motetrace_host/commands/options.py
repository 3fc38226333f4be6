"""What the commands have in common: options, where the state folder is, and how a command ends."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from motetrace_host.core.errors import OperatorError, StoreError
from motetrace_host.settings import Setting

NOT_SERVED: Final = 2
"""Exit code of a command that an operator's mistake, or a store, kept from its work."""
Command = Callable[..., Any]


def default_state() -> Path:
    """The state folder of this user."""
    import platformdirs

    return Path(platformdirs.user_state_dir("motetrace", appauthor=False))


def state_option(command: Command) -> Command:
    """Give a command the option --state; its value is `state: Path`."""
    option = click.option(
        "--state",
        envvar="MOTETRACE_STATE",
        metavar="DIR",
        type=click.Path(path_type=Path, readable=False),
        default=default_state,
        help="State folder of the shim. [default: this user's state folder]",
    )
    return option(command)


def setting_option(setting: Setting) -> Callable[[Command], Command]:
    """The option of a setting; its value is as it was written, None or () when it was not."""
    default = "" if setting.default in (None, "") else f" [default: {setting.default}]"
    return click.option(
        setting.flag,
        setting.name,
        metavar=setting.metavar,
        nargs=setting.count,
        multiple=setting.many,
        default=None,
        help=setting.help + default,
    )


def parse_nonce(text: str, option: str) -> bytes:
    """Read a boot nonce; `option` is where it was given."""
    if not re.fullmatch(r"[0-9a-fA-F]{10}", text):
        where = f"{option} " if option else ""
        raise OperatorError(f"{where}{text!r}: a boot nonce is 10 hex digits, for example 3f2a9c01d4")
    return bytes.fromhex(text)


@contextmanager
def operator_errors(option: str = "") -> Iterator[None]:
    """Print what keeps a command from its work, and end the process with NOT_SERVED.

    Args:
        option: what is read meanwhile; then a ValueError is about its value.
    """
    try:
        yield
    except (OperatorError, StoreError) as error:
        _end(getattr(error, "mistakes", (str(error),)))
    except ValueError as error:
        if not option:
            raise
        _end((f"{option}: {error}",))


def _end(mistakes: tuple[str, ...]) -> None:
    for mistake in mistakes:
        click.echo(f"motetrace: {mistake}", err=True)
    sys.exit(NOT_SERVED)


def print_report(make: Callable[[], tuple[str, int]]) -> None:
    """Print the text that `make` gives, and end the process with the exit code beside it."""
    with operator_errors():
        output, code = make()
    click.echo(output, nl=False)
    sys.exit(code)
