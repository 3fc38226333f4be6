"""One soak: start everything, let it suffer, let it drain, compare."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from motetrace_host.core.ledger.store import SeenRow
from tests.soak import evidence, health, schedule
from tests.soak.backend import Backend
from tests.soak.broker import SoakBroker
from tests.soak.evidence import LedgerEvidence, LogEvidence
from tests.soak.faults import Faults
from tests.soak.fleet import Fleet
from tests.soak.ledger_server import SoakValkey
from tests.soak.shim import SoakShim
from tests.soak.verdict import Row, Verdict, missing
from tests.waiting import until

_TELL_S = 5.0
_ACK_LIMIT_S, _LEDGER_LIMIT_S, _SPANS_LIMIT_S = 60.0, 180.0, 240.0
_GROUP = "soak"
_MAX_TOLD = 60  # lines on the screen
# Enough for any soak: what retention takes away is not what is looked for here.
_RETENTION = ("--max-messages", "100000000", "--max-spans", "100000000")


class Settings(NamedTuple):
    """What to do; see `python -m tests.soak --help`."""

    seed: int
    seconds: float
    folder: Path
    ledger: str = "sqlite"
    shims: int = 1
    devices: int = 42
    per_second: float = 1500
    pace: float = 1.0
    bare: bool = False
    options: tuple[str, ...] = ()
    say: Callable[[str], None] = print


class Soak:
    """The parts of one soak; a context that starts them and ends them all."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._say = settings.say
        self._began = time.monotonic()
        folder = settings.folder
        self._broker = SoakBroker(folder / "broker")
        self._backend = Backend(lambda: time.monotonic() - self._began)
        self._valkey = SoakValkey(folder / "valkey") if settings.ledger == "redis" else None
        self._stack = contextlib.ExitStack()
        self._good = False

    def __enter__(self) -> Soak:
        with self._stack:
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self) -> bool:
        """Soak, drain, compare, tell; True when all is as it must be."""
        settings = self._settings
        plan = schedule.draw(settings.seed, settings.seconds, self._targets(), pace=settings.pace, bare=settings.bare)
        self._say(f"seed {settings.seed}: {len(plan)} faults in {settings.seconds:.0f} s; in {settings.folder}")
        self._fleet.start()
        self._faults.start(plan)
        end = self._began + self._settings.seconds
        self._watch(lambda: time.monotonic() >= end and not self._faults.running(), float("inf"))
        bounds = self._drain()
        for shim in self._shims:
            shim.terminate()
        return self._judge(bounds)

    def _start(self) -> None:
        settings = self._settings
        self._stack.enter_context(self._broker)
        self._backend.start()
        self._stack.callback(self._backend.stop)
        if self._valkey:
            self._stack.enter_context(self._valkey)
        self._shims = [
            SoakShim(f"shim-{number}", settings.folder, self._options(), self._began)
            for number in range(settings.shims)
        ]
        for shim in self._shims:
            self._stack.callback(self._clear, shim)
            shim.prepare()
            shim.start()
        for shim in self._shims:
            until(lambda of=shim: '"subscribed"' in of.log(), f"{shim.name} subscribes")
        self._began = time.monotonic()
        self._fleet = Fleet(
            self._broker.port, settings.seed, settings.devices, settings.per_second,
            bare=settings.bare, began=self._began,
        )  # fmt: skip
        self._stack.callback(self._fleet.close)
        self._faults = Faults(self._broker, self._backend, self._valkey, self._shims, self._fleet, self._began)
        self._stack.callback(self._faults.close)

    def _clear(self, shim: SoakShim) -> None:
        shim.clear(None if self._good else self._settings.folder)

    def _options(self) -> list[str]:
        key = self._settings.folder / "key"
        if not key.exists():
            key.write_bytes(os.urandom(32))
            key.chmod(0o600)
        options = [
            "--broker", self._broker.url, "--topic", "devices/{device_id}/telemetry",
            "--trailer", "devices/{device_id}/binary", "--key-file", str(key), "--otlp", self._backend.url,
            "--otlp-listen", "off", "--log-format", "json", *_RETENTION,
        ]  # fmt: skip
        if self._valkey:
            options += ["--ledger", self._valkey.url]
        if self._settings.shims > 1:
            options += ["--share", _GROUP]
        return [*options, *self._settings.options]

    def _targets(self) -> list[str]:
        # Only Linux lets one set another process's limits; elsewhere disks have room.
        sorts = ("shim", "disk", "clock") if sys.platform == "linux" else ("shim", "clock")
        own = [f"{sort} {number}" for number in range(self._settings.shims) for sort in sorts]
        return [*own, "broker", "backend", *(["redis"] if self._valkey else [])]

    def _watch(self, until: Callable[[], bool], limit_s: float) -> bool:
        """Look after the shims and tell how it goes until something holds; False when it does not within the limit."""
        deadline = time.monotonic() + limit_s
        next_line = time.monotonic()
        while not until():
            for shim in self._shims:
                shim.look_after()
            if time.monotonic() >= next_line:
                next_line += _TELL_S
                self._tell_progress()
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def _tell_progress(self) -> None:
        acked, stored = self._fleet.acked, evidence.stored(self._states)
        now = ", ".join(f"{target} {kind}" for target, kind in sorted(self._faults.now.items()))
        told = (
            f"{time.monotonic() - self._began:6.0f} s",
            f"acked {acked:>9,}",
            f"stored {stored:>9,}",
            f"behind {acked - stored:>7,}",
            f"spans {self._backend.book.spans:>9,}",
            f"faults {sum(self._faults.done.values()):>4}",
        )
        self._say("  ".join(told) + (f"  now: {now}" if now else ""))

    def _drain(self) -> list[Row]:
        """Let everything arrive; gives what did not within its bound."""
        self._say("no more faults; draining")
        unanswered = self._fleet.finish(_ACK_LIMIT_S)
        boots = self._fleet.boots
        in_ledger = self._watch(lambda: missing(boots, self._ledger()) == 0, _LEDGER_LIMIT_S)
        target = f"{self._backend.url}/v1/traces"
        in_backend = self._watch(lambda: evidence.unsent(self._states, target) == 0, _SPANS_LIMIT_S)
        return [
            Row("publishes still unanswered at the end", unanswered, 0),
            Row("ledger not drained in time", int(not in_ledger), 0),
            Row("spans not drained in time", int(not in_backend), 0),
        ]

    @property
    def _states(self) -> list[Path]:
        return [shim.state for shim in self._shims]

    def _ledger(self) -> LedgerEvidence:
        return LedgerEvidence(self._ledger_rows())

    def _ledger_rows(self) -> list[SeenRow]:
        if self._valkey is None:
            return [row for state in self._states for row in evidence.embedded_ledger(state)]
        return evidence.shared_ledger(self._valkey.url)

    def _judge(self, bounds: list[Row]) -> bool:
        target = f"{self._backend.url}/v1/traces"
        ledger, log = self._ledger(), LogEvidence(self._states, target)
        verdict = Verdict(self._fleet.boots, ledger, log, self._backend.book)
        rows = [
            *verdict.rows(),
            *bounds,
            *health.rows(self._shims, self._broker, self._fleet, self._faults, ledger, log),
        ]
        self._say("")
        for name, count in sorted(self._faults.done.items()):
            self._say(f"{count:>12,}  {name}")
        self._say("")
        for row in rows:
            wanted = "" if row.wanted is None else ("  ok" if row.good else f"  WRONG, must be {row.wanted:,}")
            self._say(f"{row.number:>12,}  {row.what}{wanted}")
        self._good = all(row.good for row in rows)
        if not self._good:
            self._tell_failure(verdict, log)
        return self._good

    def _tell_failure(self, verdict: Verdict, log: LogEvidence) -> None:
        shims = self._shims
        told = [
            *verdict.findings, *self._backend.book.faults, *log.faults, *self._fleet.complaints,
            *self._broker.warnings(), *self._faults.errors, *[line for shim in shims for line in shim.bad_ends],
            *[f"{shim.name} ended by itself: {end}" for shim in shims for end in shim.own_ends],
        ]  # fmt: skip
        story = self._settings.folder / "story.txt"
        story.write_text("\n".join([*self._faults.story, "", *self._backend.story, "", *told]) + "\n")
        self._say("\n" + "\n".join(told[:_MAX_TOLD]))
        self._say(f"\nFAILED: seed {self._settings.seed}; all findings, and what befell when: {story}; logs beside it")
