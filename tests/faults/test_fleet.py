"""Several shims on one shared subscription and one ledger: the same ids, each message once, whoever comes and goes."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from services import Mosquitto, Valkey, free_port

from motetrace_host import shared_ledger
from motetrace_host.core.seen_store import SeenRow
from tests.faults.fleet import Fleet, Message, topic, traceparent
from tests.faults.shim_process import ShimProcess, poll

MakeShim = Callable[..., ShimProcess]
KINDS = ("tp", "ref", "json")
EACH = 4


class NumberedFleet(Fleet):
    """Devices of each kind that numbers its own messages, EACH of them, each with a boot of its own."""

    def _publish(self, seq: int) -> None:
        number = seq % EACH
        data, seq = b'{"temp":21.5}', seq // EACH + 1
        for kind in KINDS:
            device, boot = f"{kind}-{number}", nonce(kind, number)
            name = (device, seq)
            if kind == "tp":
                self.modern.publish(name, topic(device), data, ("traceparent", traceparent(boot, seq)))
            elif kind == "ref":
                self.modern.publish(name, topic(device), data, ("seqref", f"{boot}-{seq:08x}-03"))
            else:
                text = f'{{"traceparent":"{traceparent(boot, seq)}","temp":21.5}}'
                self.old.publish(name, topic(device), text.encode())


def nonce(kind: str, number: int) -> str:
    return f"0a0b{KINDS.index(kind):02x}{number:02x}01"


class Group:
    """Shims with one key and one ledger on one subscription."""

    def __init__(self, make_shim: MakeShim, broker: Mosquitto, ledger: Valkey, key: Path, *options: str) -> None:
        self._make, self._broker, self._ledger = make_shim, broker, ledger
        self._options = ("--ledger", ledger.url, "--key-file", str(key), "--share", "shims", *options)
        self.shims: list[ShimProcess] = []

    def add(self) -> ShimProcess:
        shim = self._make(self._broker.port, *self._options, name=f"shim{len(self.shims)}")
        self.shims.append(shim)
        return shim.start()

    def stored(self) -> int:
        return sum(shim.count("message") for shim in self.shims)

    def records(self) -> Counter[Message]:
        """How often each message stands in a log, over all shims."""
        return Counter(
            (device, seq) for shim in self.shims for device, seq in shim.query("SELECT device_id, seq FROM message")
        )


def states(ledger: Valkey) -> list[SeenRow]:
    """What the shared ledger has at the hop of the shims."""
    reader = shared_ledger.connected(shared_ledger.Where(ledger.url, ""), "test")
    return [row for row in reader.read() if row.hop == "shim"]


def counted(ledger: Valkey) -> set[Message]:
    """The numbers that the shared ledger has seen; none of them missing or forgotten."""
    found = set()
    for row in states(ledger):
        assert row.seen.missing(2**50) == (0, 0), f"{row.device_id} misses numbers: {row.seen.gaps}"
        assert row.seen.forgotten == 0
        found |= {(row.device_id, seq) for start, end in row.seen.runs() for seq in range(start, end + 1)}
    return found


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "fleet-key"
    path.write_bytes(bytes(range(32)))
    path.chmod(0o600)
    return path


def test_shims_that_restart_die_leave_and_join_under_load_count_every_message_once(
    mosquitto: Mosquitto, make_shim: MakeShim, valkey: Valkey, key: Path
) -> None:
    listen = free_port()
    backend = make_shim(
        mosquitto.port, "--otlp-listen", f"127.0.0.1:{listen}", name="backend", topic="nowhere/{device_id}"
    ).start()
    group = Group(make_shim, mosquitto, valkey, key, "--otlp", f"http://127.0.0.1:{listen}")
    for _ in range(3):
        group.add()
    first, second, third = group.shims
    chance = random.Random()
    fleet = NumberedFleet(mosquitto.port, per_second=800).start()

    for shim in group.shims:  # a rolling restart
        time.sleep(chance.uniform(0.1, 0.4))
        assert shim.terminate() == 0
        shim.start()
    for _ in range(3):
        time.sleep(chance.uniform(0.05, 0.5))
        second.kill()
        second.start()
    valkey.restart()
    time.sleep(0.3)
    assert third.terminate() == 0
    group.add()
    assert third.leave() == 0, "one is taken away"
    third_has = third.count("message")
    valkey.kill()
    time.sleep(0.2)
    first.kill()  # with a batch that waits for the ledger, most likely
    valkey.start()
    first.start()
    published = fleet.stop()

    poll(lambda: group.stored() >= len(published), f"{len(published)} records on all shims", limit_s=60)
    assert counted(valkey) == published
    records = group.records()
    assert set(records) == published
    assert max(records.values()) == 1, "a message has a record on two shims"
    assert third.count("message") == third_has, "one that has left still got something"
    poll(lambda: backend.count("span") >= 2 * len(published), "all spans arrive", limit_s=60)
    assert [shim.terminate() for shim in group.shims if shim is not third] == [0, 0, 0]
    ids = set(backend.query("SELECT trace_id, span_id FROM span"))
    assert len(ids) == backend.count("span") == 2 * len(published)
    assert ids == {
        pair for shim in group.shims for pair in shim.query("SELECT trace_id, span_id FROM span")
    }, "ids are not what the shims would make"
    assert {len(shim.query("SELECT 1 FROM pending_batch")) for shim in group.shims} == {0}
    assert all(shim.count("message") > len(published) / 20 for shim in group.shims), "one of them had next to nothing"
