"""What the device writes behind a payload is what the host reads there."""

import random

import pytest

from motetrace_host.core.wire import binary_trailer, traceparent
from motetrace_host.core.wire.traceparent import TraceParent
from tests.device.interpreters import NAMES
from tests.device.session import Session
from tests.seqref_text import format_seqref

EDGES = (0, 0xFE, 0xFF, 0xFFFF, 0xFFFFFF, 0x3FFFFFFE, 0x7FFFFFFF, 0xFFFFFFF0)


@pytest.mark.parametrize("interpreter", NAMES)
@pytest.mark.parametrize("mode", ["traceparent", "seqref"])
def test_the_host_reads_what_the_device_wrote_at_every_seq_and_behind_any_payload(interpreter: str, mode: str) -> None:
    rng = random.Random(7)
    with Session(interpreter) as device:
        device.run(
            "from interpreter import at_seq\nfrom motetrace import Tracer\nfrom motetrace.payload import Trailer\n"
            f"t = Tracer({mode!r}, threshold=32768)\nc = Trailer(t)\n"
            "def made(payload):\n  whole = c.copy(payload)\n  return whole, bytes(t._short)"
        )
        for edge in EDGES:
            device.run(f"at_seq(t, {edge})")
            for number in range(1, 5):
                payload = rng.randbytes(rng.randrange(1, 80))
                whole, text = device.ask(f"made({payload!r})")
                found = binary_trailer.parse(whole)
                assert found is not None
                assert found.size == (33 if mode == "traceparent" else 14)
                assert binary_trailer.strip(whole) == payload
                inside = found.context
                if isinstance(inside, TraceParent):
                    assert traceparent.format(inside) == text.decode()
                    assert traceparent.seq(inside.trace_id) == edge + number
                    assert traceparent.is_structured(inside)
                else:
                    assert format_seqref(inside) == text.decode()
                    assert inside.seq == edge + number


@pytest.mark.parametrize("interpreter", NAMES)
def test_an_age_is_not_in_a_trailer(interpreter: str) -> None:
    with Session(interpreter) as device:
        for mode in ("traceparent", "seqref"):
            device.run(
                f"from motetrace import Tracer\nfrom motetrace.payload import Trailer\nt = Tracer({mode!r})\n"
                "c = Trailer(t)\nt.mark()"
            )
            found = binary_trailer.parse(device.ask("c.copy(b'x')"))
            assert found is not None
            assert found.size == (33 if mode == "traceparent" else 14)
