"""The device's contexts against docs/wire-format.md computed the slow way, on every interpreter, by hypothesis."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.device import interpreters
from tests.device.oracles import Boot
from tests.device.session import Session

SETUP = """
from binascii import unhexlify
from clock import Clock
from interpreter import at_seq, deterministic, with_aes
from motetrace import _port
def make(seed, mode, threshold, after_seq, bits, now, script):
    deterministic(_port, unhexlify(seed))
    clock = Clock(bits, now)
    t = with_aes(mode, threshold, clock=clock)
    assert t.source == "aes"
    at_seq(t, after_seq)
    made = []
    for threshold, age in script:
        if threshold >= 0:
            t.threshold = threshold
        if age >= 0:
            t.mark()
            clock.now += age
        context = t.next()
        made.append((bytes(context), t.tracestate and bytes(t.tracestate), t.sampled, t.seq()))
    return made
"""
EDGES = st.sampled_from((0, 1, 2**8, 2**16, 2**24, 2**30, 2**31, 2**32))
SEQS = st.one_of(
    st.integers(0, 2**32 - 1), st.builds(lambda edge, by: max(0, min(2**32 - 1, edge + by)), EDGES, st.integers(-9, 9))
)
THRESHOLDS = st.one_of(st.integers(0, 65536), st.sampled_from((0, 1, 255, 256, 32768, 65535, 65536)))
AGES = st.one_of(st.integers(0, 2**29 - 1), st.sampled_from((0, 15, 16, 0xFFFFFFE, 0xFFFFFFF, 0x10000000)))


@pytest.fixture(scope="module", params=interpreters.NAMES)
def device(request: pytest.FixtureRequest) -> Iterator[Session]:
    with Session(request.param) as session:
        session.run(SETUP)
        yield session


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.binary(min_size=32, max_size=32),
    mode=st.sampled_from(("traceparent", "seqref")),
    threshold=THRESHOLDS,
    after_seq=SEQS,
    now=st.integers(0, 2**30 - 1),
    script=st.lists(st.tuples(st.one_of(st.none(), THRESHOLDS), st.one_of(st.none(), AGES)), min_size=1, max_size=12),
)
@example(seed=bytes(32), mode="traceparent", threshold=0, after_seq=2**32 - 1, now=2**30 - 1, script=[(None, 5)] * 3)
@example(seed=bytes(32), mode="seqref", threshold=65536, after_seq=2**32 - 2, now=0, script=[(0, None), (None, 0)] * 3)
def test_the_device_makes_the_contexts_of_the_contract(
    device: Session,
    seed: bytes,
    mode: str,
    threshold: int,
    after_seq: int,
    now: int,
    script: list[tuple[int | None, int | None]],
) -> None:
    if mode == "seqref":  # draws nothing while the threshold is 0, so after a change its block may be an older one
        script = [(None, age_ms) for _, age_ms in script]
    boot = Boot(seed, mode, after_seq)
    coded = [tuple(-1 if number is None else number for number in step) for step in script]
    made = device.ask(f"make('{seed.hex()}', {mode!r}, {threshold}, {after_seq}, 30, {now}, {coded!r})")
    for (changed, age_ms), (context, tracestate, sampled, seq) in zip(script, made, strict=True):
        threshold = threshold if changed is None else changed
        assert (context, tracestate) == boot.message(threshold, age_ms)
        assert seq == boot.seq
        assert sampled == context.split(b"-")[3 if mode == "traceparent" else 2].endswith(b"3")
