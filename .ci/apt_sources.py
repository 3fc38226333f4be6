"""Where this machine gets its Debian packages from: read, never written.

Both of apt's formats are understood: `deb [options] URI SUITE COMPONENT...` lines (*.list), deb822 stanzas (*.sources).
Format: sources.list(5).
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIRROR_VARIABLE = "MOTETRACE_DEBIAN_MIRROR"
DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# One Debian release for every Debian machine: it is the first with MicroPython >= 1.23, it brings its own C library, so
# it runs on older and newer systems alike, and one package index then serves all parts.
DEBIAN_SUITE = "trixie"


@dataclass(frozen=True, slots=True)
class Source:
    """One line's worth of a sources list: `signed_by` is a path, a fingerprint, an armoured key block, or ""."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str


class SourceError(RuntimeError):
    """This machine names no package mirror that could be used; the message holds the remedy."""


def choose(etc: Path = Path("/etc")) -> Source:
    """The mirror to fetch from: the machine's own URI, with the suite that has the parts.

    Raises:
        SourceError: no usable entry in `etc`/apt; names the variable that helps.
    """
    release = _os_release(etc / "os-release")
    wanted = os.environ.get(MIRROR_VARIABLE, "").strip()
    if wanted:
        keyring = DEBIAN_KEYRING if Path(DEBIAN_KEYRING).exists() else ""
        return Source(wanted, DEBIAN_SUITE, ("main",), keyring)
    codename = release.get("VERSION_CODENAME", "")
    for source in read(etc / "apt"):
        if source.suite in (codename, "stable", "testing", "unstable", "sid") and "main" in source.components:
            if release.get("ID") == "debian":
                return Source(source.uri, DEBIAN_SUITE, ("main",), source.signed_by)
            return Source(source.uri, source.suite, ("main", "universe"), source.signed_by)
    raise SourceError(
        f"no package mirror for release {codename or 'unknown'!r} in {etc / 'apt'}; "
        f"name one: {MIRROR_VARIABLE}=<URI of a Debian mirror> python .ci/parts.py all"
    )


def read(apt: Path) -> Iterator[Source]:
    """Every enabled binary package source under `apt`, in apt's order of files; foreign lines are passed over."""
    files = [apt / "sources.list"]
    if (parts := apt / "sources.list.d").is_dir():
        files += sorted(parts.iterdir())
    for file in files:
        if not file.is_file() or not os.access(file, os.R_OK):
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        if file.suffix == ".list":
            yield from parse_lines(text)
        elif file.suffix == ".sources":
            yield from parse_stanzas(text)


def parse_lines(text: str) -> Iterator[Source]:
    """The one-line format."""
    for line in text.splitlines():
        match = re.fullmatch(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)(?:#.*)?", line)
        if match is None:
            continue
        options, uri, suite, components = match.groups()
        signed_by = re.search(r"\bsigned-by=(\S+)", options or "", re.IGNORECASE)
        if not uri.startswith("cdrom:"):
            yield Source(uri, suite, tuple(components.split()), signed_by[1] if signed_by else "")


def parse_stanzas(text: str) -> Iterator[Source]:
    """The deb822 format: fields of a stanza, continuation lines, `.` for an empty line, comments between."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1] in " \t":
                fields[name] = f"{fields.get(name, '')}\n{'' if line.strip() == '.' else line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        components = tuple(fields.get("components", "").split())
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri, suite, components, fields.get("signed-by", "").strip())


def _os_release(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    pairs = (line.partition("=") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {name.strip(): value.strip().strip("\"'") for name, equals, value in pairs if equals}
