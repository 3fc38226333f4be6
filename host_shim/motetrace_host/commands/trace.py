"""`motetrace trace`: one reading, as far as the ledger and the spans know it."""

from __future__ import annotations

import difflib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from motetrace_host.commands import verdict_text
from motetrace_host.commands.boot_reports import BootReport, facts_of, gather
from motetrace_host.commands.options import parse_nonce
from motetrace_host.commands.state_folder import KEY_NAME, clock, not_readable, opened, seen_store, shared_where
from motetrace_host.commands.verdict_text import Case
from motetrace_host.core.errors import OperatorError
from motetrace_host.core.messages.derived_ids import derive
from motetrace_host.core.messages.message_spans import MessageSpanEncoder, ShimIdentity
from motetrace_host.core.messages.record import NO_AGE
from motetrace_host.core.printable import printable
from motetrace_host.core.sampling.reason import MEANING, Reason
from motetrace_host.core.spans import waterfall
from motetrace_host.core.spans.span import Span, Status
from motetrace_host.core.verdict.hop_status import SHIM, HopStatus
from motetrace_host.core.verdict.locate import locate
from motetrace_host.network import otlp_codec
from motetrace_host.storage import secret_files, side_tables
from motetrace_host.storage.boot_table import Boot
from motetrace_host.storage.device_lookup import DeviceLookup
from motetrace_host.storage.message_log import LoggedMessage, MessageLog
from motetrace_host.storage.run_settings import RunSettings
from motetrace_host.storage.span_store import SpanStore

FOUND, NOT_FOUND = 0, 1
_MAX_BOOTS = 10  # of a number that is not in the log: for each the whole log is read
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
        OperatorError: no database, a boot that is no nonce, a key that cannot be used.
    """
    nonce = parse_nonce(boot, "--boot") if boot is not None else None
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
        self._log = MessageLog(connection)
        self._spans = SpanStore(connection)
        running = RunSettings(connection).all()
        where = ShimIdentity(running.get("broker", "unknown"), running.get("client_id", "unknown"))
        devices = DeviceLookup(connection)
        self._hops = MessageSpanEncoder(where, devices.find, devices.threshold)
        self._shared = shared_where(connection)
        self._key = key
        self._tenant = tenant
        self._device_id = device_id
        self._seq = seq
        now_unix_ms = time.time_ns() // 1_000_000
        self._facts = facts_of(connection, now_unix_ms)
        found = gather(connection, seen_store(connection), now_unix_ms, device_id)
        self._unnumbered = any(one.boot_nonce is None for one in found)
        self._reports = {one.boot_nonce: one for one in found if one.boot_nonce is not None}
        self._drops = sorted({drop.reason for drop in side_tables.BROKER_DROPS.read(connection, device_id)})

    def known(self, entry: LoggedMessage, width: int, colour: bool) -> Iterator[str]:
        """One message that the ledger has."""
        message, nonce = entry.record, entry.record.boot_nonce
        spans = self._spans_of(entry)
        one = self._reports.get(nonce)
        yield f"{printable(self._device_id)} seq {self._seq}, {_boot_words(nonce, one.boot if one else None)}"
        if one is not None and message.numbered:
            case = self._case(one, message.received_unix_ns // 1_000_000, _below(spans, message.span_id))
            yield f"  {verdict_text.sentence(case)}"
            yield f"  hops        {verdict_text.hops(case.verdict)}"
        yield f"  trace-id    {message.trace_id.hex()}{self._provenance(entry)}"
        age = "" if message.age_ms == NO_AGE else f", read {message.age_ms} ms before it was published"
        held = f", kept by the broker for {entry.extra.held_s} s" if entry.extra.held_s else ""
        yield (
            f"  first seen  {clock(message.received_unix_ns)} on {printable(entry.place.topic)}, QoS {message.qos}, "
            f"{message.payload_bytes} bytes{age}{held}"
        )
        times = "once" if entry.deliveries == 1 else f"{entry.deliveries} times (counted once)"
        yield f"  delivered   {times}"
        yield f"  origin      {entry.origin}, from {message.carrier.replace('_', ' ')}"
        yield f"  spans       {_hops(entry, spans)}"
        if spans:
            yield ""
            yield waterfall.draw(spans, width=width, colour=colour).rstrip("\n")

    def _spans_of(self, entry: LoggedMessage) -> list[Span]:
        """The shim's own spans of a message, made anew, and those that the stages sent of its trace."""
        rows = self._spans.trace(entry.record.trace_id)
        if entry.record.kept:
            rows = [*self._hops.rows(entry.record, entry.extra), *rows]
        return [otlp_codec.unpack(row) for row in rows]

    def elsewhere(self, nonce: bytes | None) -> Iterator[str]:
        """A message that another shim on a shared ledger has; nothing when there is none."""
        if self._shared is None:
            return
        found = [
            (boot_nonce, one)
            for boot_nonce, one in self._reports.items()
            if nonce in (None, boot_nonce) and SHIM in one.states and one.states[SHIM].contains(self._seq)
        ]
        for boot_nonce, one in found:
            yield f"{printable(self._device_id)} seq {self._seq}, {_boot_words(boot_nonce, one.boot)}"
            case = self._case(one, None, ())
            yield f"  {verdict_text.sentence(case)}"
            yield f"  hops        {verdict_text.hops(case.verdict)}"
            if self._key:
                trace_id = derive(self._key, self._tenant, self._device_id, boot_nonce, self._seq).trace_id
                yield f"  trace-id    {trace_id.hex()}, if it was sent as a seqref or a bare seq"
        if found:
            yield (
                f"  seen        counted once on {self._shared.url}; its record is on another shim, or no longer kept "
                "here (--max-messages). Ask on the other machines, or the trace backend."
            )

    def unknown(self, nonce: bytes | None) -> Iterator[str]:
        """A message that the log does not have: what the ledger says of it, and its neighbours."""
        where = f" in boot {nonce.hex()}" if nonce else ""
        yield f"{printable(self._device_id)} seq {self._seq}{where}: not in the ledger."
        if nonce and self._key:
            trace_id = derive(self._key, self._tenant, self._device_id, nonce, self._seq).trace_id
            yield f"  Sent as a seqref, its trace-id would be {trace_id.hex()}."
        found = [one for boot, one in self._reports.items() if nonce in (None, boot)]
        if not found:
            yield from self._nothing_numbered(nonce)
        latest = sorted(found, key=lambda one: -one.last_unix_ms)
        for one in latest[:_MAX_BOOTS]:
            case = self._case(one, None, ())
            yield f"  boot {(one.boot_nonce or b'').hex()}: {verdict_text.sentence(case)}"
            yield f"    {self._neighbours(one)}"
        if len(latest) > _MAX_BOOTS:
            yield f"  ... and {len(latest) - _MAX_BOOTS} older boots: name one with --boot."

    def _case(self, one: BootReport, received_unix_ms: int | None, spans: Sequence[Span]) -> Case:
        assigned, told_unix_ms = (one.stats[0].last_seq, one.stats[1]) if one.stats else (None, 0)
        facts = replace(
            self._facts, received_unix_ms=received_unix_ms, assigned=assigned, assigned_unix_ms=told_unix_ms,
            all_acked=one.all_acked, witnessed=_witnessed(spans),
        )  # fmt: skip
        return Case(self._seq, one.states, facts, locate(self._seq, one.states, facts), self._drops)

    def _nothing_numbered(self, nonce: bytes | None) -> Iterator[str]:
        if self._unnumbered and nonce is None:
            yield "  Of this device only messages without a message number are known; they cannot be told apart."
        elif nonce and self._reports:
            known = ", ".join(boot.hex() for boot in self._reports)
            yield f"  Known boots of this device: {known}."
        else:
            devices = {place.device_id for place in self._log.places().values()}
            near = difflib.get_close_matches(self._device_id, sorted(devices), 3, 0.6)
            hint = f"; did you mean {' or '.join(printable(name) for name in near)}?" if near else "."
            yield f"  Nothing was ever seen of this device{hint} Known devices: {len(devices)} (motetrace devices)."

    def _neighbours(self, one: BootReport) -> str:
        """What the message log still has around the number."""
        before, after = self._log.neighbours(self._device_id, one.boot_nonce or b"", self._seq)
        shim = one.states.get(SHIM)
        if shim is not None and shim.contains(self._seq):
            return "The shim saw it, and its record is already forgotten (--keep, --max-messages)."
        if before and after:
            missing = after.seq - before.seq - 1
            numbers = f"{before.seq + 1}..{after.seq - 1} ({missing} numbers)" if missing > 1 else f"only {self._seq}"
            return (
                f"A gap: {before.seq} was seen at {clock(before.received_unix_ns)}, "
                f"{after.seq} at {clock(after.received_unix_ns)}; missing between: {numbers}."
            )
        if before:
            return f"Beyond the last one seen, {before.seq} at {clock(before.received_unix_ns)}."
        if after:
            return (
                f"Before the first one known, {after.seq} at {clock(after.received_unix_ns)}: "
                "sent before this shim listened, lost, or already forgotten (--keep, --max-messages)."
            )
        return "Of its neighbours no record is left (--keep, --max-messages)."

    def _provenance(self, entry: LoggedMessage) -> str:
        if entry.extra.link_trace_id:
            return f"  (the host's own, linked to {entry.extra.link_trace_id.hex()}: --trust link)"
        if entry.origin == "traceparent":
            return "  (made by the device)"
        if not self._key:
            return "  (derived by the host)"
        trace_id = derive(self._key, self._tenant, self._device_id, entry.record.boot_nonce, self._seq).trace_id
        if trace_id == entry.record.trace_id:
            return "  (derived from device, boot and seq)"
        return f"  (derived with another key or tenant; this key and tenant give {trace_id.hex()})"


def _witnessed(spans: Sequence[Span]) -> dict[str, HopStatus]:
    """What the stages' spans of a message show."""
    found = {}
    for hop, name in _HOPS[2:]:
        mine = [span for span in spans if span.name == name]
        if any(span.status == Status.ERROR or span.attributes.get("db.status") == "error" for span in mine):
            found[hop] = HopStatus.FAILED
        elif mine and all(span.attributes.get("rule.matched") is False for span in mine):
            found[hop] = HopStatus.FILTERED
        elif mine:
            found[hop] = HopStatus.SEEN
    return found


def _hops(entry: LoggedMessage, spans: Sequence[Span]) -> str:
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


def _key(path: Path, *, must_exist: bool) -> bytes:
    """The key, b"" when there is none where a shim would make it; looking must not make one."""
    try:
        return secret_files.load_key(path)
    except OperatorError as error:
        if isinstance(error.__cause__, FileNotFoundError) and not must_exist:
            return b""
        if isinstance(error.__cause__, PermissionError):
            raise not_readable("key file", path, str(error.__cause__.strerror), "--key-file") from error
        raise OperatorError(str(error)) from error
