"""Counting every message at this process's hops, and telling the shim: what `stages.configure(report=...)` turns on.

Stages call `current().count`; a daemon thread of its own does the rest. A fork begins anew: what the parent counted
stays the parent's to report, and the child is a process with its own nonce.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from motetrace_host.core.messages.message_number import MessageNumber
from motetrace_host.core.wire import hop_report
from motetrace_host.stages.hop_tally import HopTally
from motetrace_host.stages.report_outbox import ReportOutbox
from motetrace_host.stages.report_sink import Sink

EXIT_WAIT_S: Final = 2.0
_POLL_S: Final = 0.02

_log = logging.getLogger("motetrace")


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """Where reports go and how often: `topic` of this process, `every_s` > 0."""

    sink: Sink
    topic: str
    every_s: float


class Reporting:
    """The tally, the outbox and the thread between them, of one process.

    Args:
        monotonic: Seconds.
        process: 8 random bytes.
    """

    def __init__(
        self, settings: ReportSettings, monotonic: Callable[[], float] = time.monotonic, process: bytes = b""
    ) -> None:
        self.settings = settings
        self._monotonic = monotonic
        self._wake = threading.Event()
        self.stopping = False
        self.tally = HopTally(on_half_full=self._wake.set)
        self._outbox = ReportOutbox(settings.topic, process or os.urandom(hop_report.PROCESS_BYTES))
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def count(self, hop: str, outcome: str, number: MessageNumber | None) -> None:
        """Count one message (see `HopTally.count`) and see to it that somebody reports it."""
        self.tally.count(hop, outcome, number)
        if self._thread is None:
            self._start()

    def move(self, settings: ReportSettings) -> None:
        """Go on elsewhere: counts and numbers stay, what had not arrived is sent again there."""
        with self._sending:
            old, self.settings = self.settings, settings
            self._outbox.topic = settings.topic
            self._outbox.start_over()
        if old.sink is not settings.sink:
            old.sink.close()

    def step(self) -> bool:
        """Send what is due; tells whether everything counted so far has arrived."""
        with self._sending:
            if self._sent():  # else what comes meanwhile joins its runs in the tally, and needs no report of its own
                self._outbox.fill(self.tally.drain())
            return self._sent()

    def flush(self, timeout_s: float) -> bool:
        """Report what was counted until now; tells whether it arrived in time."""
        deadline = time.monotonic() + timeout_s
        if not self._sending.acquire(timeout=max(timeout_s, 0.0)):
            return False
        try:
            if not self._sent_by(deadline):
                return False
            self._outbox.fill(self.tally.drain())
            return self._sent_by(deadline)
        finally:
            self._sending.release()

    def _sent_by(self, deadline: float) -> bool:
        while not self._sent():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def stop(self) -> None:
        """End the thread and let go of the sink; nothing is sent any more."""
        self.stopping = True
        self._wake.set()
        self.settings.sink.close()

    def forked(self) -> Reporting | None:
        """The reporting of a child process, in that child."""
        sink = self.settings.sink.forked()
        return None if sink is None else Reporting(replace(self.settings, sink=sink), self._monotonic)

    def _sent(self) -> bool:
        self._outbox.send(self.settings.sink.publish, self._monotonic())
        return self._outbox.is_empty

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=_run, args=(weakref.ref(self), self._wake), name="motetrace-hops",
                                          daemon=True)  # fmt: skip
                self._thread = thread
                try:
                    thread.start()
                except RuntimeError as error:  # no more threads, or the interpreter ends: flush still works
                    _log.warning("motetrace: hops are reported by flush_reports() only: %s", error)


def _run(owner: weakref.ref[Reporting], wake: threading.Event) -> None:
    reporting = owner()
    while reporting is not None and not reporting.stopping:
        every_s = reporting.settings.every_s
        reporting = None  # so that one that nobody holds any more ends its thread
        wake.wait(every_s)
        wake.clear()
        reporting = owner()
        if reporting is not None and not reporting.stopping:
            try:
                reporting.step()
            except Exception:  # noqa: BLE001  the thread must outlive what nobody thought of
                _log.exception("motetrace: hop reports could not be made; tried again")


_reporting: Reporting | None = None


def begin(settings: ReportSettings | None) -> None:
    """Report so from now on; None: no longer."""
    global _reporting
    if settings is None:
        if _reporting is not None:
            _reporting.stop()
        _reporting = None
    elif _reporting is None:
        _reporting = Reporting(settings)
    else:
        _reporting.move(settings)


def current() -> Reporting | None:
    """Give what counts in this process; None where nobody asked for reports."""
    return _reporting


def flush_reports(timeout_s: float = 5.0) -> bool:
    """Report what this process's stages counted, and wait until it has arrived.

    For the end of a process that would not get to its `atexit` functions (a signal, a container that is frozen), and
    before the application disconnects a client that it gave to `configure`. Not for a callback of that client: its
    acknowledgements would wait for the callback.

    Args:
        timeout_s: How long to wait at most.
    Returns:
        True when everything has arrived, or nothing was to report; False when not: it is kept and sent again.
    """
    reporting = _reporting
    return reporting is None or reporting.flush(timeout_s)


def _at_exit() -> None:
    reporting = _reporting
    if reporting is not None:
        reporting.tally.give_up_strangers()
        reporting.flush(EXIT_WAIT_S)
        reporting.stop()


def _in_child() -> None:
    global _reporting
    if _reporting is not None:
        _reporting = _reporting.forked()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
