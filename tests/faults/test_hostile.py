"""Nothing that a device can send stops the shim, and all of it is counted."""

import json
import random
from collections.abc import Callable, Iterator

from services import Mosquitto

from tests.faults.fleet import Connection, topic
from tests.faults.shim_process import ShimProcess
from tests.waiting import until

MakeShim = Callable[..., ShimProcess]
Attack = tuple[str, bytes, list[tuple[str, str]]]

VALID = "00-0a010203040000000111111111111111-7f7e7d7c00000001-03"


def attacks(chance: random.Random) -> Iterator[Attack]:
    for size in (0, 1, 17, 1_000, 70_000):
        yield topic("noise"), chance.randbytes(size), []
        yield topic("noise"), b"{" + chance.randbytes(size), []
    yield topic("bom"), b"x", [("\ufeffname", "a\ufeffb"), ("traceparent", "\ufeff" + VALID)]
    yield topic("case"), b"x", [("traceparent", VALID.upper())]
    yield topic("esc"), json.dumps({"traceparent": "00-\x1b[2J" + "\u202e" * 48, "seqref": "\x00"}).encode(), []
    yield topic("many"), b"x", [("traceparent", VALID)] * 300
    yield topic("two"), b"x", [("traceparent", VALID)] * 2
    yield topic("large"), b"x", [("traceparent", "0" * 65_000), ("tracestate", "a=" + "b" * 60_000)]
    yield topic("baggage"), b"x", [("traceparent", VALID), ("baggage", "k=v," * 15_000)]
    yield topic("esc"), b"x", [("traceparent", "\x1b[2J\x1b]0;owned\x07"), ("seqref", "\u202e\u2066")]
    yield topic("esc\x1b[31m\u202e"), b"x", [("seqref", "0a01020304-00000001-03")]
    yield topic("long" * 100), b"x", []
    yield topic("long" * 15_000), b"x", []
    yield topic("日本\U0001f600"), b'{"seq":1}', []
    yield topic("deep"), b'{"a":' * 50_000, []
    yield topic("deep"), b'{"traceparent":' + b"[" * 100_000, []
    yield topic("bignumber"), b'{"seq":' + b"9" * 100_000 + b"}", []
    for value in (b"-1", b"4294967296", b"1e3", b"true", b'"17"', b"null", b"[]", b"NaN"):
        yield topic("seq"), b'{"seq":' + value + b"}", []
    yield topic("repeat"), b'{"traceparent":"' + VALID.encode() + b'","traceparent":"' + VALID.encode() + b'"}', []
    for payload in (
        b"", b"{", b"[]", b"null", b"[" * 4_000, b"x" * 5_000, b'{"v":2,"nonce":"0a01020304"}', b'{"v":1,"nonce":"zz"}',
        b'{"v":1,"nonce":"0a01020304","baggage":[]}', b'{"v":1,"nonce":7}', b"\xff\xfe",
        json.dumps({"v": 1, "nonce": "0a01020304", "fw": "\x1b[31m", "baggage": {"\x00": "\ud7ff"}}).encode(),
        json.dumps({"v": 1, "nonce": "0a01020304", "baggage": {str(n): "v" for n in range(100)}}).encode(),
    ):  # fmt: skip
        yield "motetrace/born/birth", payload, []


def test_hostile_messages_never_stop_the_shim_and_are_counted_by_reason(
    mosquitto: Mosquitto, make_shim: MakeShim
) -> None:
    shim = make_shim(mosquitto.port, "--log-level", "debug").start()
    accepted = 0
    for where, payload, pairs in attacks(random.Random(7)):
        device = Connection(mosquitto.port)
        device.publish(("attack", accepted), where, payload, *pairs)
        # The broker refuses some of it by ending the attacker's connection; each one therefore has its own.
        until(lambda of=device: of.waiting == 0 or not of.client.is_connected(), "acknowledged or thrown out")
        accepted += len(device.acknowledged)
        device.close()
    good = Connection(mosquitto.port)
    good.publish(("good", 1), topic("good"), b"{}", ("traceparent", VALID))
    until(lambda: shim.query("SELECT 1 FROM message WHERE device_id = 'good'"), "a good message comes through")
    good.close()
    assert shim.terminate() == 0
    stopped = shim.logged("stopped")[0]
    assert stopped["received"] == accepted + 1
    assert "internal_error" not in stopped["rejected"]
    assert {
        "traceparent_length", "traceparent_repeated", "traceparent_format", "properties_too_many", "json_malformed",
        "json_too_deep", "seq_range", "seq_type", "birth_size", "birth_format", "birth_version", "birth_nonce",
        "birth_baggage", "topic_without_device",
    } <= set(stopped["rejected"])  # fmt: skip
    in_ledger = dict(shim.query("SELECT reason, sum(count) FROM rejection GROUP BY 1"))
    assert in_ledger == stopped["rejected"]
    log = shim.log_path.read_bytes()
    assert b"\x1b" not in log
    assert "\u202e".encode() not in log


def test_a_flood_of_made_up_devices_is_bounded(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    shim = make_shim(mosquitto.port).start()
    attacker = Connection(mosquitto.port)
    for number in range(11_000):
        attacker.publish(("x", number), topic(f"x{number}"), b"{", ("traceparent", "no"))
    until(lambda: attacker.waiting == 0, "all acknowledged")
    until(lambda: shim.count("message") == 11_000, "all counted")
    attacker.close()
    assert shim.terminate() == 0
    assert shim.query("SELECT count(DISTINCT device_id) FROM rejection") == [(10_001,)]
    assert shim.query("SELECT sum(count) FROM rejection WHERE device_id = ''")[0][0] == 2 * 1_000
