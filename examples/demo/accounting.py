"""Where every reading went: what the devices say against the shim's ledger, the traces, and the database."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import urllib3

from motetrace_host.storage.message_log import MessageLog

# The other two of the five, device_publish and broker_forward, the shim makes of the message itself.
STAGES = frozenset({"rule_evaluate", "transform_store", "db_write"})
LATE_SPANS_NS = 60 * 10**9  # the spans of one trace arrive within this time
_ERROR = 2  # OTLP status code


class QueryFailed(RuntimeError):
    """InfluxDB did not answer a question, or refused it."""


class Progress(NamedTuple):
    """A device's own count: the seq of its first reading, and how many were published and acknowledged."""

    first_seq: int = 1
    sent: int = 0
    acked: int = 0


@dataclass
class Account:
    """One device's readings, by seq.

    Attributes:
        progress: the device's own count. The broker acknowledges in order, so it is the first ones that are promised.
        seen: in the shim's ledger.  stored: in the database.  failed: their db_write span says error.
        complete: their trace has all five spans.
        judged_from: what is older, a demo that ran for hours has let go of.
    """

    device_id: str
    progress: Progress = field(default_factory=Progress)
    judged_from: int = 0
    seen: set[int] = field(default_factory=set)
    stored: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    complete: set[int] = field(default_factory=set)

    @property
    def unaccounted(self) -> dict[int, str]:
        """Every acknowledged seq whose fate is not known, with the place where it was seen last."""
        places = {}
        first, _, acked = self.progress
        for seq in range(max(first, self.judged_from), first + acked):
            if seq not in self.seen:
                places[seq] = "acknowledged by the broker, never seen by the shim"
            elif seq not in self.stored | self.failed:
                places[seq] = "seen by the shim, neither stored nor refused by the database"
            elif seq not in self.complete:
                places[seq] = "its trace lacks a span"
        return places


def draw_up(progress: Mapping[str, Progress], state: Path, stored: Mapping[str, Iterable[int]]) -> list[Account]:
    """Compare what the devices counted with what the shim and the database hold.

    Args:
        progress: device id to its own count.
        state: the shim's state folder.
        stored: device id to the seqs of its points in the database.
    """
    accounts = {device: Account(device, own) for device, own in progress.items()}
    with connect(state) as database:
        names, failed = _traces(database)
        whole_since_unix_ns = _whole_since_unix_ns(database)
        for entry in MessageLog(database).entries():
            message, device_id = entry.record, entry.place.device_id
            if not message.numbered:
                continue
            account = accounts.setdefault(device_id, Account(device_id))
            account.seen.add(message.seq)
            if message.received_unix_ns < whole_since_unix_ns:
                account.judged_from = max(account.judged_from, message.seq + 1)
            if message.trace_id in failed:
                account.failed.add(message.seq)
            if message.kept and names[message.trace_id] >= STAGES:
                account.complete.add(message.seq)
    for device_id, seqs in stored.items():
        accounts.setdefault(device_id, Account(device_id)).stored.update(seqs)
    return sorted(accounts.values(), key=lambda account: account.device_id)


def cold_start(state: Path) -> tuple[str, int] | None:
    """Return (device id, seq) of the trace with the longest transform_store, None when there is none."""
    with connect(state) as database:
        slowest = database.execute(
            "SELECT trace_id FROM span WHERE name = 'transform_store' ORDER BY end_unix_ns - start_unix_ns DESC LIMIT 1"
        ).fetchone()
        for entry in MessageLog(database).entries() if slowest else ():
            if entry.record.trace_id == slowest[0]:
                return entry.place.device_id, entry.record.seq
    return None


def seen(state: Path) -> int:
    """Return how many messages are in the ledger."""
    with connect(state) as database:
        return MessageLog(database).count()


def connect(state: Path) -> sqlite3.Connection:
    """Open the shim's database for reading; it may still be running."""
    return sqlite3.connect(f"file:{state.resolve() / 'motetrace.db'}?mode=ro", uri=True, timeout=10)


def stored_seqs(influx_url: str, database: str, measurement: str) -> dict[str, list[int]]:
    """Ask InfluxDB for the seqs of each device's points."""
    answer = query(influx_url, database, f'SELECT seq FROM "{measurement}" GROUP BY device')
    series = answer.get("series", [])
    return {each["tags"]["device"]: [int(row[1]) for row in each["values"]] for each in series}


def query(influx_url: str, database: str, text: str) -> dict[str, list[dict[str, dict[str, str]]]]:
    """Send one statement to InfluxDB.

    Raises:
        QueryFailed: it refuses it, or does not answer within 10 s.
    """
    try:
        fields = {"db": database, "q": text}
        answer = urllib3.request("POST", f"{influx_url}/query", fields=fields, timeout=10).json()
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise QueryFailed(f"InfluxDB at {influx_url} does not answer {text!r}: {error}") from error
    result = answer["results"][0] if "results" in answer else answer
    if "error" in result:
        raise QueryFailed(f"InfluxDB refuses {text!r}: {result['error']}")
    return dict(result)


def _whole_since_unix_ns(database: sqlite3.Connection) -> int:
    """Return since when all spans are there: 0, unless the shim's retention has deleted some."""
    first_id, oldest_unix_ns = database.execute("SELECT min(id), min(end_unix_ns) FROM span").fetchone()
    return 0 if first_id in (None, 1) else oldest_unix_ns + LATE_SPANS_NS


def _traces(database: sqlite3.Connection) -> tuple[dict[bytes, set[str]], set[bytes]]:
    """Return the span names of each trace, and the traces whose db_write failed."""
    names: dict[bytes, set[str]] = defaultdict(set)
    failed = set()
    for trace_id, name, status in database.execute("SELECT trace_id, name, status FROM span"):
        names[trace_id].add(name)
        if name == "db_write" and status == _ERROR:
            failed.add(trace_id)
    return names, failed
