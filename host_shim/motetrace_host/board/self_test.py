"""What the self-test on the board found, as lines for people."""

from __future__ import annotations

import msgspec

from motetrace_host.board.board_error import BoardError
from motetrace_host.board.survey import answer

MARK = "motetrace-self-test "
_CIPHERS = {
    "aes": "AES, built in: 16 random bytes per block",
    "sfc16": "sfc16, in Python: this firmware has no AES (slower; ids as unique, seeded from the same entropy)",
}


class Costs(msgspec.Struct, frozen=True):
    """What tracing costs on the board.

    Attributes:
        next_us, next_bytes: time and heap of one Tracer.next().
        import_bytes, tracer_bytes: heap that the import of the package and one Tracer take.
    """

    import_bytes: int = 0
    tracer_bytes: int = 0
    next_us: float = 0.0
    next_bytes: float = 0.0


class SelfTest(msgspec.Struct, frozen=True):
    """The board's answer. `wrong` is what failed, or ""; what comes after a failure has its default.

    Attributes:
        file: where the library was imported from.
        absent: modules that could not be imported, each with the reason.
        fast: the accelerator is in use.  complete: nothing that the library is fastest with is missing.
        lacking: MicroPython's modules that this firmware does not have.
    """

    system: str
    version: str
    machine: str
    entropy: list[str]
    wrong: str
    free_bytes: int | None = None
    library: str = ""
    file: str = ""
    cipher: str = ""
    fast: bool = False
    complete: bool = True
    lacking: list[str] = []
    absent: list[str] = []
    costs: Costs = Costs()

    @property
    def passed(self) -> bool:
        """Whether the library works there, with all modules that were asked for."""
        return not self.wrong and not self.absent


def parse(output: str) -> SelfTest:
    """Find the answer in what a board printed.

    Raises:
        BoardError: there is none, or it is not one.
    """
    try:
        found = answer(output, MARK)
        return msgspec.convert({**found, "costs": found}, SelfTest)  # the board's answer is flat
    except msgspec.ValidationError as error:
        raise BoardError(f"the board's answer is not one: {error}") from error


def lines(said: SelfTest) -> list[tuple[str, str]]:
    """The report as (label, value), in the order people read it."""
    report = [
        ("interpreter", f"{said.system} {said.version}, {said.machine}"),
        ("library", f"motetrace {said.library}, {said.file}" if said.library else "not there, or it does not load"),
        ("entropy", ", ".join(said.entropy)),
    ]
    if said.cipher:
        report += [
            ("randomness", _CIPHERS.get(said.cipher, said.cipher)),
            ("digits", _digits(said)),
        ]
    if not said.wrong:
        costs = said.costs
        report += [
            ("next()", f"{costs.next_us:.0f} us" if costs.next_us >= 10 else f"{costs.next_us:.1f} us"),
            ("heap per next()", f"{costs.next_bytes:.3g} bytes"),
            (
                "heap at start",
                f"{costs.import_bytes} bytes for the import, {costs.tracer_bytes} for a Tracer",
            ),
        ]
    if said.free_bytes is not None:
        report.append(("free heap", f"{said.free_bytes} bytes"))
    report += [("missing", reason) for reason in said.absent]
    report.append(("result", "the library works here" if said.passed else f"FAILED: {said.wrong or 'see missing'}"))
    return report


def _digits(said: SelfTest) -> str:
    if said.fast:
        return "by machine code: motetrace_fast is here"
    if said.complete:
        return "by framebuf's blit, in C"
    return f"by Python code, the same bytes and slower: no {', '.join(said.lacking) or 'framebuf'} here"
