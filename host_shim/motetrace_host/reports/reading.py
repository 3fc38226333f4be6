"""`motetrace trace`: one reading, as far as the ledger and the spans know it."""

from __future__ import annotations

import difflib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from motetrace_host.core import waterfall
from motetrace_host.core.derive import derive
from motetrace_host.core.hops import Hops, Where
from motetrace_host.core.printable import printable
from motetrace_host.core.record import NO_AGE
from motetrace_host.core.sampling.reason import MEANING, Reason
from motetrace_host.core.span import Span
from motetrace_host.edges import key_file, otlp
from motetrace_host.edges.ledger import Boot, Ledger
from motetrace_host.edges.message_log import Entry, MessageLog
from motetrace_host.edges.running import Running
from motetrace_host.edges.span_store import SpanStore
from motetrace_host.reports.counts import BootCount, boots_with, counts
from motetrace_host.reports.report_error import ReportError
from motetrace_host.reports.state import KEY_NAME, clock, not_readable, opened, seen_store, shared_where
from motetrace_host.whose import Origins

FOUND, NOT_FOUND = 0, 1
# Which span shows that a reading came through which hop.
_HOPS = (
    ("device", "device_publish"),
    ("broker", "broker_forward"),
    ("rule", "rule_evaluate"),
    ("function", "transform_store"),
    ("db", "db_write"),
)


def report(
    folder: Path,
    key_path: Path,
    tenant: str,
    device_id: str,
    seq: int,
    boot: str | None,
    *,
    width: int = 100,
    colour: bool = False,
) -> tuple[str, int]:
    """Tell what is known of one reading.

    Args:
        boot: 10 hex digits, to look at this boot only.
    Returns:
        The text, and the exit code: 0 when the ledger knows the reading, else 1.
    Raises:
        ReportError: no database, a boot that is no nonce, a key that cannot be used.
    """
    nonce = _nonce(boot)
    with opened(folder) as connection:
        key = _key(key_path, must_exist=key_path != folder / KEY_NAME)
        reading = _Reading(connection, key, tenant, device_id, seq)
        entries = [
            entry for entry in MessageLog(connection).find(device_id, seq) if nonce in (None, entry.record.boot_nonce)
        ]
        if not entries:
            elsewhere = "\n".join(reading.elsewhere(nonce))
            return (elsewhere + "\n", FOUND) if elsewhere else ("\n".join(reading.unknown(nonce)) + "\n", NOT_FOUND)
        blocks = ["\n".join(reading.known(entry, width, colour)) + "\n" for entry in entries]
        return "\n".join(blocks), FOUND


class _Reading:
    def __init__(self, connection: sqlite3.Connection, key: bytes, tenant: str, device_id: str, seq: int) -> None:
        self._connection = connection
        self._ledger = Ledger(connection)
        self._log = MessageLog(connection)
        self._spans = SpanStore(connection)
        running = Running(connection).all()
        where = Where(running.get("broker", "unknown"), running.get("client_id", "unknown"))
        origins = Origins(connection)
        self._hops = Hops(where, origins.of, origins.threshold)
        self._store = seen_store(connection)
        self._shared = shared_where(connection)
        self._key = key
        self._tenant = tenant
        self._device_id = device_id
        self._seq = seq
        self._boots = {boot.boot_nonce: boot for boot in self._ledger.boots(device_id)}

    def known(self, entry: Entry, width: int, colour: bool) -> Iterator[str]:
        """One message that the ledger has."""
        message, nonce = entry.record, entry.record.boot_nonce
        spans = self._spans_of(entry)
        yield f"{printable(self._device_id)} seq {self._seq}, {_boot_words(nonce, self._boots.get(nonce))}"
        yield f"  trace-id    {message.trace_id.hex()}{self._provenance(entry)}"
        age = "" if message.age_ms == NO_AGE else f", read {message.age_ms} ms before it was published"
        yield (
            f"  first seen  {clock(message.received_unix_ns)} on {printable(entry.place.topic)}, QoS {message.qos}, "
            f"{message.payload_bytes} bytes{age}"
        )
        times = "once" if entry.deliveries == 1 else f"{entry.deliveries} times (counted once)"
        yield f"  delivered   {times}"
        yield f"  origin      {entry.origin}, from {message.carrier.replace('_', ' ')}"
        yield f"  hops        {_hops(entry, spans)}"
        if spans:
            yield ""
            yield waterfall.draw(spans, width=width, colour=colour).rstrip("\n")

    def _spans_of(self, entry: Entry) -> list[Span]:
        """The shim's own spans of a message, made anew, and those that the stages sent of its trace."""
        rows = self._spans.trace(entry.record.trace_id)
        if entry.record.kept:
            rows = [*self._hops.rows(entry.record, entry.extra), *rows]
        return [otlp.unpack(row) for row in rows]

    def elsewhere(self, nonce: bytes | None) -> Iterator[str]:
        """A message that another shim on a shared ledger has; nothing when there is none."""
        if self._shared is None:
            return
        found = [one for one in boots_with(self._store, self._device_id, self._seq) if nonce in (None, one)]
        for boot_nonce in found:
            boot = _boot_words(boot_nonce, self._boots.get(boot_nonce))
            yield f"{printable(self._device_id)} seq {self._seq}, {boot}"
            if self._key:
                trace_id = derive(self._key, self._tenant, self._device_id, boot_nonce, self._seq).trace_id
                yield f"  trace-id    {trace_id.hex()}, if it was sent as a seqref or a bare seq"
        if found:
            yield (
                f"  seen        counted once on {self._shared.url}; its record is on another shim, or no longer kept "
                "here (--max-messages). Ask on the other machines, or the trace backend."
            )

    def unknown(self, nonce: bytes | None) -> Iterator[str]:
        """A message that the ledger does not have: its neighbours, and what that says."""
        found = [count for count in self._counts(self._device_id) if nonce in (None, count.boot_nonce)]
        where = f" in boot {nonce.hex()}" if nonce else ""
        yield f"{printable(self._device_id)} seq {self._seq}{where}: not in the ledger."
        if nonce and self._key:
            trace_id = derive(self._key, self._tenant, self._device_id, nonce, self._seq).trace_id
            yield f"  Sent as a seqref, its trace-id would be {trace_id.hex()}."
        numbered = [count for count in found if count.boot_nonce is not None and count.highest_seq is not None]
        if not numbered:
            yield from self._nothing_numbered(found, nonce)
        for count in numbered:
            yield f"  {self._neighbours(count)}"

    def _counts(self, device_id: str | None = None) -> list[BootCount]:
        return counts(self._connection, self._store, device_id)

    def _nothing_numbered(self, found: Sequence[BootCount], nonce: bytes | None) -> Iterator[str]:
        if found:
            yield "  Of this device only messages without a message number are known; they cannot be told apart."
        elif nonce and self._counts(self._device_id):
            known = ", ".join(boot.hex() for boot in self._boots) or "none"
            yield f"  Known boots of this device: {known}."
        else:
            devices = {count.device_id for count in self._counts()}
            near = difflib.get_close_matches(self._device_id, sorted(devices), 3, 0.6)
            hint = f"; did you mean {' or '.join(printable(name) for name in near)}?" if near else "."
            yield f"  Nothing was ever seen of this device{hint} Known devices: {len(devices)} (motetrace devices)."

    def _neighbours(self, count: BootCount) -> str:
        nonce = count.boot_nonce or b""
        boot = f"boot {nonce.hex()}"
        before, after = self._log.neighbours(self._device_id, nonce, self._seq)
        if before and after:
            missing = after.seq - before.seq - 1
            numbers = f"{before.seq + 1}..{after.seq - 1} ({missing} numbers)" if missing > 1 else f"only {self._seq}"
            return (
                f"{boot}: a gap. {before.seq} was seen at {clock(before.received_unix_ns)}, "
                f"{after.seq} at {clock(after.received_unix_ns)}; missing between: {numbers}. "
                "It was lost between device and shim, or never sent."
            )
        if before:
            return (
                f"{boot}: beyond the last one seen, {before.seq} at {clock(before.received_unix_ns)}. "
                "Not sent yet, or lost since."
            )
        if after:
            return (
                f"{boot}: before the first one known, {after.seq} at {clock(after.received_unix_ns)}. "
                "Sent before this shim listened, lost, or already forgotten (--max-messages)."
            )
        return f"{boot}: nothing near."

    def _provenance(self, entry: Entry) -> str:
        if entry.origin == "traceparent":
            return "  (made by the device)"
        if not self._key:
            return "  (derived by the host)"
        trace_id = derive(self._key, self._tenant, self._device_id, entry.record.boot_nonce, self._seq).trace_id
        if trace_id == entry.record.trace_id:
            return "  (derived from device, boot and seq)"
        return f"  (derived with another key or tenant; this key and tenant give {trace_id.hex()})"


def _hops(entry: Entry, spans: Sequence[Span]) -> str:
    if not entry.record.kept:
        why = Reason(entry.record.decision)
        return f"not kept ({why.word}: {MEANING[why]}): counted, no spans"
    ours = _below(spans, entry.record.span_id)
    names = {span.name for span in ours}
    told = [f"{hop} {'yes' if name in names else 'no span'}" for hop, name in _HOPS]
    return ", ".join(told)


def _below(spans: Sequence[Span], root: bytes) -> list[Span]:
    """The spans of one message: a trace that continues another one's may hold several."""
    inside = {root}
    grew = True
    while grew:
        more = {span.span_id for span in spans if span.parent_id in inside} - inside
        inside |= more
        grew = bool(more)
    return [span for span in spans if span.span_id in inside]


def _boot_words(nonce: bytes, boot: Boot | None) -> str:
    words = f"boot {nonce.hex()}"
    if boot is None:
        return words
    if boot.inferred:
        words += " (inferred by the host)"
    return words + (f", firmware {printable(boot.firmware)}" if boot.firmware else "")


def _nonce(boot: str | None) -> bytes | None:
    if boot is None:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{10}", boot):
        raise ReportError(f"--boot {boot!r}: a boot nonce is 10 hex digits, for example 3f2a9c01d4")
    return bytes.fromhex(boot)


def _key(path: Path, *, must_exist: bool) -> bytes:
    """The key, b"" when there is none where a shim would make it; looking must not make one."""
    try:
        return key_file.load(path)
    except key_file.KeyFileError as error:
        if isinstance(error.__cause__, FileNotFoundError) and not must_exist:
            return b""
        if isinstance(error.__cause__, PermissionError):
            raise not_readable("key file", path, str(error.__cause__.strerror), "--key-file") from error
        raise ReportError(str(error)) from error
