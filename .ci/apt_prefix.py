"""A Debian package and its libraries, unpacked into a folder of our own, without root and without touching the system.

apt does the work (its mirrors, proxies, signatures and checksums all apply) on lists, state and cache of its own.
Nothing is installed and no maintainer script runs. Programs start through the prefix's own loader and C library.
"""

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import apt_sources
from progress import Progress

INDEX_LIFE_S = 24 * 3600
# A mirror that is being updated, or a proxy that kept one file too long, serves an index that does not fit its Release
# file. apt gives up on that at once; a while later the same request succeeds.
UPDATE_PAUSES_S = (2.0, 8.0, 20.0, 40.0)
_CONTRADICTION = re.compile(r"unexpected size|Hash Sum mismatch|Hashes of expected file|Mirror sync in progress")
_PAST_CACHES = ("-o", "Acquire::http::No-Cache=true", "-o", "Acquire::https::No-Cache=true")
# What maintainer scripts need, and a program in a prefix does not: everything that is not a shared library.
_LIBRARY = re.compile(r"^(lib|zlib1g)")
_UNUSED = (*(f"usr/share/{name}" for name in ("bug", "doc", "lintian", "locale", "man")), "usr/lib/*/gconv")


class AptError(RuntimeError):
    """apt said no; the message holds its own words."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package of the index; `size_bytes` is the download's."""

    name: str
    version: str
    size_bytes: int
    depends: tuple[str, ...]


class Apt:
    """apt on state of its own, for one architecture.

    Args:
        home: the folder for lists, state and cache; made when missing.
        architecture: Debian's word, `amd64` or `i386`.
    Raises:
        AptError: this machine has no apt. apt_sources.SourceError: no mirror to use.
    """

    def __init__(self, home: Path, architecture: str) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise AptError("this machine has no apt-get")
        self.home = home.resolve()
        self.architecture = architecture
        self.source = apt_sources.choose()

    def refresh(self, progress: Progress, *, force: bool = False) -> None:
        """Fetch the package index, unless one from the same mirror is younger than a day."""
        wanted = self._sources_list()
        listing = self.home / "sources.list"
        stamp = self.home / "fetched"
        same = listing.is_file() and listing.read_text() == wanted and stamp.is_file()
        if same and not force and 0 <= time.time() - stamp.stat().st_mtime < INDEX_LIFE_S:
            return
        self._update(wanted, progress)
        stamp.touch()

    def _update(self, listing: str, progress: Progress) -> None:
        """Fetch the index into a fresh home, again after a pause while the mirror contradicts itself."""
        what = f"package index of {self.source.suite} {self.architecture}"
        options: tuple[str, ...] = ()
        for pause_s in (*UPDATE_PAUSES_S, None):
            self._lay_out(listing)
            try:
                self._apt_get(["update", "-q=2", *options], self.home, progress, what)
                if not any((self.home / "lists").glob("*Packages*")):  # an apt that does not know Error-Mode
                    raise AptError(f"no {what} came from {self.source.uri}")
                return
            except AptError as error:
                if pause_s is None or not _CONTRADICTION.search(str(error)):
                    raise
                progress.say(f"{what}: the mirror contradicts itself just now, trying again in {pause_s:.0f} s")
                time.sleep(pause_s)
                options = _PAST_CACHES

    def _lay_out(self, listing: str) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        for folder in ("lists/partial", "cache/archives/partial"):
            (self.home / folder).mkdir(parents=True)
        (self.home / "status").touch()
        (self.home / "sources.list").write_text(listing)
        (self.home / "apt.conf").write_text(self._configuration())

    def closure(self, *names: str) -> list[Package]:
        """The packages and the shared libraries they need, the C library included.

        Raises:
            AptError: the mirror has no such package for this architecture.
        """
        found: dict[str, Package] = {}
        wanted = set(names)
        while wanted:
            found |= {package.name: package for package in self._show(sorted(wanted))}
            if absent := sorted(set(names) - found.keys()):
                raise AptError(f"the mirror has no package {absent[0]!r} for {self.source.suite} {self.architecture}")
            reachable = {library for package in found.values() for library in package.depends}
            # A name that apt-cache does not show is virtual (provided by another): asked for once, then let go.
            found |= {missing: Package(missing, "", 0, ()) for missing in wanted - found.keys()}
            wanted = reachable - found.keys()
        return [package for package in found.values() if package.version]

    def unpack(self, packages: list[Package], prefix: Path, progress: Progress) -> None:
        """Download the packages (checked by apt) and unpack them into `prefix`."""
        downloads = prefix.with_name(f"{prefix.name}.debs")
        downloads.mkdir()
        names = [f"{package.name}={package.version}" for package in packages]
        self._apt_get(["download", "-q=2", *names], downloads, progress, f"{len(names)} packages")
        for deb in sorted(downloads.glob("*.deb")):
            progress.step(f"unpacking {deb.name.partition('_')[0]}")
            subprocess.run(["dpkg-deb", "-x", deb, prefix], check=True)
        shutil.rmtree(downloads)
        for pattern in _UNUSED:
            for folder in prefix.glob(pattern):
                shutil.rmtree(folder)

    def _show(self, names: list[str]) -> list[Package]:
        command = ["apt-cache", "-c", str(self.home / "apt.conf"), "show", "--no-all-versions", *names]
        shown = subprocess.run(command, env=_plain_environment(), capture_output=True, text=True, check=False)
        return [_package(stanza) for stanza in shown.stdout.split("\n\n") if stanza.strip()]

    def _apt_get(self, words: list[str], folder: Path, progress: Progress, what: str) -> None:
        reading, writing = os.pipe()
        command = ["apt-get", "-c", str(self.home / "apt.conf"), "-o", f"APT::Status-Fd={writing}", *words]
        with subprocess.Popen(
            command,
            cwd=folder,
            env=_plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[writing],
        ) as process:
            os.close(writing)
            with os.fdopen(reading, encoding="utf-8", errors="replace") as states:
                for line in states:
                    if match := re.match(r"dlstatus:[^:]*:([0-9.]+)", line):
                        progress.step(f"{what}, {float(match[1]):3.0f} %")
            output, _ = process.communicate()
        if process.returncode:
            words_of_apt = "\n  ".join(output.strip().splitlines()[-6:])
            raise AptError(f"apt-get {words[0]} failed ({what}):\n  {words_of_apt}")

    def _sources_list(self) -> str:
        signed_by = self.source.signed_by
        if "BEGIN PGP" in signed_by:
            key = self.home.with_name(f"{self.home.name}.asc")
            key.parent.mkdir(parents=True, exist_ok=True)
            key.write_text(signed_by.strip() + "\n")
            signed_by = str(key)
        # targets=Packages: neither translations nor desktop metadata, whatever the machine's configuration asks for.
        options = f"arch={self.architecture} targets=Packages"
        if signed_by:
            options += f" signed-by={','.join(signed_by.replace(',', ' ').split())}"
        return f"deb [{options}] {self.source.uri} {self.source.suite} {' '.join(self.source.components)}\n"

    def _configuration(self) -> str:
        """Read by apt after the machine's own configuration: proxies stay, update hooks of other programs do not."""
        settings = {
            "Dir::Etc::sourcelist": self.home / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": self.home,
            "Dir::State::lists": self.home / "lists",
            "Dir::State::status": self.home / "status",
            "Dir::Cache": self.home / "cache",
            "Dir::Log": self.home,
            "APT::Architecture": self.architecture,
            "APT::Update::Error-Mode": "any",  # a mirror out of reach is otherwise only a warning
            "Acquire::Retries": 3,
            "Acquire::http::Timeout": 30,
            "Acquire::https::Timeout": 30,
            "Acquire::GzipIndexes": "true",
        }
        if os.geteuid() == 0:
            # The sandbox user could not write into a checkout that belongs to root, and apt warns about that.
            settings["APT::Sandbox::User"] = "root"
        lines = [f'{name} "{value}";' for name, value in settings.items()]
        lines += ["#clear APT::Architectures;", f'APT::Architectures {{ "{self.architecture}"; }};']
        lines += [f"#clear APT::Update::{hook};" for hook in ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")]
        return "\n".join(lines) + "\n"


def machine_architecture() -> str:
    """Debian's name for what this machine runs: `amd64`, `arm64`, ...

    Raises:
        AptError: this machine has no dpkg.
    """
    if shutil.which("dpkg") is None:
        raise AptError("this machine has no dpkg")
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()


def launcher(prefix: Path, binary: str) -> list[str]:
    """The words that start `binary` of a prefix, relative to the prefix: its loader, its libraries, the program.

    Args:
        binary: path inside the prefix, for example `usr/bin/micropython`.
    Raises:
        AptError: the prefix has no C library (an unpacking that went wrong).
    """
    libc = next(iter(sorted(prefix.glob("**/libc.so.6"))), None)
    if libc is None:
        raise AptError(f"no C library was unpacked beside {binary}")
    libraries = libc.parent
    loader = next(iter(sorted(libraries.glob("ld-linux*.so.*"))), None)
    if loader is None:
        raise AptError(f"no program loader was unpacked beside {binary}")
    return [str(loader.relative_to(prefix)), "--library-path", str(libraries.relative_to(prefix)), binary]


def _package(stanza: str) -> Package:
    fields = dict(re.findall(r"^([A-Za-z-]+): *(.*)$", stanza, re.MULTILINE))
    depends = f"{fields.get('Pre-Depends', '')},{fields.get('Depends', '')}"
    first_choices = (clause.split("|")[0].split("(")[0].partition(":")[0].strip() for clause in depends.split(","))
    libraries = tuple(name for name in first_choices if _LIBRARY.match(name))
    return Package(fields["Package"], fields["Version"], int(fields["Size"]), libraries)


def _plain_environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
