"""Every message is counted at its hop: which, with what outcome, and reported by whom."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from paho.mqtt.enums import MQTTErrorCode

from motetrace_host import stages
from motetrace_host.core.messages.message_number import MessageNumber
from motetrace_host.core.wire import hop_report
from motetrace_host.core.wire.hop_report import HopReport
from motetrace_host.stages import reporting, settings
from tests.host.stages.stage_recorder import KEY, TRACEPARENT, FakeMessage, Recorder, publish_properties

NONCE = bytes.fromhex("0123456789")
ONE = {NONCE: ((0x11, 0x11),)}
Counted = Callable[[], dict[str, HopReport]]


@pytest.fixture
def counted() -> Iterator[Counted]:
    """Reports of this process since the last call, by hop."""
    reports: list[HopReport] = []

    def take() -> dict[str, HopReport]:
        assert stages.flush_reports()
        found = {report.hop: report for report in reports}
        assert len(found) == len(reports)
        reports.clear()
        return found

    def receive(topic: str, payload: bytes) -> None:
        assert topic == "motetrace/store-function/seen"
        reports.append(hop_report.parse(payload))

    stages.configure(key=KEY, tenant="acme", report=receive, reporter="store-function", report_every_s=3600)
    yield take
    stages.configure()


def message(*pairs: tuple[str, str], payload: bytes = b"{}", retain: bool = False) -> FakeMessage:
    return FakeMessage(properties=publish_properties(*pairs), payload=payload, retain=retain)


def test_a_rule_that_matched_has_seen_its_message(counted: Counted, recorder: Recorder) -> None:
    with stages.rule_evaluate(message(("traceparent", TRACEPARENT)), name="r", action="a", tracer=recorder.tracer) as r:
        r.matched = True
    assert counted()["rule"].outcomes == {"seen": ONE}


@pytest.mark.parametrize(("matched", "filtered"), [(False, {"filtered": ONE}), (True, {}), (None, {})])
def test_a_rule_has_filtered_only_what_it_set_matched_to_false_for(
    counted: Counted, recorder: Recorder, matched: bool | None, filtered: dict[str, object]
) -> None:
    with stages.rule_evaluate(message(("traceparent", TRACEPARENT)), name="r", action="a", tracer=recorder.tracer) as r:
        if matched is not None:
            r.matched = matched
    assert counted()["rule"].outcomes == {"seen": ONE} | filtered


def test_an_exception_is_a_failure_and_never_filtered(counted: Counted, recorder: Recorder) -> None:
    with pytest.raises(KeyError):
        with stages.rule_evaluate(message(("traceparent", TRACEPARENT)), name="r", action="a", tracer=recorder.tracer):
            raise KeyError
    assert counted()["rule"].outcomes == {"seen": ONE, "failed": ONE}


def test_a_republish_that_the_client_refuses_is_a_failure(counted: Counted, recorder: Recorder) -> None:
    class Full:
        class Info:
            rc = MQTTErrorCode.MQTT_ERR_QUEUE_SIZE

        def publish(self, *_: object) -> Info:
            return self.Info()

    with stages.rule_evaluate(message(("traceparent", TRACEPARENT)), name="r", action="a", tracer=recorder.tracer) as r:
        r.publish(Full(), "rules/store", qos=1)
    assert counted()["rule"].outcomes == {"seen": ONE, "failed": ONE}


def test_a_write_inside_a_function_counts_as_the_functions_message(counted: Counted, recorder: Recorder) -> None:
    with stages.transform_store(message(("traceparent", TRACEPARENT)), name="f", tracer=recorder.tracer):
        with stages.db_write("influxdb", "write", tracer=recorder.tracer) as write:
            write.fail("type conflict", "400")
    found = counted()
    assert found["function"].outcomes == {"seen": ONE}
    assert found["db"].outcomes == {"seen": ONE, "failed": ONE}


def test_a_function_can_fail_without_an_exception(counted: Counted, recorder: Recorder) -> None:
    with stages.transform_store(message(("traceparent", TRACEPARENT)), name="f", tracer=recorder.tracer) as transform:
        transform.fail("no field temp", "missing_field")
    assert counted()["function"].outcomes == {"seen": ONE, "failed": ONE}
    assert (recorder.only.attributes or {})["error.type"] == "missing_field"


def test_a_function_inside_a_rule_counts_as_the_rules_message_also_when_linked_only(
    counted: Counted, recorder: Recorder
) -> None:
    with stages.rule_evaluate(
        message(("traceparent", TRACEPARENT)), name="r", action="a", link_only=True, tracer=recorder.tracer
    ) as rule:
        rule.matched = True
        with stages.transform_store(name="f", tracer=recorder.tracer):
            pass
    assert {hop: report.outcomes for hop, report in counted().items()} == {
        "rule": {"seen": ONE},
        "function": {"seen": ONE},
    }


@pytest.mark.parametrize("flags", ["02", "03"])
def test_a_message_counts_whether_it_is_sampled_or_not_and_behind_a_rule_too(
    counted: Counted, recorder: Recorder, flags: str
) -> None:
    """The rule's own span is the parent in what the function gets: only the trace-id still tells the number."""
    properties = publish_properties()
    with stages.rule_evaluate(
        message(("traceparent", TRACEPARENT[:-2] + flags)), name="r", action="a", tracer=recorder.tracer
    ) as rule:
        rule.matched = True
        stages.inject(properties)
    with stages.transform_store(FakeMessage("rules/store", properties=properties), name="f", tracer=recorder.tracer):
        pass
    assert {hop: report.outcomes for hop, report in counted().items()} == {
        "rule": {"seen": ONE},
        "function": {"seen": ONE},
    }


@pytest.mark.parametrize("key", [KEY, None])
def test_a_seqref_counts_with_and_without_the_key(counted: Counted, recorder: Recorder, key: bytes | None) -> None:
    if key is None:
        settings._settings = settings.Settings(None, "", ())
    with stages.rule_evaluate(
        message(("seqref", "0123456789-00000011-02")), name="r", action="a", tracer=recorder.tracer
    ) as rule:
        rule.matched = True
        with stages.db_write("influxdb", "write", tracer=recorder.tracer):
            pass
    assert {hop: report.outcomes for hop, report in counted().items()} == {"rule": {"seen": ONE}, "db": {"seen": ONE}}


@pytest.mark.parametrize(
    "carried",
    [
        message(),
        message(payload=b'{"seq":17}'),
        message(("traceparent", f"00-{'1' * 32}-{'2' * 16}-01")),  # foreign, as SDKs of most languages send it
        message(("traceparent", f"00-{'1' * 32}-{'2' * 16}-03")),  # foreign: its "seq" would be 286331153
        message(("traceparent", TRACEPARENT.upper())),
    ],
    ids=["nothing", "bare seq", "foreign 01", "foreign 03", "broken"],
)
def test_what_has_no_number_of_ours_is_counted_as_that(
    counted: Counted, recorder: Recorder, carried: FakeMessage
) -> None:
    with stages.transform_store(carried, name="f", tracer=recorder.tracer):
        with stages.db_write("influxdb", "write", tracer=recorder.tracer):
            pass
    found = counted()
    assert all(report.outcomes == {} for report in found.values())
    foreign = "1" * 32 in str(getattr(carried.properties, "UserProperty", ""))
    assert foreign or {hop: report.unnumbered for hop, report in found.items()} == {"function": 1, "db": 1}


def test_a_retained_copy_is_not_counted_nor_what_is_done_with_it(counted: Counted, recorder: Recorder) -> None:
    with stages.rule_evaluate(
        message(("traceparent", TRACEPARENT), retain=True), name="r", action="a", tracer=recorder.tracer
    ):
        with stages.db_write("influxdb", "write", tracer=recorder.tracer):
            pass
    assert counted() == {}


def test_one_message_in_two_stages_of_a_kind_is_one_message(counted: Counted, recorder: Recorder) -> None:
    for name in ("first", "second"):
        with stages.transform_store(message(("traceparent", TRACEPARENT)), name=name, tracer=recorder.tracer):
            pass
    assert counted()["function"].outcomes == {"seen": ONE}


def test_a_write_in_a_span_that_others_made_counts_by_its_trace_id(counted: Counted, recorder: Recorder) -> None:
    remote = SpanContext(int(TRACEPARENT[3:35], 16), 1, True, TraceFlags(3))
    with trace.use_span(NonRecordingSpan(remote)):
        with stages.db_write("influxdb", "write", tracer=recorder.tracer):
            pass
    assert counted()["db"].outcomes == {"seen": ONE}


def test_a_stage_inside_a_message_without_context_does_not_take_the_outer_ones_number(
    counted: Counted, recorder: Recorder
) -> None:
    with stages.rule_evaluate(message(("traceparent", TRACEPARENT)), name="r", action="a", tracer=recorder.tracer):
        with stages.transform_store(message(), name="f", tracer=recorder.tracer):
            with stages.db_write("influxdb", "write", tracer=recorder.tracer):
                pass
    found = counted()
    assert (found["function"].unnumbered, found["db"].unnumbered, found["db"].outcomes) == (1, 1, {})


def test_without_report_nothing_is_counted(recorder: Recorder) -> None:
    stages.configure()
    with stages.rule_evaluate(message(("traceparent", TRACEPARENT)), name="r", action="a", tracer=recorder.tracer):
        pass
    assert reporting.current() is None
    assert stages.flush_reports()


def test_the_reports_of_a_process_have_one_nonce_and_rising_numbers() -> None:
    reports: list[HopReport] = []
    stages.configure(report=lambda _, payload: reports.append(hop_report.parse(payload)), report_every_s=3600)
    for seq in range(3):
        count("db", numbered(seq))
        stages.flush_reports()
    stages.configure(report=lambda _, payload: reports.append(hop_report.parse(payload)), report_every_s=3600)
    count("db", numbered(9))
    stages.flush_reports()
    stages.configure()
    assert [report.number for report in reports] == [1, 2, 3, 4]
    assert len({report.process for report in reports}) == 1


def count(hop: str, number: MessageNumber) -> None:
    hops = reporting.current()
    assert hops is not None
    hops.count(hop, "seen", number)


def numbered(seq: int) -> MessageNumber:
    return MessageNumber(NONCE, seq, True)


def test_it_reports_by_itself_and_early_when_the_tally_is_half_full() -> None:
    arrived = threading.Event()
    stages.configure(report=lambda *_: arrived.set(), report_every_s=0.1)
    count("db", numbered(1))
    assert arrived.wait(10)
    arrived.clear()
    stages.configure(report=lambda *_: arrived.set(), report_every_s=3600)
    half = reporting._reporting
    assert half is not None
    half.tally._max_runs = 8
    half._wake.set()  # the thread still sleeps by the old rhythm
    for seq in range(0, 600, 2):
        count("db", numbered(seq))
    assert arrived.wait(10)
    stages.configure()


def test_a_target_that_fails_never_reaches_the_application(recorder: Recorder) -> None:
    def broken(_topic: str, _payload: bytes) -> None:
        raise OSError("no route")

    stages.configure(report=broken, report_every_s=0.1)
    with stages.rule_evaluate(message(("traceparent", TRACEPARENT)), name="r", action="a", tracer=recorder.tracer):
        pass
    assert not stages.flush_reports(0.2)
    reports: list[HopReport] = []
    stages.configure(report=lambda _, payload: reports.append(hop_report.parse(payload)))
    assert stages.flush_reports()
    assert reports[0].outcomes["seen"] == ONE
    stages.configure()


def test_a_report_keeps_its_name_when_the_process_gets_another_so_that_it_counts_once() -> None:
    topics: list[str] = []
    stages.configure(report=broken_after(topics), reporter="first", report_every_s=3600)
    count("db", numbered(1))
    assert not stages.flush_reports(0.1)
    stages.configure(report=lambda topic, _: topics.append(topic), reporter="second", report_every_s=3600)
    count("db", numbered(2))
    assert stages.flush_reports()
    stages.configure()
    assert topics[0] == "motetrace/first/seen"
    assert topics[-2:] == ["motetrace/first/seen", "motetrace/second/seen"]


def broken_after(topics: list[str]) -> Callable[[str, bytes], None]:
    """A function whose report arrives, and which fails then all the same."""

    def report(topic: str, _payload: bytes) -> None:
        topics.append(topic)
        raise TimeoutError

    return report


class Client:
    """The application's own, of paho's shape."""

    def __init__(self, connected: bool = True) -> None:
        self.connected = connected
        self.published: list[tuple[str, bytes, int]] = []

    def is_connected(self) -> bool:
        return self.connected

    def publish(self, topic: str, payload: bytes, qos: int) -> None:
        self.published.append((topic, payload, qos))


def test_the_applications_client_is_used_at_qos_1_and_only_while_it_is_connected() -> None:
    client = Client(connected=False)
    stages.configure(report=client, reporter="rule-engine", prefix="plant/", report_every_s=3600)
    count("rule", numbered(5))
    assert not stages.flush_reports(0.1)
    assert client.published == []
    client.connected = True
    assert stages.flush_reports()
    stages.configure()
    ((topic, payload, qos),) = client.published
    assert (topic, qos, hop_report.parse(payload).number) == ("plant/rule-engine/seen", 1, 1)


def test_the_environment_alone_turns_reports_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTETRACE_REPORT", "mqtt://127.0.0.1:1")
    monkeypatch.setenv("MOTETRACE_REPORTER", "rule-engine")
    monkeypatch.setenv("MOTETRACE_PREFIX", "plant/")
    monkeypatch.setattr(settings, "_settings", None)
    settings.current()
    assert reporting._reporting is not None
    assert reporting._reporting.settings.topic == "plant/rule-engine/seen"
    monkeypatch.delenv("MOTETRACE_REPORTER")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "store-function")
    stages.configure()
    assert reporting._reporting.settings.topic == "plant/store-function/seen"
    monkeypatch.delenv("MOTETRACE_REPORT")
    stages.configure()
    assert reporting.current() is None


def test_a_broken_environment_breaks_no_callback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, recorder: Recorder
) -> None:
    monkeypatch.setenv("MOTETRACE_REPORT", "http://127.0.0.1")
    monkeypatch.setattr(settings, "_settings", None)
    with stages.rule_evaluate(message(("traceparent", TRACEPARENT)), name="r", action="a", tracer=recorder.tracer):
        pass
    assert "hops will not be reported" in caplog.text and "mqtt://HOST" in caplog.text
    with pytest.raises(ValueError, match="mqtt://HOST"):
        stages.configure()


@pytest.mark.parametrize(
    ("wrong", "error", "told"),
    [
        ({"report": 7}, TypeError, "report is 7.*publish"),
        ({"report": "mqtt://u:p@h"}, ValueError, "report: user name"),
        ({"report": print, "reporter": "a/b"}, ValueError, "a/b.*1..255"),
        ({"report": print, "prefix": "/x"}, ValueError, "prefix '/x'.*ends in '/'"),
        ({"report": print, "report_every_s": 0}, ValueError, "report_every_s is 0.*0.1..3600"),
        ({"report": print, "report_every_s": float("nan")}, ValueError, "report_every_s is nan"),
        ({"report": "mqtt://h", "ca_file": "ca.pem"}, ValueError, "ca.pem needs TLS"),
        ({"report": "mqtt://h", "client_key": "k.pem"}, ValueError, "k.pem needs TLS"),
        ({"report": "mqtts://h", "ca_file": "absent.pem"}, ValueError, "CA file absent.pem: No such file"),
        ({"report": "mqtts://h", "client_cert": "c.pem"}, ValueError, "c.pem needs its client key"),
        ({"report": "mqtt://h", "password_file": "p"}, ValueError, "needs username"),
        ({"report": "mqtt://h", "username": "u", "password_file": "absent"}, ValueError, "absent.*first line"),
    ],
)
def test_a_wrong_setting_of_reports_is_refused_and_changes_nothing(
    wrong: dict[str, Any], error: type[Exception], told: str
) -> None:
    before = settings.current()
    with pytest.raises(error, match=told):
        stages.configure(**wrong)
    assert settings.current() is before


CHILD = """
import os, sys
from motetrace_host import stages
from motetrace_host.core.wire import hop_report
from motetrace_host.core.messages.message_number import MessageNumber
from motetrace_host.stages import reporting

def report(topic, payload):
    found = hop_report.parse(payload)
    runs = sorted(run for boots in found.outcomes.values() for by in boots.values() for run in by)
    with open(sys.argv[1], "a") as file:
        file.write(f"{os.getpid() == parent} {found.number} {found.process.hex()} {runs} {found.unnumbered}\\n")

class Client:
    def publish(self, topic, payload, qos):
        report(topic, payload)

parent = os.getpid()
stages.configure(report=Client() if sys.argv[2] == "client" else report, report_every_s=3600)
reporting.current().count("db", "seen", MessageNumber(b"12345", 1, True))
child = os.fork()
if child == 0:
    with stages.db_write("influxdb", "write"):
        pass
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("target", ["function", "client"])
def test_a_forked_child_reports_what_it_counted_itself_and_as_itself(tmp_path: Path, target: str) -> None:
    """At the end of both processes, by atexit. A child cannot share its parent's MQTT client and so is silent."""
    log = tmp_path / "reports"
    command = [sys.executable, "-c", CHILD, str(log), target]
    run = subprocess.run(command, timeout=60, check=True, capture_output=True, text=True, env=dict(os.environ))
    lines = [line.split(" ", 3) for line in log.read_text().splitlines()]
    of_child, of_parent = ["False", "1", "[] 1"], ["True", "1", "[(1, 1)] 0"]
    expected = [of_parent] if target == "client" else [of_child, of_parent]
    assert [[parent, number, runs] for parent, number, _, runs in lines] == expected
    assert len({process for _, _, process, _ in lines}) == len(expected)
    assert ("was forked with its MQTT client" in run.stderr) is (target == "client")


def test_counting_goes_on_while_a_report_is_stuck(recorder: Recorder) -> None:
    entered, release = threading.Event(), threading.Event()
    reports: list[HopReport] = []

    def slow(_topic: str, payload: bytes) -> None:
        entered.set()
        release.wait(30)
        reports.append(hop_report.parse(payload))

    stages.configure(report=slow, report_every_s=3600)
    count("rule", numbered(1))
    flusher = threading.Thread(target=stages.flush_reports)
    flusher.start()
    assert entered.wait(10)
    with stages.rule_evaluate(message(("traceparent", TRACEPARENT)), name="r", action="a", tracer=recorder.tracer) as r:
        r.matched = True
    assert not stages.flush_reports(0.05)  # bounded, though another thread is inside
    release.set()
    flusher.join(10)
    assert stages.flush_reports()
    stages.configure()
    assert [report.outcomes["seen"][NONCE] for report in reports] == [((1, 1),), ((0x11, 0x11),)]


def test_an_option_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(TypeError, match=r"no option reportr; it has .*report, report_every_s, reporter"):
        stages.configure(reportr="mqtt://127.0.0.1")  # type: ignore[call-arg]
