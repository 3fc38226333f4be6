"""Several shims on one shared subscription and one ledger: the same ids, each message once, whoever comes and goes."""

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from services import Mosquitto, Valkey, free_port

from motetrace_host.cluster import redis_ledger, shared_ledger
from motetrace_host.core.ledger.store import SeenRow
from tests.faults.fleet import NONCE, Connection, Fleet, Message, topic, traceparent
from tests.faults.shim_process import ShimProcess
from tests.waiting import until

MakeShim = Callable[..., ShimProcess]
KINDS = ("tp", "ref", "json")
EACH = 4
SHARED = ("--share", "shims")


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
        self._make, self._broker = make_shim, broker
        self._options = ("--ledger", ledger.url, "--key-file", str(key), *options)
        self.shims: list[ShimProcess] = []

    def add(self, *more: str, topic: str | None = None) -> ShimProcess:
        shim = self._make(self._broker.port, *self._options, *more, name=f"shim{len(self.shims)}", topic=topic)
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
    reader = shared_ledger.connected(shared_ledger.LedgerAddress(ledger.url, ""), "test")
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
    mosquitto: Mosquitto, make_shim: MakeShim, valkey: Valkey, key: Path, chance: random.Random
) -> None:
    listen = free_port()
    backend = make_shim(
        mosquitto.port, "--otlp-listen", f"127.0.0.1:{listen}", name="backend", topic="nowhere/{device_id}"
    ).start()
    group = Group(make_shim, mosquitto, valkey, key, *SHARED, "--otlp", f"http://127.0.0.1:{listen}")
    for _ in range(3):
        group.add()
    first, second, third = group.shims
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

    until(lambda: group.stored() >= len(published), f"{len(published)} records on all shims")
    assert counted(valkey) == published
    records = group.records()
    assert set(records) == published
    assert max(records.values()) == 1, "a message has a record on two shims"
    assert third.count("message") == third_has, "one that has left still got something"
    until(lambda: backend.count("span") >= 2 * len(published), "all spans arrive")
    assert [shim.terminate() for shim in group.shims if shim is not third] == [0, 0, 0]
    ids = set(backend.query("SELECT trace_id, span_id FROM span"))
    assert len(ids) == backend.count("span") == 2 * len(published)
    assert ids == {pair for shim in group.shims for pair in shim.query("SELECT trace_id, span_id FROM span")}, (
        "ids are not what the shims would make"
    )
    assert {len(shim.query("SELECT 1 FROM pending_batch")) for shim in group.shims} == {0}
    assert all(shim.count("message") > len(published) / 20 for shim in group.shims), "one of them had next to nothing"


def test_a_broker_that_keeps_a_device_on_one_shim_works_too_and_bare_numbers_with_it(
    mosquitto: Mosquitto, make_shim: MakeShim, valkey: Valkey, key: Path
) -> None:
    """As `hash_clientid` does it; here each shim subscribes to its part of the topics."""
    group = Group(make_shim, mosquitto, valkey, key)
    parts = [group.add(topic=f"devices/{{device_id}}/telemetry{part}") for part in ("", "-b", "-c")]
    fleets = [PartFleet(mosquitto.port, part).start() for part in ("", "-b", "-c")]
    time.sleep(0.4)
    parts[0].kill()
    parts[1].terminate()
    parts[0].start()
    parts[1].start()
    time.sleep(0.4)
    published = set().union(*(fleet.stop() for fleet in fleets))
    until(lambda: group.stored() >= len(published), f"{len(published)} records on all shims")
    assert counted(valkey) == published
    records = group.records()
    assert (set(records), max(records.values())) == (published, 1)
    assert [row.seen.late for row in states(valkey)] == [0] * 12, "on one shim nothing comes out of order"
    refused = [shim.query("SELECT 1 FROM rejection WHERE reason = 'bare_seq_shared'") for shim in parts]
    assert not any(refused), "a device was taken for two shims'"


class PartFleet(Fleet):
    """The four devices of `Fleet`, in one part of the topics."""

    def __init__(self, port: int, part: str) -> None:
        super().__init__(port, per_second=400)
        self.part = part

    def _publish(self, seq: int) -> None:
        for kind, boot in (*NONCE.items(), ("bare", "")):
            device, pair = kind + self.part, f"{boot[:8]}{len(self.part):02x}"
            sent = {
                "tp": (b"{}", ("traceparent", traceparent(pair, seq))),
                "ref": (b"{}", ("seqref", f"{pair}-{seq:08x}-03")),
                "json": (f'{{"traceparent":"{traceparent(pair, seq)}"}}'.encode(),),
                "bare": (f'{{"seq":{seq}}}'.encode(),),
            }[kind]
            client = self.modern if kind in ("tp", "ref") else self.old
            client.publish((device, seq), topic(device) + self.part, *sent)


def test_every_shim_hears_births_and_one_of_them_counts_each_report(
    mosquitto: Mosquitto, make_shim: MakeShim, valkey: Valkey, key: Path
) -> None:
    group = Group(make_shim, mosquitto, valkey, key, *SHARED)
    group.add()
    device = Connection(mosquitto.port)
    birth = b'{"v":1,"nonce":"0a01020305","fw":"1.4.2"}'
    info = device.client.publish("motetrace/ref/birth", birth, qos=1, retain=True)
    info.wait_for_publish(10)
    group.add()
    for number in range(1, 41):
        head = f'{{"v":1,"hop":"rule","process":"{7:016x}","number":{number},'
        seen = f'"seen":{{"0a01020305":[[{number},{number}]]}}}}'
        device.publish(("rule", number), "motetrace/rule-engine/seen", (head + seen).encode())
    reader = shared_ledger.connected(shared_ledger.LedgerAddress(valkey.url, ""), "test")
    rule = until(
        lambda: [row.seen for row in reader.read() if row.hop == "rule" and row.seen.count == 40], "40 reports"
    )
    device.close()
    assert rule[0].duplicates == 0, "a report was counted by two shims"
    for shim in group.shims:
        until(lambda of=shim: of.query("SELECT firmware FROM device_boot") == [("1.4.2",)], "each knows the birth")
        assert shim.query("SELECT count(*) FROM hop_report") == [(1,)], "one of them heard no report"
        assert shim.terminate() == 0


def test_a_device_with_bare_numbers_that_two_shims_read_is_said_and_each_message_counted_once(
    mosquitto: Mosquitto, make_shim: MakeShim, valkey: Valkey, key: Path
) -> None:
    group = Group(make_shim, mosquitto, valkey, key, *SHARED)
    group.add()
    group.add()
    device = Connection(mosquitto.port)
    for seq in range(1, 41):
        device.publish(("bare", seq), topic("bare"), f'{{"seq":{seq}}}'.encode())
    told = until(lambda: [line for shim in group.shims for line in shim.logged("bare_seq_shared")], "it is said")
    until(lambda: group.stored() == 40, "all are stored")
    device.close()
    assert told[0]["device.id"] == "bare"
    assert "send a seqref" in told[0]["remedy"]
    assert set(group.records().values()) == {1}
    assert sum(row.seen.count for row in states(valkey)) == 40
    assert len(states(valkey)) == 2, "each infers a boot of its own"
    assert sum(shim.terminate() for shim in group.shims) == 0
    rejected = [row for shim in group.shims for row in shim.query("SELECT device_id, reason, count FROM rejection")]
    assert set(rejected) == {("bare", "bare_seq_shared", 1)}


def test_a_machine_that_is_lost_with_its_disk_is_replaced_and_its_share_is_counted(
    mosquitto: Mosquitto, make_shim: MakeShim, valkey: Valkey, key: Path
) -> None:
    group = Group(make_shim, mosquitto, valkey, key, *SHARED)
    group.add()
    lost = group.add("--client-id", "second")
    fleet = NumberedFleet(mosquitto.port, per_second=800).start()
    until(lambda: lost.count("message") > 200, "it has something")
    lost.kill()
    shutil.rmtree(lost.state)
    time.sleep(0.3)
    group.add("--client-id", "second")
    published = fleet.stop()
    until(lambda: sum(row.seen.count for row in states(valkey)) >= len(published), "all are counted")
    assert counted(valkey) == published
    assert max(group.records().values()) == 1


def test_a_tail_that_hears_only_its_own_spans_says_so(
    mosquitto: Mosquitto, make_shim: MakeShim, valkey: Valkey, key: Path
) -> None:
    shim = Group(make_shim, mosquitto, valkey, key, *SHARED, "--tail", "on", "--otlp", "http://127.0.0.1:9").add()
    assert "motetrace collector-config" in shim.logged("tail_hears_a_part")[0]["remedy"]


def test_only_a_member_of_a_group_leaves_it(make_shim: MakeShim) -> None:
    assert (alone := make_shim(1)).leave() == 2
    assert "--share is missing" in alone.log_path.read_text()


def test_a_shim_waits_for_its_ledger_and_comes_back_by_itself(
    mosquitto: Mosquitto, make_shim: MakeShim, valkey: Valkey, key: Path
) -> None:
    valkey.stop()
    shim = Group(make_shim, mosquitto, valkey, key, *SHARED).add()
    (line,) = shim.logged("ledger_waits")
    assert "is Redis up there? check --ledger" in line["remedy"]
    device = Connection(mosquitto.port)
    for seq in range(1, 51):
        device.publish(("ref", seq), topic("ref"), b"{}", ("seqref", f"{NONCE['ref']}-{seq:08x}-03"))
    until(lambda: shim.logged("storing_waits"), "it says that it waits")
    assert shim.count("message") == 0
    valkey.start()
    until(lambda: shim.count("message") == 50, "all are stored")
    device.close()
    assert shim.terminate() == 0
    assert (shim.logged("stopped")[0]["stored"], shim.logged("stopped")[0]["duplicates"]) == (50, 0)


def test_what_keeps_a_shim_out_of_the_group_is_told_with_the_remedy(
    mosquitto: Mosquitto, make_shim: MakeShim, valkey: Valkey, key: Path, tmp_path: Path
) -> None:
    def refusal(*options: str, name: str) -> str:
        shim = make_shim(mosquitto.port, *options, name=name)
        shim.launch()
        assert shim.wait() == 2
        told = shim.log_path.read_text()
        assert "s3cret" not in told
        return told

    assert "needs a ledger that the shims share" in refusal(*SHARED, name="alone")
    first = Group(make_shim, mosquitto, valkey, key, *SHARED).add()
    assert first.terminate() == 0
    assert "give all of them the same --key-file" in refusal("--ledger", valkey.url, *SHARED, name="own-key")
    assert "DB index is out of range" in refusal("--ledger", valkey.url[:-1] + "99", "--key-file", str(key), name="db")
    admin = redis_ledger.connect(valkey.url)
    admin.config_set("requirepass", "s3cret")
    options = ("--ledger", valkey.url, "--key-file", str(key), *SHARED)
    assert "Redis refused the login" in refusal(*options, name="no-password")
    password = tmp_path / "password"
    assert "name a text file" in refusal(*options, "--ledger-password-file", str(password), name="no-file")
    password.write_text("wr0ng\n")
    assert "Redis refused the login" in refusal(*options, "--ledger-password-file", str(password), name="wrong")
    password.write_text("s3cret\n")
    shim = make_shim(mosquitto.port, *options, "--ledger-password-file", str(password), name="let-in").start()
    assert shim.terminate() == 0
    admin.close()


def test_a_shim_with_a_pending_batch_does_not_begin_a_ledger_of_its_own(
    mosquitto: Mosquitto, make_shim: MakeShim, valkey: Valkey, key: Path
) -> None:
    shim = Group(make_shim, mosquitto, valkey, key, *SHARED).add()
    device = Connection(mosquitto.port)
    for seq in (1, 2):
        device.publish(("ref", seq), topic("ref"), b"{}", ("seqref", f"{NONCE['ref']}-{seq:08x}-03"))
        if seq == 1:
            until(lambda: shim.count("message") == 1, "the first is stored")
            valkey.kill()
    until(lambda: shim.logged("storing_waits"), "it waits")
    device.close()
    shim.kill()
    alone = make_shim(mosquitto.port, "--key-file", str(key), name="shim0")
    alone.launch()
    assert alone.wait() == 2
    assert "start with --ledger redis://... once more" in alone.log_path.read_text()
