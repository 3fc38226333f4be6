"""What a device writes reaches no terminal and no log raw."""

import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence

import pytest

from motetrace_host.core.mqtt.framing import Frame
from tests.faults.fleet import topic
from tests.faults.lenient_broker import LenientBroker
from tests.faults.shim_process import ROOT, ShimProcess
from tests.host.app.conftest import publish_frame
from tests.waiting import until

MakeShim = Callable[..., ShimProcess]

# Moves the cursor and colours (ESC, and CSI in one character), rings, turns the text around; and forges a line.
TIGHT = "e\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u2066\u2028\x7f\u00ad"  # structlog's console quotes what holds a space
EVIL = TIGHT + "\r\n"
NONCE = "0a01020304"
BACKSLASHED = "e\\x1b"


def is_clean(text: str) -> bool:
    """Only lines of what prints: no control, format or separator characters but the end of a line."""
    return all(line.isprintable() for line in text.split("\n"))


def command(*words: str) -> str:
    """What a command prints, on both outputs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "host_shim"), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-m", "motetrace_host", *words], capture_output=True, env=environment, check=False
    )
    return (done.stdout + done.stderr).decode()


def evil_frames() -> list[Frame]:
    """A device that puts control characters everywhere where text can stand."""
    born = {"v": 1, "nonce": NONCE, "fw": EVIL, "reset": EVIL, "mode": EVIL, "baggage": {EVIL: EVIL}}
    broken = json.dumps({"traceparent": EVIL, "seqref": EVIL, "tracestate": EVIL, "seq": 1}).encode()
    where, numbered = topic(EVIL), [("seqref", f"{NONCE}-00000001-03")]
    sent: list[tuple[str, bytes, Sequence[tuple[str, str]]]] = [
        (f"motetrace/{EVIL}/birth", json.dumps(born).encode(), ()),
        (f"motetrace/{EVIL}/birth", b"{" + EVIL.encode(), ()),
        (where, b"{}", numbered),
        (where, b"{}", numbered),
        (where, EVIL.encode(), [("traceparent", EVIL), ("seqref", EVIL), ("baggage", EVIL), (EVIL, EVIL)]),
        (where, broken, ()),
        (where, b'{"seq":"' + EVIL.encode() + b'"}', ()),
        (topic(EVIL * 20), b"", ()),
        (topic(TIGHT + "+"), b"", ()),  # cannot be republished
        (f"devices/{EVIL}/other", b"", ()),
        (topic(TIGHT), b"{}", numbered),
        (topic(BACKSLASHED), b"{}", numbered),
    ]
    return [
        publish_frame(name, number, 1, False, False, payload, pairs)
        for number, (name, payload, pairs) in enumerate(sent, 1)
    ]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_hostile_device_reaches_neither_log_nor_terminal(make_shim: MakeShim, log_format: str) -> None:
    frames = evil_frames()
    broker = LenientBroker(frames)
    options = ("--log-level", "debug", "--republish", topic("{device_id}"), "traced/{device_id}")
    shim = make_shim(broker.port, *options, "--log-format", log_format)
    shim.launch()
    until(lambda: len(broker.acknowledged) == len(frames), "all are taken")
    assert shim.terminate() == 0
    broker.close()
    log = shim.log_path.read_bytes().decode()
    assert is_clean(log), [ascii(line) for line in log.split("\n") if not line.isprintable()]
    assert "\\x1b[2J" in log, "it is told, escaped"
    for event in ("message", "duplicate", "nonce_shared", "republish_impossible", "stopped"):
        assert event in log
    assert "message_broke_the_reader" not in log
    state = ("--state", str(shim.state))
    seen = command("devices", *state)
    one = command("devices", EVIL, *state)
    traced = command("trace", EVIL, "--seq", "1", *state)
    missed = command("trace", EVIL, "--seq", "99", *state) + command("trace", EVIL + "x", "--seq", "1", *state)
    for told in (seen, one, traced, missed):
        assert is_clean(told), ascii(told)
        assert "\\x1b[2J" in told
    assert "firmware e\\x1b[2J" in traced
    assert "e\\\\x1b" in seen, "a device that writes an escape is told from one that sends the character"


def test_every_character_that_is_hostile_is_among_those_tried() -> None:
    assert {unicodedata.category(char) for char in EVIL} >= {"Cc", "Cf", "Zl"}
