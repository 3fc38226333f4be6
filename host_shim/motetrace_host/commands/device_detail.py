"""`motetrace devices DEVICE`: everything that is known of one device, boot by boot, the latest first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence

from motetrace_host.commands.boot_reports import BootReport
from motetrace_host.commands.state_folder import ago, second
from motetrace_host.commands.table import runs
from motetrace_host.core.ledger.runs import Run
from motetrace_host.core.ledger.seen_numbers import SeenNumbers
from motetrace_host.core.printable import printable
from motetrace_host.core.verdict.hop_status import SHIM, STAGES
from motetrace_host.core.verdict.stage_counts import StageCount
from motetrace_host.core.wire.device_stats import FAILED_HOP
from motetrace_host.storage.side_tables import BROKER_DROPS, CloneRow

WHY = {
    "first": "the first of this device",
    "reboot": "its numbers began again",
    "wrap": "its numbers wrapped",
    "jump": "its numbers jumped by more than a million",
}


def lines(
    connection: sqlite3.Connection,
    device_id: str,
    found: Sequence[BootReport],
    rejections: Sequence[tuple[str, str, int]],
    clones: Mapping[str, CloneRow],
    now_unix_ms: int,
    limit: int,
) -> list[str]:
    """Tell about one device; at most `limit` boots, 0: all."""
    told = [printable(device_id)]
    if device_id in clones:
        told.append(f"  ! {cloned(clones[device_id])}")
    latest = sorted(found, key=lambda one: -one.last_unix_ms)
    shown = latest[:limit] if limit else latest
    for one in shown:
        told += [f"  {line}" for line in _boot(one, now_unix_ms)]
    if len(latest) > len(shown):
        lost = sum(one.lost_anywhere for one in latest[len(shown) :])
        told.append(f"  ... and {len(latest) - len(shown)} older boots, with {lost} losses in all (--all shows them)")
    for drop in BROKER_DROPS.read(connection, device_id):
        whose = f"{printable(drop.receiver, 40)}'s copy" if drop.receiver else "before anybody got it"
        unnamed = f", {drop.unnamed} of them without a number" if drop.unnamed else ""
        told.append(f"  dropped by the broker: {drop.dropped}, {drop.reason}, {whose}{unnamed}")
    told += [f"  rejected: {count} {reason}" for _, reason, count in rejections]
    return told


def interleaved(one: BootReport) -> str:
    """A boot that may be part of another one, and the remedy."""
    nonce = (one.boot_nonce or b"").hex()
    name = printable(one.device_id)
    return (
        f"{name}: the inferred boots {one.interleaves.hex()} and {nonce} take each other's gaps: one boot cut in two, "
        f"or two devices under one id. One boot: motetrace db merge-boots {name} {one.interleaves.hex()} {nonce}"
    )


def cloned(clone: CloneRow) -> str:
    """A device id that two devices use, and the remedy."""
    return (
        f"{printable(clone.device_id)}: two devices use this id in turns, boots {clone.older.hex()} and "
        f"{clone.newer.hex()}, told last {second(clone.last_unix_ms)}: give each its own id"
    )


def _boot(one: BootReport, now_unix_ms: int) -> Iterator[str]:
    if one.boot_nonce is None:
        yield f"without a number: {one.seen} messages, {one.duplicates} came twice, last {second(one.last_unix_ms)}"
        return
    yield _heading(one)
    if one.interleaves:
        yield f"  ! {interleaved(one)}"
    yield from (f"  {name:9} {text}" for name, text in _facts(one, now_unix_ms))


def _heading(one: BootReport) -> str:
    words = f"boot {(one.boot_nonce or b'').hex()}"
    if one.boot is not None and one.boot.inferred:
        words += f", inferred by the host ({WHY.get(one.boot.why, 'why is not known')})"
    if one.boot is not None and one.boot.firmware:
        words += f", firmware {printable(one.boot.firmware)}"
    return words


def _facts(one: BootReport, now_unix_ms: int) -> Iterator[tuple[str, str]]:
    shim = one.states.get(SHIM)
    if shim is None:
        yield "seen", "nothing yet by the shim"
    else:
        yield "seen", f"{second(shim.first_unix_ms)} to {second(shim.last_unix_ms)}"
        bounds = f"{shim.lowest}..{shim.highest}"
        recovered = f" ({shim.recovered} of them had counted as lost)" if shim.recovered else ""
        yield (
            "numbers",
            (f"{bounds}: {one.seen} seen, {one.duplicates} came twice, {one.late} late{recovered}"),
        )
        lost, waiting = _missing(one, shim, now_unix_ms)
        if lost:
            yield "lost", f"{_size(lost)}: {runs(lost)}"
        if shim.forgotten:
            yield "lost", f"{shim.forgotten} more, whose numbers are forgotten"
        if waiting:
            yield "waiting", f"{_size(waiting)}: {runs(waiting)}"
    yield from _device(one, now_unix_ms)
    if one.dropped:
        yield "broker", f"{one.dropped} dropped: {runs(one.states['broker.dropped'].runs())}"
    reporting = {stage.hop: stage for stage in one.stages}
    for hop in STAGES:
        if hop not in reporting:
            yield hop, "sends no reports"
        else:
            yield from _stage(reporting[hop])


def _missing(one: BootReport, shim: SeenNumbers, now_unix_ms: int) -> tuple[list[Run], list[Run]]:
    """The numbers lost, and those that may still come; what the device assigned above the highest seen included."""
    missing = shim.missing_runs(now_unix_ms)
    lost = [(run.start, run.end) for run in missing if run.lost]
    waiting = [(run.start, run.end) for run in missing if not run.lost]
    if one.unseen:
        (lost if one.unseen.lost else waiting).append((shim.highest + 1, shim.highest + one.unseen.numbers))
    return lost, waiting


def _device(one: BootReport, now_unix_ms: int) -> Iterator[tuple[str, str]]:
    if one.stats is None:
        yield "device", "sent no stats: what it lost after its last message is not known"
    else:
        said, heard_unix_ms = one.stats
        parts = [
            f"last assigned {said.last_seq}, told {ago(now_unix_ms - heard_unix_ms)}",
            f"{said.acked} acked, {said.lost} given up, {said.pending} pending",
        ]
        if said.rtt_ms is not None:
            parts.append(f"fastest PUBACK {said.rtt_ms} ms")
        if said.free_bytes is not None:
            parts.append(f"{said.free_bytes} bytes free")
        yield "device", "; ".join(parts)
        if said.counters:
            yield "", ", ".join(f"{printable(name)} {count}" for name, count in said.counters)
    if one.failed:
        named = f": {runs(one.states[FAILED_HOP].runs())}" if FAILED_HOP in one.states else ""
        yield "", f"{one.failed} publishes failed{named}"


def _stage(stage: StageCount) -> Iterator[tuple[str, str]]:
    if stage.highest is None:
        yield stage.hop, f"reports, but saw nothing of this boot; {stage.lost} lost, {stage.unsure} may not be for it"
        return
    parts = [f"{stage.seen} seen, up to {stage.highest}"]
    if stage.hop == "rule":
        parts.append(f"{stage.filtered} filtered")
    parts += [f"{stage.failed} failed", f"{stage.lost} lost"]
    if stage.waiting:
        parts.append(f"{stage.waiting} may still come")
    if stage.unsure:
        parts.append(f"{stage.unsure} of which is not known whether they came")
    yield stage.hop, ", ".join(parts)
    if stage.lost_runs:
        yield "", f"lost there: {runs(stage.lost_runs)}"


def _size(found: Sequence[tuple[int, int]]) -> int:
    return sum(end - start + 1 for start, end in found)
