"""The device's encoder against `'00-%s-%s-01' % (hexlify(urandom(16)), hexlify(urandom(8)))`, on both builds."""

import json
import os
import subprocess
from pathlib import Path

import parts

from tests.benchmarks.instructions import CountingError, Steps
from tests.device import accelerator

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("encoder_on_device.py")
FEW, MORE = 2, 6  # calls that are counted, start and end of the program apart: odd and even seq alike


def _command(bits: int, *words: str) -> list[str]:
    return [*parts.micropython(bits), str(SCRIPT), *words]


def _environment(*, fast: bool) -> dict[str, str]:
    folders = [ROOT / "device_lib", *([accelerator.FOLDER] if fast else [])]
    return {**os.environ, "MICROPYPATH": os.pathsep.join(map(str, folders))}


def _timed(bits: int, *, fast: bool) -> list[dict[str, float]]:
    done = subprocess.run(
        _command(bits), env=_environment(fast=fast), capture_output=True, text=True, check=True, timeout=300
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def instructions(bits: int, name: str, *, fast: bool) -> float:
    """User-mode instructions per call of one subject of encoder_on_device.py, its loop included.

    Raises:
        CountingError: they cannot be counted on this machine.
    """
    counts = []
    for calls in (FEW, MORE):
        with Steps(_command(bits, name, str(calls)), _environment(fast=fast)) as program:
            counts.append(program.count())
    return (counts[1] - counts[0]) / (MORE - FEW)


def _build(bits: int) -> None:
    rows = _timed(bits, fast=False)
    subjects = [(row, False) for row in rows]
    subjects += [(row, True) for row in _timed(bits, fast=True) if "machine code" in str(row["name"])]
    one_liner = next(row for row in rows if row["name"] == "one-liner")
    print(f"device encoder, MicroPython {bits}-bit, per call")
    print(f"  {'':48} {'us':>7} {'one-liner/it':>14} {'instructions':>14} {'one-liner/it':>13}  heap")
    whole = 0.0
    why = ""
    for row, fast in [(one_liner, False), *(pair for pair in subjects if pair[0] is not one_liner)]:
        counted = " " * 28
        if not why:
            try:
                count = instructions(bits, str(row["name"]), fast=fast)
                whole = whole or count
                counted = f"{count:14.0f} {whole / count:13.1f}"
            except CountingError as error:
                why = str(error)
        print(
            f"  {row['name']:48} {row['us']:7.2f} {one_liner['us'] / row['us']:14.1f} {counted} {row['heap_bytes']:5} B"
        )
    if why:
        print(f"  instructions: {why}")


def main() -> None:
    """Print one table for each build."""
    for bits in (32, 64):
        _build(bits)
    print("urandom's work is the kernel's here and not among the instructions; on a board it is the one-liner's.")


if __name__ == "__main__":
    main()
