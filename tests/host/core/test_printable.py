"""Promises of core/printable.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.printable import printable


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("sensor-0042", "sensor-0042"),
        ("Fühler 温度 1", "Fühler 温度 1"),
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("a\r\nlevel=info forged", "a\\x0d\\x0alevel=info forged"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u2028b\u200bc\u00a0d", "a\\u2028b\\u200bc\\xa0d"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("a\\x1b", "a\\\\x1b"),
        ("\0\x7f", "\\x00\\x7f"),
        ("", ""),
        (b"sensor-0042", "sensor-0042"),
        ("温".encode(), "温"),
        (b"\xff\x00a", "\\xff\\x00a"),
    ],
)
def test_what_a_terminal_would_act_on_is_shown_and_not_sent(value: str | bytes, shown: str) -> None:
    assert printable(value) == shown


@given(st.text() | st.binary() | st.text(st.characters(categories=("Cc", "Cf", "Cs", "Zl", "Zp"))), st.integers(1, 30))
def test_the_result_prints_is_one_line_encodes_and_is_no_longer_than_asked(value: str | bytes, most: int) -> None:
    shown = printable(value, most)
    assert shown.isprintable()
    assert len(shown) <= most
    assert len(shown.splitlines()) <= 1
    shown.encode()


@given(st.text(max_size=40), st.text(max_size=40))
def test_two_texts_that_are_not_cut_are_never_shown_alike(one: str, other: str) -> None:
    assert (printable(one, 1000) == printable(other, 1000)) == (
        one == other or as_bytes_shown(one) == as_bytes_shown(other)
    )


def as_bytes_shown(text: str) -> str:
    """Surrogates that Python uses for broken bytes are shown as those bytes."""
    return "".join(chr(ord(char) - 0xDC00) if 0xDC80 <= ord(char) <= 0xDCFF else char for char in text)


def test_a_cut_text_says_so_and_ends_with_a_whole_escape() -> None:
    assert printable("x" * 200) == "x" * 200
    assert printable("x" * 201) == "x" * 199 + "…"
    assert printable("ab\x1bcd", 6) == "ab…"
    assert printable("ab\x1bcd", 7) == "ab\\x1b…"
    assert printable("\x1b", 1) == "…"


def test_only_the_head_of_a_great_payload_is_looked_at() -> None:
    assert printable(b"\xff" * 50_000_000, 10) == "\\xff\\xff…"


def test_a_length_that_shows_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="max_chars 0"):
        printable("a", 0)
