"""Asking a board through its port, in words when the port fails; and judging what its self-test said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from motetrace_host.board import modules, port, self_test, survey
from motetrace_host.board.edges import device_library, mpremote, serial_ports
from motetrace_host.board.plan import Plan
from motetrace_host.board.self_test import SelfTest
from motetrace_host.board.survey import Survey

T = TypeVar("T")
# Where a client that is not part of a firmware is to be had, by the module that is missing.
CLIENTS = {
    # Into the root and not into /lib: an esp32's firmware has an umqtt of its own, which comes before /lib.
    "umqtt.simple2": "unpack micropython-umqtt.simple2 2.2.0 of PyPI, then "
    "mpremote fs mkdir :/umqtt + fs cp umqtt/simple2.py :/umqtt/",
    "umqtt.robust2": "the same with micropython-umqtt.robust2 2.2.0 and umqtt/robust2.py, beside umqtt.simple2",
    "umqtt.simple": "mpremote mip install umqtt.simple",
    "umqtt.robust": "mpremote mip install umqtt.robust, which brings umqtt.simple",
    "mqtt_as": "mpremote mip install github:peterhinch/micropython-mqtt",
    "adafruit_minimqtt": "circup install adafruit_minimqtt",
}


def over_port(wanted: str | None, action: Callable[[str], T]) -> tuple[str, T]:
    """Find the port, run `action(port)` on it, and put what goes wrong with the port into words.

    Returns:
        The port, and what the action returned.
    Raises:
        BoardError: no port, several, not to be opened, or no MicroPython behind it.
    """
    mpremote.require()
    candidates = serial_ports.candidates()
    chosen = port.choose(candidates, wanted)
    try:
        return chosen, action(chosen)
    except mpremote.PortRefusedError as error:
        others = [candidate for candidate in candidates if candidate.port != chosen]
        exists, permitted = serial_ports.exists(chosen), serial_ports.permitted(chosen)
        raise port.refused(chosen, exists, permitted, serial_ports.holders(chosen), others) from error
    except mpremote.SilentBoardError as error:
        raise port.silent(chosen, error.said) from error


def ask(chosen: str) -> Survey:
    """What the board behind a port says of itself."""
    return survey.parse(mpremote.run_script(chosen, device_library.script("survey")))


def check(chosen: str, wanted: Sequence[str] = ()) -> SelfTest:
    """Run the self-test on the board behind a port; `wanted` are modules it must be able to import."""
    output = mpremote.run_script(chosen, device_library.script("self_test"), f"MODULES = {tuple(wanted)!r}")
    return self_test.parse(output)


def missing_clients(said: SelfTest) -> list[str]:
    """For each module that could not be imported for want of a client: where that client is to be had."""
    sources = device_library.sources()
    absent = [reason.partition(":")[0] for reason in said.absent]
    wanted = {client for name in absent if name in sources for client in modules.foreign(sources[name])}
    return [f"{client}: {where}" for client, where in CLIENTS.items() if client in wanted]


def not_used(plan: Plan, said: SelfTest) -> str:
    """Why it was not what was copied that the board used, or ""."""
    if "incompatible .mpy" in said.wrong:
        return "this firmware does not load these .mpy files; copy sources: motetrace device install --py"
    if plan.fast and said.library and not said.fast:
        return f"{modules.ACCELERATOR}.mpy is on the board and was not taken: an older library, or another machine code"
    if not said.file or said.file.startswith(f"{plan.target}/{modules.PACKAGE}/"):
        return ""
    return (
        f"the board imported {said.file} instead of {plan.target}/{modules.PACKAGE}: a copy that is frozen into the "
        "firmware or comes first in sys.path. Remove that one, or keep it and do not install another"
    )
