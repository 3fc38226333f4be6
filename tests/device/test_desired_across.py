"""sampling/desired on every interpreter against the standard library's JSON and exact fractions, by hypothesis."""

import json
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.device import interpreters
from tests.device.session import Session

CALM = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SETUP = """
from motetrace import Tracer
from motetrace.sampling import Sampling
def take(msg):
    t = Tracer("seqref", 4321)
    s = Sampling(t)
    s.desired(msg)
    s.reported()
    return s.result, t.threshold, s.mode, s.time.left_s, s.refused
"""
UNCHANGED = (4321, b"inherit", 0, 1)
BLANK = st.sampled_from(("", " ", "\n", "\t\r "))


@pytest.fixture(scope="module", params=interpreters.NAMES)
def device(request: pytest.FixtureRequest) -> Iterator[Session]:
    with Session(request.param) as session:
        session.run(SETUP)
        yield session


def take(device: Session, message: bytes) -> tuple[str, int, bytes, int, int]:
    result = device.ask(f"take({message!r})")
    return tuple(result)


DIGITS = st.text("0123456789", min_size=1, max_size=12)
RATES = st.one_of(
    st.builds("0.{}".format, DIGITS),
    st.builds("{}e-{}".format, st.integers(0, 999999999), st.integers(0, 30)),
    st.floats(0, 1).map(repr),
    st.sampled_from(("0", "1", "1.0", "1.000", "0e5", "1E0")),
)


@CALM
@given(rate=RATES, for_s=st.integers(0, 2592000), percent=st.booleans(), blank=BLANK)
def test_a_good_message_is_applied_with_the_threshold_of_exact_arithmetic(
    device: Session, rate: str, for_s: int, percent: bool, blank: str
) -> None:
    share = Fraction(rate) / (100 if percent else 1)
    written = f'"{rate}%"' if percent else rate
    text = f'{blank}{{"rate"{blank}:{written}{blank},"for_s":{for_s},{blank}"mode":"on"}}{blank}'
    result, threshold, mode, left_s, refused = take(device, text.encode())
    if share > 1:
        assert (result, threshold, mode, left_s, refused) == ("rate", *UNCHANGED)
        return
    assert (result, mode, left_s, refused) == ("applied", b"on", for_s, 0)
    exact = (1 - share) * 65536
    assert abs(threshold - exact) <= Fraction(1, 2) + Fraction(65536, 10**8)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=8))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner))
OBJECTS = st.dictionaries(
    st.sampled_from(("mode", "rate", "for_s", "x")),
    st.one_of(st.sampled_from(("on", "off", "inherit", 0, 1, 0.5, 60)), VALUES),
    max_size=4,
)


def expected(wish: dict[str, object]) -> bool:
    """Whether the page says that this is applied."""
    rate, for_s = wish.get("rate"), wish.get("for_s")
    if any(isinstance(value, (list, dict)) for value in wish.values()):
        return False
    if any(isinstance(value, float) and not -1e999 < value < 1e999 for value in wish.values()):
        return False  # NaN and Infinity are no JSON
    if wish.get("mode") not in ("on", "off", "inherit"):
        return False
    if isinstance(rate, str):
        try:
            rate = float(rate.removesuffix("%")) / (100 if rate.endswith("%") else 1)
        except ValueError:
            return False
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1):
        return False
    if isinstance(for_s, bool) or not (for_s is None or isinstance(for_s, (int, float))):
        return False
    return for_s is None or (0 <= for_s <= 2592000 and for_s == int(for_s))


@CALM
@given(wish=OBJECTS, ascii_only=st.booleans())
def test_an_object_of_anything_is_applied_or_refused_as_the_page_says(
    device: Session, wish: dict[str, object], ascii_only: bool
) -> None:
    message = json.dumps(wish, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    result, threshold, mode, left_s, refused = take(device, message)
    if len(message) > 256:
        assert (result, threshold, mode, left_s, refused) == ("size", *UNCHANGED)
    elif expected(wish):
        assert (result, refused, mode) == ("applied", 0, str(wish["mode"]).encode())
    else:
        assert (threshold, mode, left_s, refused) == UNCHANGED


GOOD = b'{"mode":"on","rate":0.25,"for_s":60,"by":"J\\u00fcrgen"}'


@CALM
@given(st.data())
def test_what_the_standard_library_does_not_read_is_not_applied_here(device: Session, data: st.DataObject) -> None:
    message = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(message)))
        cut = data.draw(st.integers(0, 3))
        message[at : at + cut] = data.draw(
            st.one_of(st.binary(max_size=3), st.text('{}[]":,\\0123.eE-+ ', max_size=3).map(str.encode))
        )
    result, threshold, mode, left_s, refused = take(device, bytes(message))
    try:
        wish = json.loads(message.decode())
    except ValueError:
        wish = None
    if not message:
        assert mode == b"inherit"
    elif isinstance(wish, dict) and wish.get("mode") in ("on", "off", "inherit") and expected(wish):
        assert refused == 0 or result == "repeated"
    elif refused == 0:
        # What is passed over unread: bytes that are no UTF-8, and \u without its digits, inside a string.
        lenient = message.decode("utf-8", "replace").replace("\\u", "u")
        assert isinstance(json.loads(lenient), dict)


@CALM
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_applied_and_never_raise(device: Session, message: bytes) -> None:
    result, threshold, mode, left_s, refused = take(device, message)
    assert refused == 0 or (threshold, mode, left_s, refused) == UNCHANGED
    assert result in {"applied", "size", "json", "nested", "repeated", "mode", "rate", "for_s"}
