"""What a board says of itself before anything is copied: interpreter, .mpy format, room."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from motetrace_host.board.board_error import BoardError

MARK = "motetrace-survey "
ARCHITECTURES = (
    "", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp", "xtensa", "xtensawin",
    "rv32imc", "rv64imc",
)  # fmt: skip


class Survey(msgspec.Struct, frozen=True):
    """A board's answer.

    Attributes:
        mpy: sys.implementation._mpy: version in byte 0, sub-version in bits 8 and 9, architecture above; 0: none.
        lib: the folder that libraries are imported from; "" when there is none.
        files: the library's files in `lib`, as motetrace/tracer.py, and their sizes in bytes.
        block_bytes, free_bytes: of the file system.
    """

    system: str
    version: str
    machine: str
    mpy: int
    lib: str
    files: dict[str, int]
    block_bytes: int
    free_bytes: int

    @property
    def mpy_version(self) -> int:
        """Of .mpy files it loads; 0: it loads none."""
        return self.mpy & 0xFF

    @property
    def mpy_sub_version(self) -> int:
        """Matters for machine code only."""
        return self.mpy >> 8 & 3

    @property
    def architecture(self) -> str:
        """Of its machine code, as mpy-cross -march names it; "" when it loads none."""
        number = self.mpy >> 10 & 0xF
        return ARCHITECTURES[number] if number < len(ARCHITECTURES) else ""


def parse(output: str) -> Survey:
    """Find the answer in what a board printed, among what its boot.py may have said.

    Raises:
        BoardError: there is none, or it is not one.
    """
    try:
        return msgspec.convert(answer(output, MARK), Survey)
    except msgspec.ValidationError as error:
        raise BoardError(f"the board's answer is not one: {error}") from error


def answer(output: str, mark: str) -> dict[str, Any]:
    """The JSON object after `mark`.

    Raises:
        BoardError: there is none.
    """
    for line in output.splitlines():
        _, found, text = line.partition(mark)
        if found:
            try:
                value = json.loads(text)
            except ValueError:
                continue
            if isinstance(value, dict):
                return value
    raise BoardError(f"the board gave no answer; it printed:\n{output.strip()[-2000:] or '(nothing)'}")
