"""What the demo prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from accounting import Account
from plant import Answers

PLAIN_EVERY_S = 3


def title(text: str) -> None:
    print(f"\n{text}", flush=True)


def part(name: str, where: str, what: str) -> None:
    """One line for one part that has come up."""
    print(f"  {name:15} {where:23} {what}", flush=True)


def shown(path: Path) -> str:
    """The path as one would type it from here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


class Counter:
    """A line that counts: overwritten on a terminal, now and then a new one elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._line = ""
        self._printed_s = 0.0

    def show(self, elapsed_s: float, sent: int, acked: int, answers: Answers) -> None:
        self._line = (
            f"  {elapsed_s:4.0f} s  published {sent}, acknowledged {acked}, stored {answers.stored}, "
            f"refused by the database {answers.refused}, cold starts {answers.cold_starts}"
        )
        if self._live:
            print(f"\r{self._line}\x1b[K", end="", flush=True)
        elif elapsed_s >= self._printed_s + PLAIN_EVERY_S:
            self._printed_s = elapsed_s
            print(self._line, flush=True)

    def keep(self) -> None:
        """Let the line stand and go on with a new one."""
        if self._live:
            print(flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        print("" if self._live else self._line, flush=True)


def table(accounts: Sequence[Account]) -> None:
    """Per device: its own count, the shim's, the database's."""
    title("every reading, by who counted it")
    print(f"  {'':13}{'sent':>9}{'seen':>9}{'stored':>9}{'refused':>9}{'5 spans':>9}")
    print(f"  {'':13}{'(device)':>9}{'(shim)':>9}{'(Influx)':>9}{'(Influx)':>9}{'(traces)':>9}")
    for account in accounts:
        counts = (account.progress.sent, *map(len, (account.seen, account.stored, account.failed, account.complete)))
        print(f"  {account.device_id:13}" + "".join(f"{count:9}" for count in counts))


def verdict(accounts: Sequence[Account], command: str) -> int:
    """Say whether every reading's fate is known, and how to look further; returns the exit status."""
    lost = [(account.device_id, seq, where) for account in accounts for seq, where in account.unaccounted.items()]
    unacked = sum(account.progress.sent - account.progress.acked for account in accounts)
    print()
    for device_id, seq, where in lost[:20]:
        print(f"  {device_id} seq {seq}: {where}")
    if len(lost) > 20:
        print(f"  and {len(lost) - 20} more")
    if unacked:
        print(f"  {unacked} published at the very end were not acknowledged by the broker, so nobody promised anything")
    print("not every published seq is accounted for" if lost else "every published seq accounted for")
    print(f"look further:  {command}", flush=True)
    return 1 if lost else 0
