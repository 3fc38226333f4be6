"""The commands `motetrace device ...`, as people type them. Imports stand inside, so that --help answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from motetrace_host.board.known_boards import CIRCUITPYTHON, KNOWN_BOARDS
from motetrace_host.commands.options import operator_errors


@click.group(short_help="Put the device library on a board, and check it there.")
def device() -> None:
    """Put the device library on a board, and ask the board whether it works.

    \b
    Start here:
      motetrace device install --with mqtt5      copy it to the one board that is plugged in, and check it
      motetrace device check                     what the board has, and what a trace costs there
    """


def _port_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--port", metavar="PORT", help="Serial port, such as /dev/ttyACM0 or COM3. [default: the one on USB]"
    )(command)


@device.command(name="install")
@click.option(
    "--board",
    type=click.Choice(sorted(KNOWN_BOARDS)),
    help="Refuse any other board; a circuitpython-* goes over its drive. [default: whatever is there]",
)
@_port_option
@click.option(
    "--drive",
    "drive_path",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Drive of a CircuitPython board. [default, for a circuitpython-* board: the one that is mounted]",
)
@click.option(
    "--mpy/--py",
    "compiled",
    default=None,
    help="Compiled (half the flash), or sources. [default: --mpy where mpy-cross is there and the board loads it]",
)
@click.option(
    "--with",
    "extras",
    metavar="NAMES",
    default="",
    help="Extras, separated by commas: mqtt5,json,birth,... and fast: machine code for next().",
)
@click.option("--dry-run", is_flag=True, help="Show what would be copied, and copy nothing.")
def install_command(
    board: str | None, port: str | None, drive_path: Path | None, compiled: bool | None, extras: str, dry_run: bool
) -> None:
    """Copy the library into the folder for libraries of a board, then import it there and run the self-test.

    What is on the board already is renewed, never half of it: modules of the library that are there stay, in the new
    version. A running program is stopped; start it again with the board's reset button.

    \b
    Examples:
      motetrace device install --with mqtt5
      motetrace device install --port /dev/ttyACM0 --with json,birth --py
      motetrace device install --board circuitpython-pico-w --with minimqtt
      motetrace device install --with mqtt5 --dry-run

    Exit code: 0 when the library works there, 1 when its self-test failed, 2 when the board could not be served.
    """
    from motetrace_host.board import dialogue

    known = KNOWN_BOARDS[board] if board else None
    form = None if compiled is None else "mpy" if compiled else "py"
    wanted = _names(extras)
    with operator_errors():
        if drive_path or (known and known.system == CIRCUITPYTHON):
            sys.exit(dialogue.install_over_drive(drive_path, port, known, wanted, form, dry_run))
        sys.exit(dialogue.install_over_port(port, known, wanted, form, dry_run))


@device.command()
@_port_option
@click.option("--with", "extras", metavar="NAMES", default="", help="Extras that must load there, separated by commas.")
def check(port: str | None, extras: str) -> None:
    """Run the self-test on a board that has the library: versions, entropy, AES, time and heap per next(), free heap.

    The program that runs on the board is stopped; start it again with the board's reset button.

    \b
    Examples:
      motetrace device check
      motetrace device check --port /dev/ttyUSB0 --with mqtt5

    Exit code: 0 when the library works there, 1 when it does not, 2 when the board could not be asked.
    """
    from motetrace_host.board import dialogue

    with operator_errors():
        sys.exit(dialogue.check_over_port(port, _names(extras)))


def _names(extras: str) -> list[str]:
    return [name.strip() for name in extras.split(",") if name.strip()]
