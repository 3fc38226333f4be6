"""A batch on its way to two stores, as the bytes by which it survives a kill between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from motetrace_host.core.ledger.seen_numbers import check_run
from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.messages import record
from motetrace_host.shim.batch import Batch
from motetrace_host.shim.device_topics import DeviceTopic


class Pending(NamedTuple):
    """A batch whose numbers are to be merged under an id.

    Attributes:
        runs: those of its own messages first, then those that side topics brought.
    """

    id: int
    batch: Batch
    seen_runs: Sequence[SeenRuns]


class _Content(msgspec.Struct, array_like=True, frozen=True):
    received_unix_ns: int
    records: bytes
    extras: dict[int, bytes]
    keys: dict[int, bytes]
    faults: dict[int, tuple[str, ...]]
    seen_runs: list[SeenRuns]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Content)


def pack(batch: Batch, seen_runs: Sequence[SeenRuns]) -> bytes:
    """Write a batch: what its settlement needs, not its acknowledgements, which a new connection makes void.

    Raises:
        ValueError: a number is out of range. Found here, before another store is asked to merge it.
    """
    for seen in seen_runs:
        for start, end in seen.runs:
            check_run(start, end, seen.at_unix_ms)
    content = _Content(
        batch.received_unix_ns, b"".join(batch.records), batch.extras, batch.keys, batch.faults, list(seen_runs)
    )
    return _encoder.encode(content)


def unpack(batch_id: int, data: bytes, topic: Callable[[int], DeviceTopic]) -> Pending:
    """Read what `pack` wrote.

    Args:
        topic: a device topic by its number in the message log.
    Raises:
        ValueError: it was not made by `pack`.
    """
    try:
        content = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"pending batch {batch_id} of {len(data)} bytes cannot be read: {error}") from error
    batch = Batch(0, content.received_unix_ns)
    known: dict[int, DeviceTopic] = {}
    for at in range(0, len(content.records), record.SIZE):
        packed = content.records[at : at + record.SIZE]
        number = record.unpack(packed).place
        if number not in known:
            known[number] = topic(number)
        batch.records.append(packed)
        batch.topics.append(known[number])
    batch.extras, batch.keys, batch.faults = content.extras, content.keys, content.faults
    return Pending(batch_id, batch, content.seen_runs)
