"""Promises of sampling/{why,words,answer,duration}.py: the first stage that drops a device's traces is named."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.commands import duration, retained_state, sampling_why
from motetrace_host.commands.sampling_why import Effect, RequestOutcome
from motetrace_host.commands.shim_view import ShimView
from motetrace_host.core.sampling.head import HeadSettings
from motetrace_host.core.sampling.reason import Reason
from motetrace_host.core.sampling.report import REFUSALS, SamplingReport
from motetrace_host.core.sampling.request import SamplingRequest
from motetrace_host.core.sampling.tail.rules import TailRules
from motetrace_host.core.sampling.threshold import NEVER, of_rate, parse_rate

NOW = 1_760_000_000 * 10**9
ONE_PERCENT = of_rate(parse_rate("1%"))
BOOT = bytes.fromhex("5f3a9c0d21")
KEPT = {
    "sampling/desired": b'{"mode":"on","rate":1,"for_s":600}',
    "sampling/reported": b'{"v":1,"nonce":"5f3a9c0d21","mode":"on","result":"applied","threshold":0,"left_s":590}',
    "birth": b'{"v":1,"nonce":"5f3a9c0d21","mode":"traceparent","threshold":58982}',
}  # fmt: skip
HEALTHY = ShimView(
    HeadSettings(), now_unix_ns=NOW, received=100, head_counts={Reason.RATE: 100}, otlp="http://jaeger:4318"
)


def report(**changed: object) -> bytes:
    return json.dumps({**json.loads(KEPT["sampling/reported"]), **changed}).encode()


def view(**changed: object) -> ShimView:
    settings = {name: getattr(HEALTHY, name) for name in HEALTHY.__slots__}
    return ShimView(**{**settings, **changed})


def blamed(of: ShimView | None, **kept: bytes) -> tuple[str, Effect] | None:
    names = {"desired": "sampling/desired", "report": "sampling/reported", "birth": "birth"}
    said = retained_state.read({**KEPT, **{names[name]: payload for name, payload in kept.items()}})
    stage = sampling_why.culprit(sampling_why.stages(said, of))
    return None if stage is None else (stage.name, stage.verdict)


def test_where_all_is_well_no_stage_is_blamed() -> None:
    assert blamed(HEALTHY) is None
    assert "No stage drops its traces." in sampling_why.render(
        "d", sampling_why.stages(retained_state.read(KEPT), HEALTHY)
    )


def test_the_classic_case_100_percent_on_the_device_and_nothing_in_the_backend() -> None:
    head = HeadSettings(ONE_PERCENT)
    shim = view(head=head, received=1204, head_counts={Reason.RATE: 14, Reason.OUTSIDE_RATE: 1190})
    text = sampling_why.render("sensor-0042", sampling_why.stages(retained_state.read(KEPT), shim))
    assert text == (
        "sensor-0042: what becomes of its traces\n"
        "  request   passes   on, 100% for 10m; the device applied it\n"
        "  device    passes   samples 100% (report of boot 5f3a9c0d21: applied, 9m50s left then);"
        " its flag left out 0 of 1204\n"
        "  received  passes   1204 messages\n"
        "  topic     passes   continue\n"
        "> rate      thins    1%; 1190 of 1204 left out\n"
        "  limit     passes   none\n"
        "  target    passes   none\n"
        "  tail      passes   off; 14 of 1204 kept by the head\n"
        "  sending   passes   to http://jaeger:4318; 0 spans wait, 0 refused, of all devices\n"
        "\n"
        'Most are left out at "rate": raise --sample, or target the device: '
        "motetrace sampling set sensor-0042 --rate 100%.\n"
    )


OFF = report(mode="off", threshold=65536, left_s=0)
THINNED = {"rules": TailRules(baseline=ONE_PERCENT), "tail_counts": {0: 99, Reason.ERROR: 1}}


@pytest.mark.parametrize(
    ("changed", "kept", "expected"),
    [
        ({}, {"desired": b'{"mode":"off"}', "report": OFF}, ("request", Effect.BLOCKS)),
        ({}, {"desired": b"", "report": OFF}, ("device", Effect.BLOCKS)),
        ({}, {"desired": b"", "report": b""}, ("device", Effect.THINS)),  # 10 % by its birth message
        ({"received": 0, "head_counts": {}}, {}, ("received", Effect.BLOCKS)),
        ({"head": HeadSettings(NEVER), "head_counts": {Reason.OUTSIDE_RATE: 100}}, {}, ("rate", Effect.BLOCKS)),
        ({"head": HeadSettings(limit_per_s=1), "head_counts": {Reason.OVER_LIMIT: 90}}, {}, ("limit", Effect.THINS)),
        (THINNED, {}, ("tail", Effect.THINS)),
        ({"otlp": ""}, {}, ("sending", Effect.BLOCKS)),
        ({"spans_refused": 5}, {}, ("sending", Effect.THINS)),
    ],
)  # fmt: skip
def test_the_stage_to_blame_is_named(
    changed: dict[str, object], kept: dict[str, bytes], expected: tuple[str, Effect]
) -> None:
    assert blamed(view(**changed), **kept) == expected


def test_a_target_goes_around_what_the_head_leaves_out() -> None:
    head = {"head": HeadSettings(NEVER), "head_counts": {Reason.TARGETED: 60, Reason.OUTSIDE_RATE: 40}}
    targeted = view(target_until_unix_ns=NOW + 90 * 10**9, **head)
    assert blamed(targeted) == ("rate", Effect.THINS)
    shown = sampling_why.render("d", sampling_why.stages(retained_state.read(KEPT), targeted))
    assert "  target    adds     for 1m30s more; 60 kept for it so far" in shown
    assert blamed(view(target_until_unix_ns=NOW, **head)) == ("rate", Effect.BLOCKS)


def test_the_wish_that_the_broker_keeps_is_the_shims_target_while_it_lasts() -> None:
    wish = b'{"mode":"on","rate":1,"for_s":600,"until":1760000090}'
    head = {"head": HeadSettings(NEVER), "head_counts": {Reason.OUTSIDE_RATE: 100}}
    assert blamed(view(**head), desired=wish) == ("rate", Effect.THINS)
    assert blamed(view(**{**head, "now_unix_ns": NOW + 90 * 10**9}), desired=wish) == ("rate", Effect.BLOCKS)
    assert blamed(view(**head), desired=b'{"mode":"on"}') == ("rate", Effect.THINS)  # without end


def test_a_device_that_never_spoke_of_sampling_is_judged_by_its_flags() -> None:
    silent = {"report": b"", "birth": b"", "desired": b""}
    assert blamed(view(head_counts={Reason.UNSAMPLED: 100}), **silent) == ("device", Effect.BLOCKS)
    assert blamed(HEALTHY, **silent) is None


def test_without_a_shim_what_is_not_known_is_said() -> None:
    text = sampling_why.render("d", sampling_why.stages(retained_state.read({}), None))
    assert "shim      unknown" in text
    assert "No stage is known to drop its traces, but not all could be asked." in text


def test_a_request_that_was_not_applied_is_no_longer_taken_for_granted() -> None:
    stage = sampling_why.stages(retained_state.read({**KEPT, "sampling/reported": report(result="rate")}), HEALTHY)[0]
    assert stage.verdict is Effect.UNKNOWN and "did not report" in stage.text


def test_what_devices_wrote_reaches_the_terminal_escaped() -> None:
    kept = {"sampling/reported": report(result="\x1b[2J"), "sampling/desired": b'{"mode":"\x1b[31m"}'}
    said = retained_state.read(kept)
    text = sampling_why.render("\x1b]0;x\x07", sampling_why.stages(said, HEALTHY), said.faults)
    assert text.replace("\n", "").isprintable()
    assert "note: the request kept by the broker is broken" in text


@given(st.dictionaries(st.sampled_from(retained_state.KINDS), st.binary(max_size=200)))
def test_anything_may_be_kept_by_the_broker(kept: dict[str, bytes]) -> None:
    said = retained_state.read(kept)
    assert sampling_why.render("d", sampling_why.stages(said, HEALTHY), said.faults).endswith(".\n")


WISH = SamplingRequest("on", parse_rate("10%"), 600)
APPLIED = SamplingReport(BOOT, "on", "applied", 58982, 600, 0)


@pytest.mark.parametrize(
    ("wish", "said", "expected"),
    [
        (WISH, {}, RequestOutcome.APPLIED),
        (WISH, {"left_s": 598, "threshold": 58983}, RequestOutcome.APPLIED),
        (WISH, {"left_s": 601}, RequestOutcome.OTHER),
        (WISH, {"left_s": 0}, RequestOutcome.OTHER),
        (WISH, {"threshold": 58984}, RequestOutcome.OTHER),
        (WISH, {"mode": "off"}, RequestOutcome.OTHER),
        (WISH, {"result": "expired"}, RequestOutcome.OTHER),
        (WISH, {"result": "boot"}, RequestOutcome.OTHER),
        (SamplingRequest("on", parse_rate("10%")), {"left_s": 0}, RequestOutcome.APPLIED),
        (SamplingRequest("on", parse_rate("10%")), {}, RequestOutcome.OTHER),
        (SamplingRequest("inherit"), {"mode": "inherit", "threshold": 7}, RequestOutcome.APPLIED),
        (SamplingRequest("off"), {"mode": "off", "threshold": 65536, "left_s": 0}, RequestOutcome.APPLIED),
        *[(WISH, {"result": reason}, RequestOutcome.REFUSED) for reason in REFUSALS],
    ],
)
def test_a_report_is_taken_for_the_answer_when_it_says_what_was_asked(
    wish: SamplingRequest, said: dict[str, object], expected: RequestOutcome
) -> None:
    assert sampling_why.judge(wish, dataclasses.replace(APPLIED, **said)) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("45", 45), ("0", 0), ("0s", 0)]
)
def test_lengths_of_time_are_read(text: str, seconds: int) -> None:
    assert duration.parse(text, 10**6) == seconds


@pytest.mark.parametrize("text", ["", "m", "10 m", "-1s", "1.5h", "10x", "forever", "31d"])
def test_other_texts_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 90s|at most 30d"):
        duration.parse(text, 2_592_000)


@given(st.integers(0, 10**7))
def test_a_length_is_shown_in_two_units_and_reads_back_near(seconds: int) -> None:
    shown = duration.format(seconds)
    assert 0 <= seconds - duration.parse(shown, 10**7) < max(1, seconds / 20)
