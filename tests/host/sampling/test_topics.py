"""Promises of core/sampling/{desired,reported,device_rate,topics}.py."""

import contextlib
import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace.sampling import desired as device_reads
from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.sampling import device_rate, request
from motetrace_host.core.sampling import report as reported
from motetrace_host.core.sampling.head import UNKNOWN, HeadSampler, HeadSettings
from motetrace_host.core.sampling.request import SamplingRequest
from motetrace_host.core.sampling.threshold import ALWAYS, NEVER, of_device
from motetrace_host.shim.sampling_topics import NO_END, DesiredTopic, ReportedTopic

NOW_S = 1_760_000_000
NOW = NOW_S * 10**9
DOCUMENTED = b'{"mode":"on","rate":0.1,"for_s":600}'  # docs/device-messages.md
REPORT = {
    "v": 1, "nonce": "5f3a9c0d21", "mode": "on", "result": "applied", "threshold": 58982, "left_s": 600, "refused": 0,
}  # fmt: skip
BIRTH = {"v": 1, "nonce": "5f3a9c0d21", "mode": "traceparent", "threshold": 32768}


def packet(payload: bytes) -> PublishPacket:
    return PublishPacket("", 0, 0, False, True, payload)


def report(**changed: object) -> bytes:
    return json.dumps({**REPORT, **changed}).encode()


def birth(**changed: object) -> bytes:
    return json.dumps({**BIRTH, **changed}).encode()


def test_the_documented_wish_is_read() -> None:
    assert request.parse(DOCUMENTED) == SamplingRequest("on", Fraction(1, 10), 600)
    assert request.device_threshold(request.parse(DOCUMENTED)) == 58982
    assert request.parse(b"") == SamplingRequest("inherit")
    assert request.parse(b'{"mode":"on","rate":1e-300}').rate == 0
    assert request.parse(b'{"mode":"on","rate":"10%","by":"J"}').rate == Fraction(1, 10)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b" " * 257, "size"), (b"[1]", "format"), (b'{"rate":1}', "format"), (b"\xff", "format"),
        (b'{"mode":"ON"}', "mode"), (b'{"mode":"on","rate":1.5}', "rate"), (b'{"mode":"on","rate":-0.1}', "rate"),
        (b'{"mode":"on","rate":"1/10"}', "rate"), (b'{"mode":"on","rate":"10 %"}', "rate"),
        (b'{"mode":"on","rate":"11"}', "rate"),
        (b'{"mode":"on","for_s":1.5}', "for_s"), (b'{"mode":"on","for_s":2592001}', "for_s"),
        (b'{"mode":"on","for_s":-1}', "for_s"),
        (b'{"mode":"on","rate":1e999}', "format"),
    ],
)  # fmt: skip
def test_what_a_device_refuses_is_refused_by_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        request.parse(payload)
    assert caught.value.reason == f"desired_{reason}"


WISHES = st.builds(
    SamplingRequest,
    st.sampled_from(["off", "on", "inherit"]),
    st.fractions(0, 1, max_denominator=10**8),
    st.integers(0, request.MAX_FOR_S),
    st.just(0) | st.integers(1, 2**33 - 1),
)


@given(WISHES)
def test_a_written_wish_is_short_and_reads_back_to_8_decimals(wish: SamplingRequest) -> None:
    text = request.format(wish)
    again = request.parse(text)
    assert len(text) <= request.MAX_BYTES
    assert (again.mode, again.for_s, again.until_unix_s) == (wish.mode, wish.for_s, wish.until_unix_s)
    if wish.mode == "on":
        assert abs(again.rate - wish.rate) <= Fraction(1, 2 * 10**8)
        assert request.device_threshold(again) == request.device_threshold(wish)
        assert abs(Fraction(request.device_threshold(wish)) - (1 - wish.rate) * 65536) <= Fraction(501, 1000)


@given(WISHES)
def test_a_device_reads_a_written_wish_to_the_threshold_that_is_expected_of_it(wish: SamplingRequest) -> None:
    mode, threshold, seconds = device_reads(request.format(wish))
    assert mode == wish.mode.encode()
    if wish.mode != "inherit":
        assert (threshold, seconds) == (request.device_threshold(wish), wish.for_s)


@pytest.mark.parametrize(
    "wish", [SamplingRequest("no"), SamplingRequest("on", Fraction(1), -1), SamplingRequest("on", Fraction(1, 10**10))]
)
def test_a_wish_that_no_device_reads_is_not_written(wish: SamplingRequest) -> None:
    with pytest.raises(ValueError, match=r"allowed|lowest"):
        request.format(wish)


def test_the_documented_report_is_read() -> None:
    assert reported.parse(report()) == reported.SamplingReport(
        bytes.fromhex("5f3a9c0d21"), "on", "applied", 58982, 600, 0
    )


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"x" * 5000, "size"), (b"{}", "format"), (report(nonce="zz"), "format"), (report(v=2), "version"),
        (report(nonce="5f"), "range"), (report(threshold=65537), "range"), (report(left_s=-1), "range"),
    ],
)  # fmt: skip
def test_a_broken_report_is_refused_by_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        reported.parse(payload)
    assert caught.value.reason == f"reported_{reason}"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_by_reason(payload: bytes) -> None:
    for parse in (request.parse, reported.parse):
        with contextlib.suppress(WireError):
            parse(payload)
    device_rate.read_birth(payload)


@pytest.mark.parametrize(
    ("wish", "until"),
    [
        (SamplingRequest("on", Fraction(1), 600), NOW + 600 * 10**9),
        (SamplingRequest("on", Fraction(1), 600, NOW_S + 5), (NOW_S + 5) * 10**9),
        (SamplingRequest("on", Fraction(1), 600, NOW_S - 5), 0),
        (SamplingRequest("on"), NO_END),
        (SamplingRequest("off"), 0),
        (SamplingRequest("inherit"), 0),
    ],
)
def test_a_wish_makes_its_device_a_target_for_its_time(wish: SamplingRequest, until: int) -> None:
    head = HeadSampler(HeadSettings(NEVER))
    head.target("d", NEVER, NOW + 1)
    topic = DesiredTopic("motetrace/", head)
    topic.receive("d", packet(request.format(wish)), NOW)
    assert head.plan("d").target_until_unix_ns == until
    assert topic.template.match("motetrace/d/sampling/desired") == "d"
    topic.receive("d", packet(b""), NOW)
    assert head.plan("d").target_until_unix_ns == 0


def test_a_broken_wish_changes_nothing() -> None:
    head = HeadSampler(HeadSettings(NEVER))
    head.target("d", ALWAYS, NOW + 1)
    with pytest.raises(WireError):
        DesiredTopic("motetrace/", head).receive("d", packet(b"{"), NOW)
    assert head.plan("d").target_until_unix_ns == NOW + 1


def known(head: HeadSampler) -> int:
    return head.plan("d").th


@pytest.mark.parametrize("birth_first", [True, False])
def test_what_a_device_says_of_its_odds_is_known_in_either_order(birth_first: bool) -> None:
    head = HeadSampler(HeadSettings(ALWAYS))
    topic = ReportedTopic("motetrace/", head)
    if birth_first:
        topic.birth("d", birth())
        assert known(head) == of_device(32768)
    topic.receive("d", packet(report()), NOW)
    topic.receive("d", packet(b""), NOW)
    if not birth_first:
        assert known(head) == UNKNOWN  # in mode seqref the threshold would say nothing of R
        topic.birth("d", birth())
    assert known(head) == of_device(58982)
    topic.birth("d", birth(nonce="0000000001", threshold=0))
    assert known(head) == ALWAYS  # the report is of the boot before


@pytest.mark.parametrize(
    ("mode", "threshold", "expected"),
    [
        ("traceparent", 0, ALWAYS), ("seqref", 0, ALWAYS), ("", 0, ALWAYS), ("traceparent", 58982, 0xE6660000000000),
        ("traceparent", 65536, NEVER), ("seqref", 1, UNKNOWN), ("", 1, UNKNOWN), ("traceparent", None, UNKNOWN),
    ],
)  # fmt: skip
def test_only_a_device_that_compares_the_same_r_has_a_threshold(
    mode: str, threshold: int | None, expected: int
) -> None:
    assert device_rate.threshold(mode, threshold) == expected


def test_a_birth_that_does_not_say_or_lies_out_of_range_says_nothing() -> None:
    for payload in (birth(threshold=70_000), birth(threshold=-1), b"{}", b"[]", b"\xff", birth(nonce="x")):
        assert device_rate.read_birth(payload).threshold_16 is None


def test_what_is_remembered_is_bounded() -> None:
    topic = ReportedTopic("motetrace/", HeadSampler(HeadSettings(max_devices=2)))
    for number in range(5):
        topic.birth(f"d{number}", birth())
    assert len(topic._known) == 2
