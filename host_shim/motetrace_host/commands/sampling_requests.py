"""Telling devices what to sample, and asking why not, line by line; each function returns the exit code."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import click

from motetrace_host.commands import duration, retained_state, sampling_why
from motetrace_host.commands.sampling_why import Effect, RequestOutcome
from motetrace_host.commands.shim_view import ShimView
from motetrace_host.core.errors import OperatorError, WireError
from motetrace_host.core.mqtt.connection import Broker
from motetrace_host.core.printable import printable
from motetrace_host.core.sampling import report as reported
from motetrace_host.core.sampling import request
from motetrace_host.core.sampling.report import REFUSALS, SamplingReport
from motetrace_host.core.sampling.request import SamplingRequest
from motetrace_host.core.sampling.threshold import format_rate
from motetrace_host.network.short_session import ReceivedMessage, ShortSession

DONE: Final = 0
FAILED: Final = 1
SILENT: Final = 3
_QUIET_S: Final = 0.5  # retained messages follow the SUBACK at once; after such a pause there are none
_LABEL_WIDTH: Final = 11


@dataclass(frozen=True, slots=True)
class DeviceAccess:
    """Where a device's side topics are."""

    broker: Broker
    tls: ssl.SSLContext | None
    prefix: str
    device_id: str

    def topic(self, kind: str) -> str:
        """One of them.

        Raises:
            OperatorError: the device id cannot stand in a topic.
        """
        try:
            return retained_state.topic(self.prefix, self.device_id, kind)
        except ValueError as error:
            raise OperatorError(f"{error}; name the device as it stands in its topics") from error


def set_rate(access: DeviceAccess, rate: Fraction, for_s: int, wait_s: float) -> int:
    """Ask a device, and the shim that listens too, for a rate; wait for the device's answer."""
    until = int(time.time()) + for_s if for_s else 0
    wish = SamplingRequest(request.ON if rate else request.OFF, rate, for_s, until)
    try:
        payload = request.format(wish)
    except ValueError as error:
        raise OperatorError(f"--rate: {error}") from error
    length = f"for {duration.format(for_s)}" if for_s else "without end"
    return _ask(access, wish, payload, f"{format_rate(rate)} {length}", wait_s)


def clear(access: DeviceAccess, wait_s: float) -> int:
    """Take a request back: the device samples as it is configured again."""
    return _ask(access, SamplingRequest(request.INHERIT), b"", "as configured", wait_s)


def _ask(access: DeviceAccess, wish: SamplingRequest, payload: bytes, shown: str, wait_s: float) -> int:
    asks, answers = access.topic("sampling/desired"), access.topic("sampling/reported")
    with ShortSession(access.broker, access.tls) as broker:
        broker.subscribe([answers])
        began = time.monotonic()
        broker.publish(asks, payload)
        _line("asked", f"{printable(access.device_id)}: {shown} ({printable(asks)}{', retained' if payload else ''})")
        before: SamplingReport | None = None
        while (left_s := began + wait_s - time.monotonic()) > 0 and (heard := broker.receive(left_s)):
            report = _read(heard)
            if heard.retained or report is None:
                before = report or before
                continue
            judged = sampling_why.judge(wish, report)
            if judged is RequestOutcome.APPLIED:
                _line("applied", f"after {time.monotonic() - began:.1f} s; {_in_force(report)}")
                return DONE
            if judged is RequestOutcome.REFUSED:
                return _refused(access, report)
            _line("reported", f"{_in_force(report)}; that is no answer to this request")
    return _silent(access, before, bool(payload), wait_s)


def _read(heard: ReceivedMessage) -> SamplingReport | None:
    try:
        return reported.parse(heard.payload)
    except WireError as error:
        _line("reported", f"something broken, passed over: {printable(str(error))}")
        return None


def _in_force(report: SamplingReport) -> str:
    left = f", {duration.format(report.left_s)} left" if report.left_s else ""
    rate = format_rate(Fraction(65_536 - report.threshold, 65_536))
    return f"boot {report.boot_nonce.hex()} samples {rate} ({printable(report.mode, 20)}{left})"


def _refused(access: DeviceAccess, report: SamplingReport) -> int:
    _line("refused", f"the device says {report.result}: {REFUSALS[report.result]}; {_in_force(report)}")
    _line("", f"the request stays with the broker; withdraw it: motetrace sampling clear {printable(access.device_id)}")
    return FAILED


def _silent(access: DeviceAccess, before: SamplingReport | None, stays: bool, wait_s: float) -> int:
    _line("no answer", f"within {wait_s:g} s: the device is away, asleep, or does not listen to its sampling topic")
    if stays:
        _line("", "the request stays with the broker: the device applies it when it connects, the shim keeps to it now")
        _line("", f"withdraw it: motetrace sampling clear {printable(access.device_id)}")
    else:
        _line("", "the broker keeps no request any more; a device that applied one keeps to it until it hears of this")
    _line("last report", _in_force(before) if before else "none: it never reported (see docs/device-messages.md)")
    return SILENT


def explain(access: DeviceAccess, view: ShimView | None) -> int:
    """Say for each stage what it does to a device's traces."""
    topics = {access.topic(kind): kind for kind in retained_state.KINDS}
    kept: dict[str, bytes] = {}
    with ShortSession(access.broker, access.tls) as broker:
        broker.subscribe(list(topics))
        while len(kept) < len(topics) and (heard := broker.receive(_QUIET_S)):
            kept[topics[heard.topic]] = heard.payload
    said = retained_state.read(kept)
    found = sampling_why.stages(said, view)
    click.echo(sampling_why.render(access.device_id, found, said.faults), nl=False)
    return FAILED if any(stage.verdict is Effect.BLOCKS for stage in found) else DONE


def _line(label: str, value: str) -> None:
    click.echo(f"{label:{_LABEL_WIDTH}} {value}")
