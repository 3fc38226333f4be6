"""Everything that a device can send has a bound, and what is beyond it is counted by reason: docs/trust.md, "Limits".

The rows here are the table there. Each row makes a message that is just within its bound and one that is just beyond.
"""

import json
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import pytest

from motetrace_host.commands import devices
from motetrace_host.core.mqtt.connection import Broker, Receivers, Session
from motetrace_host.core.wire import binary_trailer
from motetrace_host.network import bulk_reader
from motetrace_host.network.subscriber import Subscriber
from motetrace_host.shim import counters, nonces
from motetrace_host.shim.batch import Batch
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.logging import Log
from motetrace_host.storage import database
from motetrace_host.storage.side_tables import REJECTIONS
from tests.host.app.conftest import NOW, Bench
from tests.host.app.test_pipeline import chunk

MakeBench = Callable[..., Bench]
Sent = dict[str, Any]

VALID = "00-0a010203040000000111111111111111-7f7e7d7c00000001-03"
DOCUMENT = Path(__file__).parents[3] / "docs" / "trust.md"


class Limit(NamedTuple):
    """One row.

    Attributes:
        what, unit: as in the table. bound: the most that is taken.
        reason: what one more is counted as.
        message: makes a message of a size.
        beyond: a size that is too large, where the next one cannot be made.
        options: of the bench.
    """

    what: str
    bound: int
    unit: str
    reason: str
    message: Callable[[int], Sent]
    beyond: int = 0
    options: Mapping[str, Any] = MappingProxyType({})


def props(*pairs: tuple[str, str], **more: Any) -> Sent:
    return {"pairs": pairs, **more}


def json_of(size: int) -> bytes:
    return b'{"a":"' + b"x" * (size - 8) + b'"}'


def birth(extra: str) -> Sent:
    return {"topic": "motetrace/s/birth", "payload": b'{"v":1,"nonce":"0a01020304"%b}' % extra.encode()}


def members(count: int) -> str:
    return ",".join(f"k{number}=v" for number in range(count))


def with_trailer(size: int) -> Sent:
    context = b"\0\0" + bytes.fromhex(VALID[3:35]) + b"\1" + bytes.fromhex(VALID[36:52]) + b"\2\3" + bytes(size - 33)
    return {"payload": b"reading" + context + bytes((binary_trailer.check(context), len(context))) + b"\xf5\x4d"}


LONG_MEMBERS = ",".join(f"k{number:02}{'k' * 253}={'v' * 256}" for number in range(32))

LIMITS = (
    Limit("topic", 1_024, "bytes", "topic_too_long",
          lambda size: {"topic": "devices/s/".ljust(size, "x")}, options={"templates": ["devices/{device_id}/#"]}),
    Limit("device id in a topic", 255, "bytes", "topic_without_device",
          lambda size: {"topic": f"devices/{'x' * size}/telemetry"}),
    Limit("device id in a user property", 255, "bytes", "device_property_invalid",
          lambda size: props(("who", "x" * size)), options={"device_property": "who"}),
    Limit("user properties of a message", 256, "", "properties_too_many",
          lambda size: props(*[("k", "v")] * size)),
    Limit("traceparents of a message", 1, "", "traceparent_repeated",
          lambda size: props(*[("traceparent", VALID)] * size)),
    Limit("traceparent", 55, "characters", "traceparent_length",
          lambda size: props(("traceparent", VALID.ljust(size, "0")))),
    Limit("seqref", 31, "characters", "seqref_length",
          lambda size: props(("seqref", "0a01020304-00000001-03-".ljust(size, "1")))),
    Limit("binary trailer", 33, "bytes", "trailer_length", with_trailer, options={"trailer": True}),
    Limit("`seq` of foreign firmware", 2**32 - 1, "", "seq_range",
          lambda size: {"payload": b'{"seq":%d}' % size}),
    Limit("age", 8, "hex digits", "age_format",
          lambda size: props(("traceparent", VALID), ("tracestate", f"mt=a:{'1' * size}"))),
    Limit("tracestate", 16_479, "characters", "tracestate_length",
          lambda size: props(("traceparent", VALID), ("tracestate", LONG_MEMBERS.ljust(size)))),
    Limit("members of a tracestate", 32, "", "tracestate_members",
          lambda size: props(("traceparent", VALID), ("tracestate", members(size)))),
    Limit("baggage", 8_192, "bytes", "baggage_too_long",
          lambda size: props(("traceparent", VALID), ("baggage", "k=".ljust(size, "v")))),
    Limit("JSON payload that is looked into", 262_144, "bytes", "payload_too_large",
          lambda size: {"payload": json_of(size)}),
    Limit("nesting of a JSON payload", 900, "levels at least", "json_too_deep",
          lambda size: {"payload": b'{"a":' * size + b"1" + b"}" * size}, beyond=10_000),
    Limit("birth message", 4_096, "bytes", "birth_size",
          lambda size: birth(f',"x":"{"x" * (size - 35)}"')),
    Limit("baggage members of a birth", 64, "", "birth_baggage",
          lambda size: birth(',"baggage":{' + ",".join(f'"k{number}":"v"' for number in range(size)) + "}")),
)  # fmt: skip
# Rows whose bound is on many messages, or that are cut instead of counted: what, bound, beyond; each has a test below.
OTHERS = (
    ("packet", "16 MiB", "the broker keeps it (MQTT's Maximum Packet Size)"),
    ("tracestate that is passed on", "512 characters", "whole members are cut, as W3C says"),
    ("a text in a birth", "256 characters", "cut"),
    ("messages that wait in memory", "`--queue`, and 64 MiB",
     "`shed` at QoS 0; QoS 1 waits at the broker: `held_back`"),
    ("devices with rejections of their own", "10,000", "counted without a device"),
    ("boots that wait for their birth", "20,000", "`nonce_unwatched`"),
)  # fmt: skip


def rejected(make_bench: MakeBench, limit: Limit, size: int) -> dict[str, int]:
    bench = make_bench(**limit.options)
    message = limit.message(size)
    bench.send(1, *message.pop("pairs", ()), **message)
    bench.send(2, ("who", "s"), topic="devices/s/telemetry")
    assert bench.run()
    assert bench.acknowledged == [1, 2], "and the next message is read"
    return dict(bench.counters.rejected)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.what)
def test_what_is_within_the_bound_is_taken(make_bench: MakeBench, limit: Limit) -> None:
    assert rejected(make_bench, limit, limit.bound) == {}


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.what)
def test_what_is_beyond_the_bound_is_counted_by_reason(make_bench: MakeBench, limit: Limit) -> None:
    assert rejected(make_bench, limit, limit.beyond or limit.bound + 1) == {limit.reason: 1}


def test_the_page_tells_these_limits_and_no_others() -> None:
    section = DOCUMENT.read_text(encoding="utf-8").partition("\n## Limits\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    told = {tuple(cell.strip() for cell in cells) for cells in lines[2:]}
    assert told == {*OTHERS, *((one.what, f"{one.bound:,} {one.unit}".strip(), f"`{one.reason}`") for one in LIMITS)}


def test_a_packet_over_16_mib_is_not_asked_for() -> None:
    connect = b""
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = Broker("127.0.0.1", server.getsockname()[1])
        subscriber = Subscriber(
            where, Session("c", 60, 10), bulk_reader.receive, [], Receivers(print, lambda _: None, lambda *_: None)
        )
        subscriber.start()
        with server.accept()[0] as connection:
            connect = connection.recv(1_000)
        threading.Thread(target=subscriber.stop).start()
    assert b"\x27" + (16 << 20).to_bytes(4, "big") in connect, "property 39, Maximum Packet Size"


def test_a_long_tracestate_is_passed_on_in_whole_members(make_bench: MakeBench) -> None:
    bench = make_bench(republish=True)
    bench.send(1, ("traceparent", VALID), ("tracestate", f"{LONG_MEMBERS[:1541]},a=1,{members(20)}"))
    bench.pipeline.start()
    bench.pipeline.stop(0.5)
    ((_, _, pairs, _),) = bench.published
    assert dict(pairs)["tracestate"] == f"a=1,{members(20)}", "the longest members go first"


def test_a_long_text_of_a_birth_is_cut(bench: Bench) -> None:
    sent = birth(f',"fw":"{"f" * 300}","reset":"{"r" * 300}","baggage":{{"{"k" * 300}":"{"v" * 300}"}}')
    bench.send(1, **sent)
    bench.send(2, ("traceparent", VALID))
    assert bench.run()
    attributes = next(span.attributes for span in bench.spans() if span.name == "device_publish")
    assert attributes["device.firmware"] == "f" * 256
    assert attributes["device.reset_cause"] == "r" * 256
    assert attributes[f"baggage.{'k' * 256}"] == "v" * 256


def test_messages_that_do_not_fit_into_memory_are_shed_or_held_back() -> None:
    inbox = Inbox(1)
    for qos in (0, 0, 1):
        inbox.put(chunk(qos))
    assert (len(inbox), inbox.shed, inbox.held_back) == (1, 1, 1)


def test_devices_beyond_those_told_apart_are_counted_without_a_name(bench: Bench) -> None:
    counts = counters.Counters(cast("Log", bench))
    for number in range(counters.MAX_DEVICES + 5):
        counts.reject(f"d{number}", "seq_type")
    assert counters.MAX_DEVICES == 10_000
    with database.transaction(bench.connection):
        counts.save(bench.connection)
    assert ("", "seq_type", 5) in REJECTIONS.read(bench.connection)


def test_boots_beyond_those_that_can_wait_are_counted(bench: Bench) -> None:
    assert nonces.MAX_WATCHED == 20_000
    for number in range(nonces.MAX_WATCHED + 3):
        bench.nonces.meet("s", number.to_bytes(5, "big"), NOW)
    assert bench.counters.rejected == {nonces.UNWATCHED: 3}


def test_devices_beyond_those_that_memory_is_for_are_counted_all_the_same(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make_bench(max_devices=3)
    for seq in range(1, 6):
        for device in range(10):
            context = ("traceparent", f"00-0a010203{device:02x}{seq:08x}11111111111111-a1b2c3d4{seq:08x}-03")
            bench.send(1, context, topic=f"devices/s{device}/telemetry")
        batch = Batch(1, NOW)
        for one in bench.inbox.take(100, 0, 0)[0]:
            bench.reader.read(one, batch)
        bench.journal.write(batch)
        assert len(bench.device_topics) <= 3
    bench.close()
    report, _ = devices.report(tmp_path, devices.Wanted(limit=0, as_json=True))
    boots = json.loads(report)["boots"]
    assert [(boot["seen"], boot["lost"], boot["twice"]) for boot in boots] == [(5, 0, 0)] * 10
