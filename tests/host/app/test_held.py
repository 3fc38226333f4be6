"""How long the broker kept a message: by the expiry interval that the birth names, and never more than that shows."""

import json
from typing import Any

import pytest

from motetrace_host.core.errors import WireError
from motetrace_host.core.messages import message, record
from motetrace_host.core.mqtt import publish_packet
from motetrace_host.core.mqtt.connection import Chunk
from motetrace_host.core.spans.protobuf import varint
from motetrace_host.core.wire import birth
from motetrace_host.storage.message_log import MessageLog
from tests.host.app.conftest import NOW, Bench

NONCE = "0a01020304"
TOPIC, BIRTH = b"devices/s/telemetry", "motetrace/s/birth"


def frame(left_s: int | None, seq: int = 1, behind: bytes = b"", topic: bytes = TOPIC) -> tuple[int, bytes]:
    """A reading whose expiry has so much left; with `behind` a property that makes it go the long way."""
    context = b"%s-%08x-03" % (NONCE.encode(), seq)
    properties = b"" if left_s is None else b"\x02" + left_s.to_bytes(4, "big")
    properties += b"\x26\x00\x06seqref" + len(context).to_bytes(2, "big") + context + behind
    return 0x32, len(topic).to_bytes(2, "big") + topic + b"\x00\x07" + varint(len(properties)) + properties + b"{}"


def held(bench: Bench, *frames: tuple[int, bytes]) -> list[int]:
    """Read and write messages; gives for how long each was held."""
    bench.reader.read(Chunk(frames, 1, NOW, 0), batch := bench.batch())
    bench.journal.write(batch)
    return [entry.extra.held_s for entry in MessageLog(bench.connection).entries()]


def born(bench: Bench, **members: Any) -> None:
    text = json.dumps({"v": 1, "nonce": NONCE, **members})
    bench.births.receive("s", publish_packet.PublishPacket(BIRTH, 0, 0, False, False, text.encode()), NOW)


LONG = b"\x01\x01"  # payload format indicator


@pytest.mark.parametrize("behind", [b"", LONG], ids=["short way", "long way"])
@pytest.mark.parametrize(
    ("left_s", "expected"), [(3_600, 0), (3_599, 1), (0, 3_600), (3_601, 0), (2**32 - 1, 0), (None, 0)]
)
def test_what_is_missing_of_the_interval_is_the_wait(
    bench: Bench, left_s: int | None, expected: int, behind: bytes
) -> None:
    born(bench, expiry_s=3_600)
    assert held(bench, frame(left_s, behind=behind)) == [expected]


@pytest.mark.parametrize("members", [{}, {"expiry_s": 0}, {"expiry_s": -1}, {"expiry_s": 2**32}])
def test_without_a_birth_that_names_it_nothing_is_known(bench: Bench, members: dict[str, int]) -> None:
    assert held(bench, frame(10, seq=1)) == [0]
    born(bench, **members)
    assert held(bench, frame(10, seq=2), frame(10, 3, LONG)) == [0, 0, 0]


def test_a_message_that_was_not_held_costs_nothing_on_disk(bench: Bench) -> None:
    born(bench, expiry_s=60)
    held(bench, frame(60))
    (block,) = bench.log.blocks()
    assert (block.extras, len(block.records)) == (b"", record.SIZE)


def test_the_interval_may_be_any_that_mqtt_has() -> None:
    assert message.held_s(2**32 - 1, 0) == 2**32 - 1
    assert message.held_s(0, 5) == 0
    with pytest.raises(WireError, match="birth"):
        birth.parse(b'{"v":1,"nonce":"0a01020304","expiry_s":"60"}')
