"""The device's traceparent parser against the standard's grammar, on every interpreter, by hypothesis."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.device import interpreters
from tests.device.oracles import read_traceparent
from tests.device.session import Session

SETUP = """
from binascii import unhexlify
from motetrace import Tracer
from motetrace.incoming import Incoming
t = Tracer()
incoming = Incoming(t)
def read(text, at, end):
    buffer = bytearray(unhexlify(text))
    ok = incoming.read(buffer, at, end)
    return ok, incoming.fault, bytes(incoming.next()) if ok else b"", t.block[1:5]
"""
HEX = st.sampled_from(b"0123456789abcdef")
VERSIONS = st.one_of(
    st.just(b"00"), st.just(b"ff"), st.binary(min_size=2, max_size=2), st.lists(HEX, min_size=2, max_size=2).map(bytes)
)


def digits(n: int) -> st.SearchStrategy[bytes]:
    return st.one_of(st.lists(HEX, min_size=n, max_size=n).map(bytes), st.just(b"0" * n))


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Traceparents, whole, with tails and white space, and then bent in a few places."""
    parts = [draw(VERSIONS), draw(digits(32)), draw(digits(16)), draw(digits(2))]
    tail = draw(st.one_of(st.just(b""), st.just(b"-"), st.binary(max_size=6)))
    text = bytearray(b"-".join(parts) + tail)
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 1, 2, 5)))):
        at = draw(st.integers(0, len(text)))
        kind = draw(st.sampled_from(("put", "insert", "cut")))
        if kind == "insert":
            text[at:at] = draw(st.binary(min_size=1, max_size=2))
        elif kind == "cut":
            del text[at : at + draw(st.integers(1, 3))]
        elif at < len(text):
            text[at] = draw(st.integers(0, 255))
    white = st.lists(st.sampled_from(b" \t"), max_size=3).map(bytes)
    return draw(white) + bytes(text) + draw(white)


@pytest.fixture(scope="module", params=interpreters.NAMES)
def device(request: pytest.FixtureRequest) -> Iterator[Session]:
    with Session(request.param) as session:
        session.run(SETUP)
        yield session


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(texts(), texts(), texts(), st.binary(max_size=80)),
    before=st.binary(max_size=5),
    after=st.binary(max_size=5),
)
@example(text=b"", before=b"", after=b"")
@example(text=b"00-" + b"0" * 31 + b"1-" + b"0" * 15 + b"1-00", before=b"", after=b"-")
@example(text=b"01-" + b"0" * 31 + b"1-" + b"0" * 15 + b"1-00", before=b"0", after=b"0")
def test_the_device_reads_a_traceparent_as_the_grammar_does(
    device: Session, text: bytes, before: bytes, after: bytes
) -> None:
    fault, kept = read_traceparent(text)
    buffer = before + text + after
    ok, said, answer, nonce_end = device.ask(f"read('{buffer.hex()}', {len(before)}, {len(before) + len(text)})")
    assert said == fault
    assert ok == (fault is None)
    if ok:
        assert answer[:36] == b"00-" + kept[:32] + b"-"
        assert answer[36:44].decode() == nonce_end.hex()
        assert answer[52:] == b"-" + kept[33:]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(texts(), min_size=2, max_size=8))
def test_what_was_read_before_never_shows_in_what_is_read_now(device: Session, texts: list[bytes]) -> None:
    for text in texts:
        fault, kept = read_traceparent(text)
        _, said, answer, _ = device.ask(f"read('{text.hex()}', 0, -1)")
        assert said == fault
        assert answer[3:35] == kept[:32]
