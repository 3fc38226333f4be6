"""What boards print, read: whatever stands around the answer, and whatever is wrong with it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.board import self_test, survey
from motetrace_host.board.board_error import BoardError

SURVEY = {
    "system": "micropython",
    "version": "1.26.0",
    "machine": "Raspberry Pi Pico W with RP2040",
    "mpy": 0x1306,
    "lib": "/lib",
    "files": {"motetrace/tracer.mpy": 1900},
    "block_bytes": 4096,
    "free_bytes": 800000,
}
SELF_TEST = {
    "system": "micropython",
    "version": "1.26.0",
    "machine": "Raspberry Pi Pico W with RP2040",
    "entropy": ["os.urandom", "clock"],
    "wrong": "",
    "free_bytes": 150000,
    "library": "0.1.0",
    "file": "/lib/motetrace/__init__.mpy",
    "import_bytes": 4000,
    "tracer_bytes": 1300,
    "cipher": "aes",
    "fast": False,
    "complete": True,
    "lacking": [],
    "next_us": 124.4,
    "next_bytes": 0.0,
    "absent": [],
}


def test_an_answer_is_found_among_what_boot_py_prints() -> None:
    found = survey.parse(f"hello\r\n{survey.MARK}nonsense\r\n>>>{survey.MARK}{json.dumps(SURVEY)}\r\nbye")
    assert (found.mpy_version, found.mpy_sub_version, found.architecture) == (6, 3, "armv6m")
    assert found.files == {"motetrace/tracer.mpy": 1900}


@pytest.mark.parametrize("mpy", [0, 5, 6, 0x2B06, 0x2F06, 0xFFFFF])
def test_any_mpy_number_has_an_architecture_or_none(mpy: int) -> None:
    assert survey.parse(survey.MARK + json.dumps({**SURVEY, "mpy": mpy})).architecture in survey.ARCHITECTURES


@pytest.mark.parametrize("name", sorted(SURVEY))
def test_a_survey_with_something_missing_or_of_another_type_is_refused(name: str) -> None:
    for broken in ({k: v for k, v in SURVEY.items() if k != name}, {**SURVEY, name: [None]}):
        with pytest.raises(BoardError, match="is not one"):
            survey.parse(survey.MARK + json.dumps(broken))


@given(st.text())
def test_whatever_a_board_prints_is_an_answer_or_a_board_error(text: str) -> None:
    for parse in (survey.parse, self_test.parse):
        with pytest.raises(BoardError):
            parse(text)


def lines(**changes: object) -> dict[str, str]:
    return dict(self_test.lines(self_test.parse(self_test.MARK + json.dumps({**SELF_TEST, **changes}))))


def test_the_report_says_each_thing_in_a_line() -> None:
    said = lines()
    assert said["interpreter"] == "micropython 1.26.0, Raspberry Pi Pico W with RP2040"
    assert said["next()"] == "124 us" and said["heap per next()"] == "0 bytes"
    assert said["heap at start"] == "4000 bytes for the import, 1300 for a Tracer"
    assert said["free heap"] == "150000 bytes" and said["result"] == "the library works here"


def test_a_firmware_that_lacks_something_is_told_what_and_what_that_costs() -> None:
    said = lines(cipher="sfc16", complete=False, lacking=["cryptolib", "framebuf"])
    assert "no AES" in said["randomness"]
    assert said["digits"] == "by Python code, the same bytes and slower: no cryptolib, framebuf here"
    assert lines(fast=True)["digits"].startswith("by machine code")


def test_a_failure_is_the_last_line() -> None:
    failed = lines(wrong="two tracers drew the same boot nonce: no entropy at all")
    assert failed["result"] == "FAILED: two tracers drew the same boot nonce: no entropy at all"
    assert "next()" not in failed
    assert lines(absent=["mqtt5: no module named 'umqtt'"])["result"] == "FAILED: see missing"
    assert "free heap" not in lines(free_bytes=None)
