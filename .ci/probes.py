"""Whether a program is the one that is needed: it is run, and says its version."""

import subprocess
from collections.abc import Callable


class UnsuitableError(RuntimeError):
    """A program was found and is not the one that is needed; the message says why."""


def output_of(command: list[str]) -> str:
    """Everything the command prints, within 30 s."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnsuitableError(f"does not start: {error}") from error
    return done.stdout + done.stderr


def micropython(bits: int) -> Callable[[list[str]], str]:
    """MicroPython 1.23 or later of 32 or 64 bits, with heap figures and cryptolib."""
    script = (
        "import sys, micropython, cryptolib; micropython.mem_total(); v = sys.implementation.version; "
        "print('motetrace', 64 if sys.maxsize > 1 << 32 else 32, v[0], v[1], v[2])"
    )

    def probe(command: list[str]) -> str:
        output = output_of([*command, "-c", script])
        words = output.split()
        if len(words) != 5 or words[0] != "motetrace":
            raise UnsuitableError(f"lacks what the tests use: {output.strip()[-200:] or 'no output'}")
        if int(words[1]) != bits:
            raise UnsuitableError(f"is a {words[1]}-bit build")
        if (int(words[2]), int(words[3])) < (1, 23):
            raise UnsuitableError(f"is {'.'.join(words[2:])}, and only 1.23 and later load .mpy files of version 6.3")
        return ".".join(words[2:])

    return probe


def mosquitto(command: list[str]) -> str:
    """mosquitto 2.x: earlier ones listen differently and keep no MQTT 5 session over a restart."""
    words = output_of([*command, "-h"]).split()
    version = words[2] if words[:2] == ["mosquitto", "version"] and len(words) > 2 else ""
    if not version.startswith("2."):
        raise UnsuitableError(f"is not mosquitto 2.x (says {' '.join(words[:12])!r})")
    return version


def influxd(command: list[str]) -> str:
    """InfluxDB 1.x: later ones have no /write?db= without a token."""
    words = output_of([*command, "version"]).split()
    version = words[1].lstrip("v") if len(words) > 1 and words[0] == "InfluxDB" else ""
    if not version.startswith("1."):
        raise UnsuitableError(f"is not InfluxDB 1.x, whose /write the demo uses (says {' '.join(words[:8])!r})")
    return version


def valkey(command: list[str]) -> str:
    """Valkey, or Redis from 7.0 on, the oldest that the ledger was run against."""
    words = output_of([*command, "--version"]).split()
    version = words[2].removeprefix("v=") if words[1:2] == ["server"] and words[0] in ("Valkey", "Redis") else ""
    numbers = version.split(".")
    if len(numbers) < 2 or not all(number.isdigit() for number in numbers[:2]):
        raise UnsuitableError(f"is neither Valkey nor Redis (says {' '.join(words[:8])!r})")
    if (int(numbers[0]), int(numbers[1])) < (7, 0):
        raise UnsuitableError(f"is {words[0]} {version}, and 7.0 is the oldest that is tested")
    return version
