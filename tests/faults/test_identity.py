"""One message is one trace, whoever sees it and however often."""

from collections.abc import Callable
from pathlib import Path

from services import Mosquitto

from tests.faults.fleet import NONCE, Connection, topic, traceparent
from tests.faults.shim_process import ShimProcess
from tests.waiting import until

MakeShim = Callable[..., ShimProcess]


def seqref(seq: int) -> tuple[str, str]:
    return "seqref", f"{NONCE['ref']}-{seq:08x}-03"


def key_file(path: Path, byte: int) -> str:
    path.write_bytes(bytes([byte]) * 32)
    path.chmod(0o600)
    return str(path)


def test_a_seqref_message_delivered_ten_times_is_one_trace(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    shim = make_shim(mosquitto.port).start()
    device = Connection(mosquitto.port)
    for _ in range(10):
        device.publish(("ref", 7), topic("ref"), b"{}", seqref(7))
    until(lambda: shim.query("SELECT deliveries FROM message") == [(10,)], "ten deliveries")
    device.close()
    assert shim.terminate() == 0
    assert shim.query("SELECT count(DISTINCT trace_id), count(*) FROM span") == [(1, 2)]
    assert shim.logged("stopped")[0]["duplicates"] == 9


def test_two_shims_with_the_same_key_derive_the_same_ids_and_another_key_gives_others(
    mosquitto: Mosquitto, make_shim: MakeShim, tmp_path: Path
) -> None:
    same, other = key_file(tmp_path / "same", 1), key_file(tmp_path / "other", 2)
    shims = [
        make_shim(mosquitto.port, "--key-file", key, "--tenant", tenant, name=name).start()
        for name, key, tenant in (("a", same, "t"), ("b", same, "t"), ("c", other, "t"), ("d", same, "u"))
    ]
    device = Connection(mosquitto.port)
    for seq in range(1, 51):
        device.publish(("ref", seq), topic("ref"), b"{}", seqref(seq))
    ids = []
    for shim in shims:
        until(lambda of=shim: of.count("message") == 50, "50 messages")
        ids.append(shim.query("SELECT trace_id, span_id FROM span ORDER BY 1, 2"))
        assert shim.terminate() == 0
    device.close()
    a, b, c, d = ids
    assert a == b
    assert not {trace_id for trace_id, _ in a} & {trace_id for trace_id, _ in c}
    assert not {trace_id for trace_id, _ in a} & {trace_id for trace_id, _ in d}


def test_a_device_that_restarts_its_bare_numbers_gets_a_new_boot_even_when_the_shim_was_killed(
    mosquitto: Mosquitto, make_shim: MakeShim
) -> None:
    shim = make_shim(mosquitto.port).start()
    device = Connection(mosquitto.port)
    for seq in range(1, 201):
        device.publish(("bare", seq), topic("bare"), f'{{"seq":{seq}}}'.encode())
    until(lambda: shim.count("message") == 200, "the first boot")
    shim.kill()
    for seq in range(1, 101):
        device.publish(("bare", seq), topic("bare"), f'{{"seq":{seq}}}'.encode())
    shim.start()
    until(lambda: shim.count("message") == 300, "the second boot")
    device.close()
    counts = shim.query("SELECT count(*), min(seq), max(seq) FROM message GROUP BY boot_nonce ORDER BY min(id)")
    assert counts == [(200, 1, 200), (100, 1, 100)]


def test_an_answer_continues_the_commands_trace_and_is_counted_among_the_devices_own_messages(
    mosquitto: Mosquitto, make_shim: MakeShim
) -> None:
    shim = make_shim(mosquitto.port).start()
    device = Connection(mosquitto.port)
    nonce = NONCE["ref"]
    # The second command's own seq is the answer's: by its form alone it would pass for its sender's message.
    commands = {2: "0af7651916cd43dd8448eb211c80319c", 4: "0102030405000000048448eb211c8031"}
    for seq in (1, 3, 5):
        device.publish(("ref", seq), topic("ref"), b"{}", seqref(seq))
    for seq, trace_id in commands.items():
        answer = "traceparent", f"00-{trace_id}-{nonce[2:]}{seq:08x}-03"
        for _ in range(2):
            device.publish(("ref", seq), topic("ref"), b"{}", answer)
    until(lambda: shim.query("SELECT sum(deliveries) FROM message") == [(7,)], "seven deliveries")
    device.close()
    assert shim.terminate() == 0
    rows = shim.query("SELECT seq, hex(boot_nonce), hex(trace_id) FROM message ORDER BY seq")
    assert [(seq, boot) for seq, boot, _ in rows] == [(seq, nonce.upper()) for seq in range(1, 6)]
    assert {seq: trace_id.lower() for seq, _, trace_id in rows if seq in commands} == commands


def test_a_misspelt_key_file_is_refused_at_start_and_no_key_is_made(
    mosquitto: Mosquitto, make_shim: MakeShim, tmp_path: Path
) -> None:
    shim = make_shim(mosquitto.port, "--key-file", str(tmp_path / "typo"))
    shim.launch()
    assert shim.wait() == 2
    assert "leave --key-file out" in shim.log_path.read_text()
    assert not (tmp_path / "typo").exists()
    default = make_shim(mosquitto.port, "--key-file", str(tmp_path / "fresh" / "key"), name="fresh").start()
    assert default.terminate() == 0, "the default may be named"


def test_a_trace_that_is_linked_and_not_continued_is_the_same_on_every_shim_and_after_a_kill(
    mosquitto: Mosquitto, make_shim: MakeShim, tmp_path: Path
) -> None:
    key = key_file(tmp_path / "key", 1)
    options = ("--key-file", key, "--trust", "devices/partner/#", "link", "--trust", "devices/nobody/#", "off")
    one, two = (make_shim(mosquitto.port, *options, name=name).start() for name in ("a", "b"))
    device = Connection(mosquitto.port)
    foreign = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    numbered = traceparent(NONCE["tp"], 1)
    for name in ("partner", "nobody", "own"):
        device.publish((name, 1), topic(name), b"{}", ("traceparent", numbered))
        device.publish((name, 2), topic(name), b"{}", ("traceparent", foreign))
    until(lambda: one.count("message") == 6, "all are stored")
    one.kill()
    one.start()
    for _ in range(2):
        device.publish(("partner", 2), topic("partner"), b"{}", ("traceparent", foreign))
    device.close()
    query = "SELECT trace_id, span_id FROM message WHERE device_id = 'partner' ORDER BY seq, 1"
    ids = []
    for shim in (one, two):
        until(lambda of=shim: of.query("SELECT 1 FROM message WHERE deliveries = 3"), "three deliveries")
        ids.append(shim.query(query))
        own = [row[0].hex() for row in shim.query("SELECT trace_id FROM message WHERE device_id = 'own' ORDER BY id")]
        assert own == [numbered[3:35], foreign[3:35]]
        origins = {row[0] for row in shim.query("SELECT origin FROM message WHERE device_id = 'nobody'")}
        assert origins == {"none:off"}
        assert shim.query("SELECT count FROM rejection WHERE device_id = 'nobody'") == [(2,)]
        assert shim.terminate() == 0
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2
    assert not {row[0].hex() for row in ids[0]} & {numbered[3:35], foreign[3:35]}
