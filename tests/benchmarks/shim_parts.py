"""Where the shim's time goes: each part of a message's way alone, in processor microseconds a message.

The parts run one after the other in one process, so their sum is a little less than what `motetrace run` spends: there
the network's thread and the pipeline's take turns, and system calls come on top.
"""

import gzip
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.messages import record
from motetrace_host.core.messages.message_spans import MessageSpanEncoder, ShimIdentity, SpanBatch
from motetrace_host.core.mqtt import framing
from motetrace_host.core.mqtt.connection import Chunk
from motetrace_host.shim.batch import Batch
from motetrace_host.storage import database
from motetrace_host.storage.device_lookup import DeviceLookup
from motetrace_host.storage.message_log import Block
from motetrace_host.storage.sqlite_ledger import SqliteLedger
from tests.benchmarks import feeder
from tests.host.app.conftest import NOW, Bench

MESSAGES, BATCH = 200_000, 4_000
ROUNDS = 3


class _Stopwatch:
    """Adds up processor time by part."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def __call__(self, part: str, work: Callable[[], object]) -> object:
        before = time.process_time()
        result = work()
        self.spent[part] = self.spent.get(part, 0.0) + time.process_time() - before
        return result


def _measure(devices: int, folder: Path) -> dict[str, float]:
    """Microseconds a message of each part."""
    watch = _Stopwatch()
    bench = Bench(folder / "motetrace.db")
    hops = MessageSpanEncoder(
        ShimIdentity("broker:1883", "shim"), DeviceLookup(bench.connection).find, lambda number: 0
    )
    ledger = database.connect(folder / "ledger.db")
    alone = SqliteLedger(ledger)
    for first in range(0, MESSAGES, BATCH):
        data = b"".join(feeder.packet(number, devices) for number in range(first, first + BATCH))
        frames = watch("frames out of the stream", lambda data=data: framing.Stream().feed(data))
        batch = Batch(1, NOW)
        chunk = Chunk(frames, 1, NOW, len(data))  # type: ignore[arg-type]
        watch("device, context, decision, record", lambda c=chunk, b=batch: bench.reader.read(c, b))
        seen_runs: list[SeenRuns] = batch.runs()
        with database.transaction(ledger):
            watch("of which the ledger of numbers", lambda at=first, d=seen_runs: alone.merge(at // BATCH + 1, d))
        watch("ledger, records, commit", lambda b=batch: bench.journal.write(b))
        block = Block(1, NOW, BATCH, b"".join(batch.records), b"")
        spans = SpanBatch()
        watch("two spans, when they are sent", lambda b=block, s=spans: hops.add(b.records, range(BATCH), {}, s))
        body = watch("the request of them", spans.request)
        watch("gzip", lambda b=body: gzip.compress(b, 1, mtime=0))  # type: ignore[arg-type]
    assert bench.log.count() == MESSAGES
    assert sum(len(block.records) for block in bench.log.blocks()) == record.SIZE * MESSAGES
    bench.close()
    ledger.close()
    return {part: seconds / MESSAGES * 1e6 for part, seconds in watch.spent.items()}


def main() -> None:
    """Print the table, the best of some rounds."""
    fleets = (50, 10_000)
    found: dict[int, list[dict[str, float]]] = {devices: [] for devices in fleets}
    for _ in range(ROUNDS):
        for devices in fleets:
            with tempfile.TemporaryDirectory() as folder:
                found[devices].append(_measure(devices, Path(folder)))
    print(f"{'processor us a message':40}" + "".join(f"{devices:>14} devices" for devices in fleets))
    for part in found[fleets[0]][0]:
        best = [min(each[part] for each in found[devices]) for devices in fleets]
        print(f"  {part:38}" + "".join(f"{us:22.2f}" for us in best))
