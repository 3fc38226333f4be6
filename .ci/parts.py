"""The real parts that demo, tests and CI run against: found on this machine, or fetched into `.cache/`.

    python .ci/parts.py all                    fetch what is missing (a second run does nothing)
    python .ci/parts.py mosquitto influxd      only these
    python .ci/parts.py --list                 what is there, which version, where from

From Python: put `.ci` on sys.path (`sys.path.insert(0, str(root / ".ci"))`; pytest does it by itself), then

    import parts
    parts.micropython(32)   -> ["/.../ld-linux.so.2", "--library-path", "...", "/.../micropython"]; also 64
    parts.mosquitto()       -> the words that start the broker; parts.influxd(), valkey() likewise
    parts.simple2()         -> the folder that contains umqtt/simple2.py

Each of these fetches its part when it is missing, and raises PartError with the remedy when it cannot be had. People
find every part in `.cache/bin/`. Nothing but the standard library is needed (simple2: the package unearth), never root.
`MOTETRACE_PARTS=private` (or --private) passes over what is on PATH. `MOTETRACE_DEBIAN_MIRROR` names a Debian mirror
for machines that have apt but are not Debian. services.py starts what is found here.

Why a private prefix and not `apt-get install`: no root, no change to anybody's system, the same versions everywhere,
and a 32-bit interpreter without adding a foreign architecture.
"""

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import apt_sources
import probes
import remedies
import umqtt_sdist as sdist
import wrapper
from apt_prefix import Apt, AptError, launcher, machine_architecture
from probes import UnsuitableError
from progress import Progress, size

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
PRIVATE_VARIABLE = "MOTETRACE_PARTS"
SIMPLE2_ORIGIN = "Python package index"
RECIPE = 1  # raise it when what is unpacked changes: every prefix is then fetched anew
# Not always on an ordinary user's PATH: Debian's servers, and Homebrew's formulas that are not linked.
BREW_FOLDERS = [f"{brew}/{part}" for brew in ("/opt/homebrew", "/usr/local") for part in ("sbin", "opt/influxdb@1/bin")]
EXTRA_FOLDERS = ("/usr/sbin", *BREW_FOLDERS)
WORD_32_BITS = {"amd64": "i386", "arm64": "armhf"}  # what a 64-bit machine can run besides its own


class PartError(RuntimeError):
    """A part cannot be had here; the message names why, the command that gets it, and what needs it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A part that is there: the words that start it (for umqtt.simple2: its folder), its version, where it is from."""

    command: tuple[str, ...]
    version: str
    origin: str


@dataclass(frozen=True, slots=True)
class Part:
    """A program of Debian's. `probe` runs it and returns its version, or raises UnsuitableError.

    `beside` names packages that hold what `binary` is a link to.
    """

    name: str
    why: str
    names: tuple[str, ...]
    package: str
    binary: str
    probe: Callable[[list[str]], str]
    small: bool = False
    beside: tuple[str, ...] = ()


PROGRAMS = {
    part.name: part
    for part in (
        Part(
            "micropython64",
            "MicroPython, 64-bit, runs the devices",
            ("micropython",),
            "micropython",
            "usr/bin/micropython",
            probes.micropython(64),
        ),
        Part(
            "micropython32",
            "MicroPython, 32-bit as on a microcontroller, runs the devices and the allocation tests",
            ("micropython32", "micropython"),
            "micropython",
            "usr/bin/micropython",
            probes.micropython(32),
            small=True,
        ),
        Part("mosquitto", "the MQTT broker", ("mosquitto",), "mosquitto", "usr/sbin/mosquitto", probes.mosquitto),
        Part("influxd", "InfluxDB, the database", ("influxd",), "influxdb", "usr/bin/influxd", probes.influxd),
        Part(
            "valkey",
            "Valkey, the ledger that several shims share",
            ("valkey-server", "redis-server"),
            "valkey-server",
            "usr/bin/valkey-server",
            probes.valkey,
            beside=("valkey-tools",),
        ),
    )
}
NAMES = (*PROGRAMS, "simple2")


def micropython(bits: int) -> list[str]:
    """The words that start MicroPython, of a 64-bit or a 32-bit build."""
    if bits not in (32, 64):
        raise ValueError(f"bits is {bits}; there is a 32-bit and a 64-bit build")
    return list(ensure(f"micropython{bits}").command)


def mosquitto() -> list[str]:
    """The words that start the broker, mosquitto 2.x."""
    return list(ensure("mosquitto").command)


def influxd() -> list[str]:
    """The words that start the database, InfluxDB 1.x."""
    return list(ensure("influxd").command)


def valkey() -> list[str]:
    """The words that start the shared ledger's server, Valkey or Redis."""
    return list(ensure("valkey").command)


def simple2() -> Path:
    """The folder that contains umqtt/simple2.py, version 2.2.0."""
    return Path(ensure("simple2").command[0])


def locate(name: str) -> Found | None:
    """The part if it is there, without fetching anything."""
    if name == "simple2":
        folder = CACHE / "parts" / f"simple2-{sdist.VERSION}"
        return Found((str(folder),), sdist.VERSION, SIMPLE2_ORIGIN) if folder.is_dir() else None
    part = PROGRAMS[name]
    for candidate in _on_path(part):
        with contextlib.suppress(UnsuitableError):
            return Found((candidate,), part.probe([candidate]), f"on PATH, {candidate}")
    prefix = CACHE / "parts" / name
    try:
        note = json.loads((prefix / "part.json").read_text())
    except (OSError, ValueError):
        return None
    if note.get("recipe") != RECIPE:
        return None
    return Found(_absolute(prefix, note["launcher"]), note["version"], note["origin"])


def ensure(name: str) -> Found:
    """The part, fetched first when it is missing.

    Raises:
        PartError: it cannot be had here. KeyError: not one of NAMES.
    """
    found = locate(name)
    if found is None:
        with _locked():
            found = locate(name) or _fetch(name)
    if name in PROGRAMS:
        wrapper.write(CACHE, name, found.command)
    return found


def _on_path(part: Part) -> list[str]:
    """The programs of the part's names on PATH; none when only private ones are wanted."""
    if os.environ.get(PRIVATE_VARIABLE) == "private":
        return []
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *EXTRA_FOLDERS))
    candidates = (shutil.which(name, path=path) for name in part.names)
    return [candidate for candidate in candidates if candidate and CACHE not in Path(candidate).parents]


def _why_fetched(part: Part) -> str:
    """Why what is on PATH does not do, for the line that says what is fetched."""
    for candidate in _on_path(part):
        try:
            part.probe([candidate])
        except UnsuitableError as reason:
            return f"{candidate} {reason}"
    return f"{PRIVATE_VARIABLE}=private" if os.environ.get(PRIVATE_VARIABLE) == "private" else "none on PATH"


def _absolute(prefix: Path, words: list[str]) -> tuple[str, ...]:
    return tuple(word if word.startswith("-") else str(prefix / word) for word in words)


def _fetch(name: str) -> Found:
    progress = Progress(name)
    staging = CACHE / "staging"
    shutil.rmtree(staging, ignore_errors=True)  # what a run that was killed left behind; the lock is ours
    staging.mkdir(parents=True)
    try:
        if name == "simple2":
            return _fetch_simple2(staging, progress)
        return _fetch_program(PROGRAMS[name], staging, progress)
    except (AptError, apt_sources.SourceError, UnsuitableError, subprocess.CalledProcessError, OSError) as error:
        raise PartError(f"{name} cannot be had here: {error}\n{remedies.remedy(name)}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fetch_program(part: Part, staging: Path, progress: Progress) -> Found:
    architecture = machine_architecture()
    if part.small:
        architecture = WORD_32_BITS.get(architecture, architecture)
    apt = Apt(CACHE / "apt" / architecture, architecture)
    origin = f"package {part.package} of {apt.source.suite} {architecture}"
    progress.say(f"fetching {origin} into .cache ({part.why}; {_why_fetched(part)})")
    apt.refresh(progress)
    packages = apt.closure(part.package, *part.beside)
    prefix = staging / part.name
    try:
        apt.unpack(packages, prefix, progress)
    except AptError:  # the index may be older than the mirror
        apt.refresh(progress, force=True)
        packages = apt.closure(part.package, *part.beside)
        shutil.rmtree(staging)
        staging.mkdir()
        apt.unpack(packages, prefix, progress)
    words = launcher(prefix, part.binary)
    version = part.probe(list(_absolute(prefix, words)))
    note = {"recipe": RECIPE, "version": version, "origin": origin, "launcher": words}
    note["packages"] = {package.name: package.version for package in packages}
    (prefix / "part.json").write_text(json.dumps(note, indent=1) + "\n")
    home = _settle(prefix, CACHE / "parts" / part.name)
    progress.done(
        f"{version} there, {len(packages)} packages, {size(sum(package.size_bytes for package in packages))},"
    )
    return Found(_absolute(home, words), version, origin)


def _fetch_simple2(staging: Path, progress: Progress) -> Found:
    progress.say(f"fetching {sdist.REQUIREMENT} from the {SIMPLE2_ORIGIN} into .cache (the devices' MQTT client)")
    folder, size_bytes = sdist.fetch(staging, ROOT / ".venv")
    home = _settle(folder, CACHE / "parts" / f"simple2-{sdist.VERSION}")
    progress.done(f"{sdist.VERSION} there, sha256 as expected, {size(size_bytes)},")
    return Found((str(home),), sdist.VERSION, SIMPLE2_ORIGIN)


def _settle(folder: Path, home: Path) -> Path:
    """Move a finished folder to its place: from here on it counts as there."""
    home.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(home, ignore_errors=True)
    return folder.rename(home)


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """One run fetches at a time; the others wait and then find the part there. The lock dies with its process."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "parts.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            Progress("parts").say("another run is fetching; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _list() -> None:
    for name in NAMES:
        found = locate(name)
        if found is None:
            print(f"{name:14} missing    python .ci/parts.py {name}")
        else:
            print(f"{name:14} {found.version:10} {found.origin}")


def main(arguments: list[str]) -> int:
    """Fetch what was asked for; 0 when all of it is there, 1 when something cannot be had."""
    parser = argparse.ArgumentParser(description="Find or fetch the real parts that demo and tests run against.")
    parser.add_argument("names", nargs="*", metavar="PART", help=f"{', '.join(NAMES)}, or all")
    parser.add_argument("--list", action="store_true", help="say what is there, and fetch nothing")
    parser.add_argument("--private", action="store_true", help="pass over what is on PATH (as MOTETRACE_PARTS=private)")
    options = parser.parse_args(arguments)
    if options.private:
        os.environ[PRIVATE_VARIABLE] = "private"
    if unknown := set(options.names) - {*NAMES, "all"}:
        parser.error(f"no part named {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}, and all")
    if not options.names and not options.list:
        parser.error(f"name a part: {', '.join(NAMES)}, or all")
    failed = False
    for name in NAMES if "all" in options.names else dict.fromkeys(options.names):
        try:
            ensure(name)
        except PartError as error:
            failed = True
            print(error, file=sys.stderr)
    if options.list:
        _list()
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("\nparts: stopped; nothing is half done, the same command goes on from here")
