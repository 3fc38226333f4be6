"""Which serial port the board is on; when that cannot be said, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from motetrace_host.board.board_error import BoardError


@dataclass(frozen=True, slots=True)
class Candidate:
    """A serial port of this computer that a board may be on."""

    port: str
    description: str


class NoBoardError(BoardError):
    """No port, several, or one that cannot be used."""


def choose(candidates: Sequence[Candidate], wanted: str | None) -> str:
    """The port to use.

    Args:
        candidates: serial ports on USB.
        wanted: what --port says; it need not be a candidate (a UART, a pty, an rfc2217:// URL).
    Raises:
        NoBoardError: nothing is wanted and there is not exactly one candidate.
    """
    if wanted:
        return wanted
    if len(candidates) == 1:
        return candidates[0].port
    if candidates:
        raise NoBoardError(
            f"{len(candidates)} boards may be meant; say which with --port:\n{listing(candidates)}",
        )
    raise NoBoardError(
        "no board found: no USB serial port on this computer. Plug it in with a cable that carries data, and wait a "
        "moment; for a port that is not USB use --port. A board in its boot loader shows a drive instead (RPI-RP2): "
        "put MicroPython on it first. A CircuitPython board is served over its drive: --drive PATH."
    )


def listing(candidates: Sequence[Candidate]) -> str:
    """One line for each candidate, as an option that can be typed."""
    return "\n".join(f"  --port {candidate.port:14} {candidate.description}" for candidate in candidates)


def refused(
    port: str, exists: bool, permitted: bool, holders: Sequence[str], candidates: Sequence[Candidate]
) -> NoBoardError:
    """Why mpremote could not open a port.

    Args:
        exists, permitted: whether the port is there, and may be read and written by this user.
        holders: programs that have it open, as "thonny (process 1234)".
    """
    if not exists:
        others = f"; ports with a board may be:\n{listing(candidates)}" if candidates else "; no other USB port has one"
        return NoBoardError(f"{port} is absent: nothing is plugged in there{others}")
    if not permitted:
        return NoBoardError(
            f"{port} may not be opened by this user. On Linux: sudo usermod -aG dialout $USER (Arch: uucp), then log "
            "in again"
        )
    who = f"{', '.join(holders)} has it open" if holders else "another program has it open"
    return NoBoardError(
        f"{port} is busy: {who}. Close that terminal, Thonny, or other mpremote, and run this command again"
    )


def silent(port: str, said: str) -> BoardError:
    """The port could be opened, and no MicroPython prompt came."""
    said = f" (it said {said!r})" if said else ""
    return BoardError(
        f"what is on {port} does not answer as MicroPython does{said}. Either it runs other firmware (a CircuitPython "
        "board: --drive PATH), or a program on it does not stop on Ctrl-C: press its reset button and run this command "
        "again at once; if a main.py starts too soon, remove it with Thonny or reinstall the firmware"
    )
