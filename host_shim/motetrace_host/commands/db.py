"""`motetrace db ...`, as people type it; imports stand inside: --help is fast."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from motetrace_host.commands.options import state_option


def group(default_state: Callable[[], Path]) -> click.Group:
    """Make the group `db`; `default_state` gives the state folder when none is named."""

    @click.group(short_help="Show, check and compact the database of a shim.")
    def db() -> None:
        """Show, check and compact what a shim keeps in its state folder, and repair inferred boots.

        \b
        Start here:
          motetrace db show
          motetrace db check
          motetrace db compact
        """

    @db.command(short_help="Print size, age and bounds of each table.")
    @state_option
    def show(state: Path | None) -> None:
        """Print what is in the database: rows, bytes and age of each table, and the settings that bound it.

        \b
        Examples:
          motetrace db show
        """
        from motetrace_host.commands import db_show

        _print(lambda progress: db_show.report(state or default_state(), progress))

    @db.command(short_help="Look for faults; a running shim is not disturbed.")
    @state_option
    def check(state: Path | None) -> None:
        """Look for faults in the file and between messages, ledger and spans; a running shim is not disturbed.

        \b
        Examples:
          motetrace db check

        Exit code: 0 when all is well, 1 when a fault was found, 2 when there is no database.
        """
        from motetrace_host.commands import db_check as checking

        _print(lambda progress: checking.report(state or default_state(), progress))

    @db.command(short_help="Give the disk back what is not used any more.")
    @state_option
    def compact(state: Path | None) -> None:
        """Give the disk back what is not used any more. The shim has to be stopped.

        What the shim forgets leaves room in the file, which it uses again by itself: compacting pays after lowering
        --keep, --max-messages or --max-spans. Twice the size of what stays has to be free on the disk.

        \b
        Examples:
          motetrace db compact
        """
        from motetrace_host.commands import db_compact as compacting

        _print(lambda progress: compacting.report(state or default_state(), progress))

    @db.command(name="merge-boots", short_help="Make two inferred boots of a device one.")
    @click.argument("device")
    @click.argument("one", metavar="NONCE")
    @click.argument("other", metavar="NONCE")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @state_option
    def merge_boots(device: str, one: str, other: str, yes: bool, state: Path | None) -> None:
        """Make two inferred boots of a device one, where it was inferred wrongly that it had rebooted.

        motetrace devices names such pairs. The shim has to be stopped. It cannot be undone: copy the state folder
        first.

        \b
        Examples:
          motetrace db merge-boots sensor-0042 3f2a9c01d4 91c70b2e55
        """
        from motetrace_host.commands import db_merge_boots as merging

        nonces = [_nonce(text) for text in (one, other)]
        if not yes:
            click.confirm("This cannot be undone. Merge them?", abort=True)
        _print(lambda progress: merging.report(state or default_state(), device, *nonces))

    return db


def _nonce(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-fA-F]{10}", text):
        click.echo(f"motetrace: {text!r}: a boot nonce is 10 hex digits, for example 3f2a9c01d4", err=True)
        sys.exit(2)
    return bytes.fromhex(text)


def _print(make: Callable[[Any], tuple[str, int]]) -> None:
    from motetrace_host.commands.progress import Progress
    from motetrace_host.commands.report_error import ReportError
    from motetrace_host.core.errors import StoreError

    try:
        output, code = make(Progress())
    except (ReportError, StoreError) as error:
        click.echo(f"motetrace: {error}", err=True)
        sys.exit(2)
    click.echo(output, nl=False)
    sys.exit(code)
