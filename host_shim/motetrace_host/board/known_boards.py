"""The boards that have a page in boards/: what tells them apart, and what code they run."""

from __future__ import annotations

import re
from dataclasses import dataclass

MICROPYTHON = "micropython"
CIRCUITPYTHON = "circuitpython"


@dataclass(frozen=True, slots=True)
class KnownBoard:
    """One page of boards/.

    Attributes:
        name: what `--board` takes, and the page's name.
        system: the interpreter it is about.
        machine: pattern in what the board says it is (sys.implementation._machine, or boot_out.txt's first line).
    """

    name: str
    system: str
    machine: str

    def is_one(self, said: str) -> bool:
        """Whether a board that says this of itself is one."""
        return re.search(self.machine, said) is not None


KNOWN_BOARDS = {
    board.name: board
    for board in (
        KnownBoard("esp32", MICROPYTHON, r"with ESP32$"),
        KnownBoard("esp32-s3", MICROPYTHON, r"with ESP32S3$"),
        KnownBoard("esp32-c3", MICROPYTHON, r"with ESP32C3$"),
        KnownBoard("pico", MICROPYTHON, r"Pico with RP2040$"),
        KnownBoard("pico-w", MICROPYTHON, r"Pico W with RP2040$"),
        KnownBoard("pico-2-w", MICROPYTHON, r"Pico 2 W with RP2350$"),
        KnownBoard("circuitpython-pico-w", CIRCUITPYTHON, r"Pico W with rp2040$"),
        KnownBoard("circuitpython-esp32-s3", CIRCUITPYTHON, r"with ESP32S3$"),
    )
}
