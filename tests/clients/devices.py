"""Sessions with a device on which one client of one carrier is set up: `d` is its driver, see on_device/drivers.py."""

import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services import Mosquitto

from tests.clients import sdists
from tests.device.interpreters import MICROPYTHONS
from tests.device.session import Session

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Case:
    """One adapter with one carrier, on one interpreter."""

    interpreter: str
    client: str
    carrier: str

    def __str__(self) -> str:
        return f"{self.client}-{self.carrier}-{self.interpreter}"


CARRIERS = {
    "simple": ("member", "trailer"),
    "simple2": ("member", "trailer", "property"),
    "robust": ("member", "trailer"),
    "robust2": ("member", "trailer"),
    "mqtt_as": ("member", "trailer", "property"),
    "minimqtt": ("member", "trailer"),
}
CASES = [
    Case(interpreter, client, carrier)
    for client, carriers in CARRIERS.items()
    for carrier in carriers
    for interpreter in (("cpython",) if client == "minimqtt" else MICROPYTHONS)
]


@contextmanager
def device(case: Case, broker: Mosquitto, mode: str = "traceparent", *, connect: bool = True) -> Iterator[Session]:
    """A session in which `d` is connected to the broker."""
    options = () if case.interpreter == "cpython" else ("-X", "heapsize=32m")
    with Session(case.interpreter, *options) as session:
        folders = [HERE / "on_device", sdists.folder(), *([HERE / "doubles"] if case.client == "mqtt_as" else [])]
        session.run("import sys\n" + "\n".join(f"sys.path.insert(0, {str(folder)!r})" for folder in folders))
        if case.interpreter == "cpython":
            session.run(f"sys.path.append({sysconfig.get_path('purelib')!r})")
        # MICROPYPATH replaces the default path, and with it the modules frozen into the interpreter, such as asyncio.
        session.run("sys.path.append('.frozen')\nfrom drivers import DRIVERS")
        session.run(f"d = DRIVERS[{case.client!r}]({broker.host!r}, {broker.port}, {case.carrier!r}, {mode!r})")
        if connect:
            session.run("d.connect()")
        yield session
