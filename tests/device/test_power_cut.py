"""The boot count's records, beyond what fits into a test on the device: every number there is, cut at every byte."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from motetrace import boot as stores

CAUSES = st.integers(0, 7)
NUMBERS = st.one_of(
    st.integers(1, 2**30 - 3), st.builds(lambda bit, by: max(1, 2**bit + by), st.integers(1, 29), st.integers(-3, 3))
)


def word(number: int, cause: int) -> int:
    return stores._check(number, cause) << 21 | cause << 18 | number


@pytest.mark.parametrize(("cause_before", "cause"), [(0, 0), (1, 3), (4, 4), (7, 2)])
def test_a_word_that_was_torn_at_any_byte_is_the_old_one_the_new_one_or_none(cause_before: int, cause: int) -> None:
    """Slots alternate, so that number n is written over n - 2."""
    for number in range(3, 2**18):
        old, new = word(number - 2, cause_before), word(number, cause)
        assert new < 2**30
        for bits in (8, 16, 24):
            mask = (1 << bits) - 1
            torn = new & mask | old & ~mask
            if torn not in (old, new):
                assert stores._read(torn) == (0, 0), (number, bits)


def test_every_word_is_read_as_what_was_written() -> None:
    for number in range(2**18):
        assert stores._read(word(number, number & 7)) == (number, number & 7)
    assert stores._read(0) == stores._read(-1) == (0, 0)


@given(NUMBERS, CAUSES, CAUSES, st.integers(1, 7))
@example(2**24 - 1, 1, 3, 4)
@example(2**16 - 1, 1, 3, 4)
def test_a_slot_that_was_torn_at_any_byte_is_the_old_one_the_new_one_or_none(
    number: int, cause_before: int, cause: int, cut: int
) -> None:
    old, new = bytes(stores.pack(number, cause_before)), bytes(stores.pack(number + 2, cause))
    torn = new[:cut] + old[cut:]
    if torn not in (old, new):
        assert stores.newest(torn) == (0, 0)


@given(NUMBERS, CAUSES)
def test_a_slot_is_its_number_its_cause_and_a_crc_that_anybody_can_check(number: int, cause: int) -> None:
    packed = bytes(stores.pack(number, cause))
    assert packed[:6] == b"m" + struct.pack(">IB", number, cause)
    crc = 0xFFFF
    for byte in packed[:6]:
        for bit in range(8):
            crc = (crc << 1) ^ (0x1021 if (crc >> 15 ^ byte >> (7 - bit)) & 1 else 0)
            crc &= 0xFFFF
    assert packed[6:] == crc.to_bytes(2, "big")
    assert stores.newest(packed) == (number, cause)


@given(st.binary(max_size=40))
def test_no_bytes_at_all_make_reading_raise(content: bytes) -> None:
    number, cause = stores.newest(content)
    assert 0 <= number < 2**30
    assert 0 <= cause < 256


@pytest.mark.parametrize("number", [-1, 2**30])
def test_a_number_beyond_a_small_int_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.2\*\*30-1"):
        stores.pack(number, 0)
