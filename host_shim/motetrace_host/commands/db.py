"""`motetrace db ...`, as people type it; imports stand inside: --help is fast."""

from __future__ import annotations

from pathlib import Path

import click

from motetrace_host.commands.options import operator_errors, parse_nonce, print_report, state_option


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
def show(state: Path) -> None:
    """Print what is in the database: rows, bytes and age of each table, and the settings that bound it.

    \b
    Examples:
      motetrace db show
    """
    from motetrace_host.commands import db_show
    from motetrace_host.commands.progress import Progress

    print_report(lambda: db_show.report(state, Progress()))


@db.command(short_help="Look for faults; a running shim is not disturbed.")
@state_option
def check(state: Path) -> None:
    """Look for faults in the file and between messages, ledger and spans; a running shim is not disturbed.

    \b
    Examples:
      motetrace db check

    Exit code: 0 when all is well, 1 when a fault was found, 2 when there is no database.
    """
    from motetrace_host.commands import db_check as checking
    from motetrace_host.commands.progress import Progress

    print_report(lambda: checking.report(state, Progress()))


@db.command(short_help="Give the disk back what is not used any more.")
@state_option
def compact(state: Path) -> None:
    """Give the disk back what is not used any more. The shim has to be stopped.

    What the shim forgets leaves room in the file, which it uses again by itself: compacting pays after lowering
    --keep, --max-messages or --max-spans. Twice the size of what stays has to be free on the disk.

    \b
    Examples:
      motetrace db compact
    """
    from motetrace_host.commands import db_compact as compacting
    from motetrace_host.commands.progress import Progress

    print_report(lambda: compacting.report(state, Progress()))


@db.command(name="merge-boots", short_help="Make two inferred boots of a device one.")
@click.argument("device")
@click.argument("one", metavar="NONCE")
@click.argument("other", metavar="NONCE")
@click.option("--yes", is_flag=True, help="Do not ask.")
@state_option
def merge_boots(device: str, one: str, other: str, yes: bool, state: Path) -> None:
    """Make two inferred boots of a device one, where it was inferred wrongly that it had rebooted.

    motetrace devices names such pairs. The shim has to be stopped. It cannot be undone: copy the state folder
    first.

    \b
    Examples:
      motetrace db merge-boots sensor-0042 3f2a9c01d4 91c70b2e55
    """
    from motetrace_host.commands import db_merge_boots as merging

    with operator_errors():
        nonces = [parse_nonce(text, "") for text in (one, other)]
    if not yes:
        click.confirm("This cannot be undone. Merge them?", abort=True)
    print_report(lambda: merging.report(state, device, *nonces))
