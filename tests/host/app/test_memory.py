"""What the shim keeps of a device, of a message that waits, and of a message on disk: bytes, with their bounds."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from motetrace_host.core.messages import record
from motetrace_host.core.mqtt import framing
from motetrace_host.core.mqtt.connection import Chunk
from motetrace_host.shim.batch import Batch
from motetrace_host.shim.inbox import Inbox
from motetrace_host.storage import database
from motetrace_host.storage.message_log import MessageLog
from tests.benchmarks import feeder
from tests.host.app.conftest import NOW, Bench

DEVICES = 5_000
MAX_DEVICE_BYTES = 2_000  # one topic, one boot; of that the ledger's state 540
MAX_WAITING_BYTES = 320  # a message of 183 bytes
MAX_DISK_BYTES = 62


@contextmanager
def measured(found: list[int]) -> Iterator[None]:
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    yield
    gc.collect()
    found.append(tracemalloc.get_traced_memory()[0] - before)
    tracemalloc.stop()


def frames(first: int, count: int) -> list[framing.Frame]:
    data = b"".join(feeder.packet(number, DEVICES) for number in range(first, first + count))
    return framing.Stream().feed(data)


def write(bench: Bench, first: int) -> None:
    for at in range(first, first + DEVICES, 1_000):
        batch = Batch(1, NOW)
        bench.reader.read(Chunk(frames(at, 1_000), 1, NOW, 1), batch)
        bench.journal.write(batch)


def test_a_device_takes_no_more_than_is_promised_and_its_messages_nothing(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    first: list[int] = []
    with measured(first):
        write(bench, 0)
    assert first[0] / DEVICES < MAX_DEVICE_BYTES
    more: list[int] = []
    with measured(more):
        for round_ in range(1, 4):
            write(bench, round_ * DEVICES)
    assert more[0] / (3 * DEVICES) < 40, "what a device sent before is on disk, not in memory"


def test_a_message_that_waits_takes_its_bytes_and_a_little(make_bench: Callable[..., Bench]) -> None:
    inbox = Inbox(1_000_000)
    found: list[int] = []
    with measured(found):
        for at in range(0, 10_000, 1_000):
            inbox.put(Chunk(frames(at, 1_000), 1, NOW, 1))
    assert len(inbox) == 10_000
    assert found[0] / 10_000 < MAX_WAITING_BYTES


def test_a_message_on_disk_takes_its_record_and_a_little(make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make_bench()
    for round_ in range(4):
        write(bench, round_ * DEVICES)
    connection = database.connect(bench.path)
    blocks = list(MessageLog(connection).blocks())
    assert sum(block.messages for block in blocks) == 4 * DEVICES
    assert {len(block.records) / block.messages for block in blocks} == {record.SIZE}
    (pages,) = connection.execute("SELECT sum(pgsize) FROM dbstat WHERE name = 'message_block'").fetchone()
    assert pages / (4 * DEVICES) < MAX_DISK_BYTES
    connection.close()
