"""An example as a running process: its file unchanged, its settings ours, the board's modules stood in for."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import parts
from services import popen

HERE = Path(__file__).resolve().parent
EXAMPLES = parts.ROOT / "examples"
DEVICE = "sensor-0042"
SETTINGS = """
WIFI = ("network", "password")
BROKER = {host!r}
PORT = {port}
DEVICE = {device!r}
SENSOR_PIN = 26
RELAY_PIN = 15
INTERVAL_S = {interval_s}
"""


class Node:
    """One example under MicroPython; used as a context manager, ended with it.

    Args:
        bits: 64 or 32.  folder: empty or of an earlier run, whose RTC memory is then found.
        libraries: further folders to import from, such as a client's.
    """

    def __init__(
        self,
        bits: int,
        example: str,
        folder: Path,
        host: str,
        port: int,
        libraries: list[Path],
        interval_s: float = 0.05,
    ) -> None:
        folder.mkdir(exist_ok=True)
        for name in (example, "wifi.py"):
            shutil.copy(EXAMPLES / name, folder / name)
        (folder / "settings.py").write_text(SETTINGS.format(host=host, port=port, device=DEVICE, interval_s=interval_s))
        path = [HERE / "stand_ins" / "micropython", parts.ROOT / "device_lib", parts.simple2(), *libraries]
        words = [*parts.micropython(bits), str(HERE / "power_on.py"), str(folder), example]
        self._start(words, folder, {"MICROPYPATH": os.pathsep.join(map(str, path))})

    def _start(self, words: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._said = folder / "said.txt"
        with self._said.open("ab") as said:
            self.process = popen(
                words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={**os.environ, **environment}
            )

    @property
    def said(self) -> str:
        """What it has written up to now."""
        return self._said.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        if error is not None:
            error.add_note(f"the example wrote:\n{self.said[-2000:]}")


class CircuitPythonNode(Node):
    """motetrace_simpletest.py under CPython, with the real adafruit_minimqtt."""

    def __init__(self, folder: Path, host: str, port: int) -> None:
        example = EXAMPLES / "motetrace_simpletest.py"
        shutil.copy(example, folder / "code.py")
        path = [HERE / "stand_ins" / "circuitpython", parts.ROOT / "device_lib"]
        settings = {
            "CIRCUITPY_WIFI_SSID": "network",
            "CIRCUITPY_WIFI_PASSWORD": "password",
            "MQTT_BROKER": host,
            "MQTT_PORT": str(port),
            "DEVICE": DEVICE,
            "INTERVAL_S": "0.05",
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "PYTHONUNBUFFERED": "1",
        }
        self._start([sys.executable, str(folder / "code.py")], folder, settings)
