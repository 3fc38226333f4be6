"""Spans in and out: what receives the stages' spans, and what sends all of them on; each only where it is wanted."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from motetrace_host.core.errors import StoreError
from motetrace_host.core.messages.message_spans import ShimIdentity
from motetrace_host.core.sampling.head import HeadSampler
from motetrace_host.core.spans.span import SpanRow
from motetrace_host.network.otlp_forwarder import OtlpForwarder, traces_url
from motetrace_host.network.otlp_receiver import OtlpReceiver
from motetrace_host.shim.config import Config
from motetrace_host.shim.logging import Log
from motetrace_host.shim.own_ledger import OwnLedger
from motetrace_host.shim.span_intake import SpanIntake
from motetrace_host.shim.span_outbox import SpanOutbox, unsent_elsewhere
from motetrace_host.shim.tail_sampler import TailSampler
from motetrace_host.storage import database, secret_files
from motetrace_host.storage.forward_cursor import ForwardCursor, ForwardState

_FLUSH_S = 5.0
_TAIL_REMEDY = (
    "spans that stages send to another shim than their message reached are not known here: sample the tail in a "
    "Collector (motetrace collector-config --gateway-hosts)"
)


class SpanExchange:
    """The receiver, the tail sampler and the forwarder of a shim.

    Args:
        connection: for looking at how far the forwarder is. path: of the database.
    Raises:
        OperatorError, StoreError: a part cannot be made.
    """

    def __init__(
        self,
        config: Config,
        connection: sqlite3.Connection,
        path: Path,
        where: ShimIdentity,
        head: HeadSampler,
        ledger: OwnLedger,
        log: Log,
    ) -> None:
        self._connection = connection
        self._log = log
        self._tail = _tail(config, path, head, ledger, log)
        self._outbox: SpanOutbox | None = None
        self._forwarder: OtlpForwarder | None = None
        export = config.export
        if export.otlp:
            url = traces_url(export.otlp)
            headers = secret_files.load_headers(export.otlp_headers_file) if export.otlp_headers_file else {}
            self._outbox = SpanOutbox(database.connect(path), url, where, self._tail)
            self._forwarder = OtlpForwarder(self._outbox, url, headers=headers, compression=export.otlp_compression)
        self._receiver: OtlpReceiver | None = None
        if export.otlp_listen:
            intake = SpanIntake(database.connect(path), self._received)
            self._receiver = OtlpReceiver(intake, export.otlp_listen.host, export.otlp_listen.port)

    def start(self) -> None:
        """Begin to send and to receive."""
        if self._forwarder:
            self._forwarder.start()
        if self._receiver:
            self._receiver.start()
            print(f"OTLP receiver: {self._receiver.url}", flush=True)

    def stop(self) -> None:
        """Receive no more; send what is left, as far as time suffices."""
        if self._receiver:
            self._receiver.stop()
        if self._forwarder:
            self._forwarder.stop(_FLUSH_S)

    def notify(self) -> None:
        """There is something to send."""
        if self._forwarder:
            self._forwarder.notify()

    def births_changed(self) -> None:
        """Some boot's attributes changed."""
        if self._outbox:
            self._outbox.births_changed()

    def unsent(self) -> int:
        """How many messages and spans wait to be sent."""
        at = self._state()
        return at.pending_messages + at.pending_spans if at else 0

    def endpoints(self) -> dict[str, str]:
        """Where spans come from and go to, for the log."""
        return {
            "otlp_receiver": self._receiver.url if self._receiver else "off",
            "otlp_forward": self._forwarder.url if self._forwarder else "off",
        }

    def summary(self) -> dict[str, Any]:
        """How far it is, for the log."""
        numbers: dict[str, Any] = {}
        with contextlib.suppress(StoreError):
            at = self._state()
            if at:
                numbers["forwarded"] = at._asdict()
        if self._tail:
            numbers["tail"] = self._tail.traces.summary()
        return numbers

    def log_former_targets(self) -> None:
        """Log the backends of earlier settings that never got everything."""
        unsent: dict[str, int] = {}
        with contextlib.suppress(StoreError):
            unsent = unsent_elsewhere(self._connection, self._forwarder.url if self._forwarder else "")
        for target, spans in unsent.items():
            self._log.info(
                "otlp_former_target",
                target=target,
                unsent=spans,
                remedy="to send them there, name it with --otlp again; else nothing: --max-spans sheds the oldest",
            )

    def _state(self) -> ForwardState | None:
        if not self._forwarder:
            return None
        with database.translated():
            return ForwardCursor(self._connection, self._forwarder.url).state()

    def _received(self, rows: Sequence[SpanRow]) -> None:
        if self._tail:
            self._tail.traces.observe(rows)
        self.notify()


def _tail(config: Config, path: Path, head: HeadSampler, ledger: OwnLedger, log: Log) -> TailSampler | None:
    rules = config.sampling.tail_rules
    if rules is None:
        return None
    if config.cluster.share:
        log.warning("tail_hears_a_part", share=config.cluster.share, remedy=_TAIL_REMEDY)
    connection = database.connect(path)
    return TailSampler(connection, ledger.states(connection), rules, config.sampling.sample, head.targets)
