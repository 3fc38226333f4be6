"""The demo's plant: every part of it as a real process, started in the order in which they need each other."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / ".ci"))

import accounting
import parts
import services
from children import Child, ChildFailed, Children

HERE = Path(__file__).resolve().parent
FAILURES = (
    ChildFailed,
    services.ServiceError,
    parts.PartError,
    accounting.QueryFailed,
)  # a part did not come up, died, or cannot be had
READY_S = 60
DATABASE = "plant"
MEASUREMENT = "reading"
OTLP_LINE = "OTLP receiver: "
MOTETRACE = (sys.executable, "-m", "motetrace_host")  # what the command `motetrace` runs
LEGACY_TOPIC = "legacy/{device_id}/up"
TRACED_TOPIC = "traced/{device_id}/telemetry"


@dataclass(frozen=True)
class Device:
    """One MicroPython process; `file` in devices/ is its firmware."""

    device_id: str
    file: str
    bits: int
    about: str


DEVICES = (
    Device("sensor-0041", "sensor_0041.py", 64, "MQTT 5, sends a traceparent"),
    Device("sensor-0042", "sensor_0042.py", 32, "MQTT 5, sends a seqref"),
    Device("sensor-0043", "sensor_0043.py", 32, "MQTT 3.1.1, traceparent in the JSON payload"),
    Device("sensor-0044", "sensor_0044.py", 64, 'MQTT 5, seqref; firmware 1.4.2-rc1 sends "3.82" for 3.82'),
    Device("legacy-0007", "legacy_0007.py", 32, "MQTT 3.1.1, foreign firmware that only numbers its messages"),
)


@dataclass
class Answers:
    """What the function said of its calls so far."""

    stored: int = 0
    refused: int = 0
    cold_starts: int = 0

    @property
    def total(self) -> int:
        return self.stored + self.refused

    def add(self, answer: dict[str, object]) -> None:
        self.stored += answer["stored"] is True
        self.refused += answer["stored"] is not True
        self.cold_starts += answer["cold_start"] is True


class _Apart:
    """A service in a session of its own: Ctrl-C reaches the demo alone, which stops the others in order."""

    def _command(self) -> list[str]:
        into_own_session = "import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])"
        command: list[str] = super()._command()  # type: ignore[misc]
        return [sys.executable, "-c", into_own_session, *command]


class _Mosquitto(_Apart, services.Mosquitto):
    pass


class _Influxd(_Apart, services.Influxd):
    pass


class Plant:
    """All parts of one run; leaving the `with` stops what still runs, the last started first.

    Args:
        folder: emptied by the caller; state, data and logs go there.
        say: is told what is starting, and why.
    """

    def __init__(self, folder: Path, say: Callable[[str, str, str], None]) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.logs = folder / "logs"
        self._say = say
        self._stack = ExitStack()
        self.progress: dict[str, accounting.Progress] = {}
        self.answers = Answers()
        self.devices: list[Child] = []

    def __enter__(self) -> Plant:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.__exit__(None, None, None)

    def start(self, cold_start_every: int) -> None:
        """Start everything but the devices.

        Raises:
            One of FAILURES: a part did not come up; the message holds its last words.
        """
        broker = self._stack.enter_context(_Mosquitto(self.logs / "mosquitto"))
        self._say("mosquitto", broker.url, f"the MQTT broker, {parts.ensure('mosquitto').version}")
        influx = self._stack.enter_context(_Influxd(self.logs / "influxd"))
        accounting.query(influx.url, DATABASE, f'CREATE DATABASE "{DATABASE}"')
        self._say("influxd", influx.url, f"the database, InfluxDB {parts.ensure('influxd').version}")
        self.broker, self.influxd = broker, influx
        self.children = self._stack.enter_context(Children(self.logs))

        otlp_url = self._start_shim()
        self._say("motetrace run", otlp_url, "the shim: ledger, the first two spans, store of all spans")
        shared = ["--broker", f"{broker.host}:{broker.port}", "--otlp", otlp_url]
        self.rule_engine = self._start_stage("rule_engine", [*shared, "--key-file", str(self.state / "key")])
        self._say("rule_engine.py", "rules/store", "flags warm readings, hands all on with their context injected")
        database = ["--influx", influx.url, "--database", DATABASE, "--measurement", MEASUREMENT]
        cold = ["--cold-start-every", str(cold_start_every)]
        self.function = self._start_stage("function", [*shared, *database, *cold])
        self._say("function.py", "", f"writes to the database; one call in {cold_start_every} starts cold, 800 ms")

    def start_devices(self, readings: int, interval_ms: int) -> None:
        """Start all devices; `readings` 0 is without end."""
        search = {"MICROPYPATH": f"{ROOT / 'device_lib'}{os.pathsep}{parts.simple2()}"}
        for device in DEVICES:
            self.progress[device.device_id] = accounting.Progress()
            command = [*parts.micropython(device.bits), str(HERE / "devices" / device.file)]
            command += [self.broker.host, str(self.broker.port), device.device_id, str(readings), str(interval_ms)]
            self.devices.append(
                self.children.start(device.device_id, command, search, self._listener(device.device_id))
            )
            self._say(device.device_id, f"{device.bits}-bit", device.about)

    def check(self) -> None:
        """Raise when a part has died; devices may end, but not with an error."""
        self.children.check(self.devices)
        for service in (self.broker, self.influxd):
            if service.pid is None:
                raise services.ServiceError(f"a service ended; its log {service.log} ends:\n{service.last_words()}")

    def stop_in_order(self) -> None:
        """Stop devices, then the stages, which flush their spans to the shim, then the shim. The database goes on."""
        for child in [*self.devices, self.rule_engine, self.function, self.shim]:
            child.stop()

    @property
    def sent(self) -> int:
        return sum(progress.sent for progress in self.progress.values())

    @property
    def acked(self) -> int:
        return sum(progress.acked for progress in self.progress.values())

    def _start_shim(self) -> str:
        lines: list[str] = []

        def on_line(line: str) -> bool:
            if line.startswith(OTLP_LINE):
                lines.append(line)
            return False

        command = [*MOTETRACE, "run", "--broker", self.broker.url]
        command += ["--topic", "devices/{device_id}/telemetry", "--republish", LEGACY_TOPIC, TRACED_TOPIC]
        command += ["--state", str(self.state), "--otlp-listen", "127.0.0.1:0", "--log-format", "json"]
        self.shim = self.children.start("shim", command, on_line=on_line)
        # Devices must not publish before the shim has subscribed: its first session has nothing to catch up with.
        self.shim.wait_until(lambda: b'"event": "connected"' in self.shim.log.read_bytes() and bool(lines), READY_S)
        return lines[0].removeprefix(OTLP_LINE)

    def _start_stage(self, name: str, options: list[str]) -> Child:
        lines: list[str] = []

        def on_line(line: str) -> bool:
            if line.startswith("{"):
                self.answers.add(json.loads(line))
                return True
            lines.append(line)
            return False

        child = self.children.start(name, [sys.executable, str(HERE / f"{name}.py"), *options], on_line=on_line)
        child.wait_until(lambda: "ready" in lines, READY_S)
        return child

    def _listener(self, device_id: str) -> Callable[[str], bool]:
        def on_line(line: str) -> bool:
            if not line.startswith("{"):
                return False
            self.progress[device_id] = accounting.Progress(**json.loads(line))
            return True

        return on_line
