"""The machine's package mirror is read from either of apt's formats, on Debian and on its relatives."""

from pathlib import Path

import apt_sources
import pytest
from apt_sources import Source

MIRROR = "http://mirror.example/debian"


def machine(etc: Path, release: str, files: dict[str, str]) -> Path:
    (etc / "apt" / "sources.list.d").mkdir(parents=True)
    (etc / "os-release").write_text(release)
    for name, text in files.items():
        (etc / "apt" / name).write_text(text)
    return etc


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"deb {MIRROR} bookworm main contrib", Source(MIRROR, "bookworm", ("main", "contrib"), "")),
        (f"  deb\t{MIRROR}  bookworm  main # ours", Source(MIRROR, "bookworm", ("main",), "")),
        (f"deb [ arch=amd64 signed-by=/k.gpg ] {MIRROR} sid main", Source(MIRROR, "sid", ("main",), "/k.gpg")),
        (f"deb [signed-by=/k.gpg arch=amd64] {MIRROR} sid main", Source(MIRROR, "sid", ("main",), "/k.gpg")),
        (
            "deb mirror+file:/etc/apt/mirrors/d.list trixie main",
            Source("mirror+file:/etc/apt/mirrors/d.list", "trixie", ("main",), ""),
        ),
    ],
)
def test_a_one_line_entry_is_read(line: str, expected: Source) -> None:
    assert list(apt_sources.parse_lines(line)) == [expected]


@pytest.mark.parametrize(
    "line", ["", "# deb x y main", f"deb-src {MIRROR} sid main", "deb cdrom:[Debian] sid main", "deb"]
)
def test_what_is_no_source_of_programs_is_passed_over(line: str) -> None:
    assert list(apt_sources.parse_lines(line)) == []


def test_a_stanza_stands_for_every_uri_and_suite() -> None:
    text = f"""# a comment
Types: deb deb-src
# between
URIs: {MIRROR}
  http://second.example
Suites: bookworm bookworm-updates
Components: main
Signed-By: /k.gpg

Types: deb
URIs: http://off.example
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://src.example
Suites: bookworm
Components: main
"""
    assert list(apt_sources.parse_stanzas(text)) == [
        Source(uri, suite, ("main",), "/k.gpg")
        for uri in (MIRROR, "http://second.example")
        for suite in ("bookworm", "bookworm-updates")
    ]


def test_a_key_inside_a_stanza_keeps_its_empty_line() -> None:
    text = (
        f"Types: deb\nURIs: {MIRROR}\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN PGP\n .\n abc\n -----END\n"
    )
    (source,) = apt_sources.parse_stanzas(text)
    assert source.signed_by == "-----BEGIN PGP\n\nabc\n-----END"


def test_debian_gives_its_own_mirror_with_the_release_that_has_the_parts(tmp_path: Path) -> None:
    files = {
        "sources.list": "deb http://third.example stable main\n",
        "sources.list.d/a.list": "deb http://vendor.example bookworm tool\n",
        "sources.list.d/debian.sources": f"Types: deb\nURIs: {MIRROR}\nSuites: bookworm\nComponents: main\n",
    }
    del files["sources.list"]
    etc = machine(tmp_path, "ID=debian\nVERSION_CODENAME=bookworm\n", files)
    assert apt_sources.choose(etc) == Source(MIRROR, "trixie", ("main",), "")


def test_a_relative_of_debian_gives_its_own_release(tmp_path: Path) -> None:
    lines = "deb http://security.example noble-security main\ndeb http://archive.example noble main restricted\n"
    etc = machine(tmp_path, 'ID=ubuntu\nVERSION_CODENAME="noble"\n', {"sources.list": lines})
    assert apt_sources.choose(etc) == Source("http://archive.example", "noble", ("main", "universe"), "")


def test_a_named_mirror_goes_before_the_machines_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(apt_sources.MIRROR_VARIABLE, "http://named.example/debian")
    etc = machine(tmp_path, "ID=ubuntu\nVERSION_CODENAME=noble\n", {})
    chosen = apt_sources.choose(etc)
    assert (chosen.uri, chosen.suite) == ("http://named.example/debian", "trixie")


def test_a_machine_that_names_no_mirror_is_told_how_to_name_one(tmp_path: Path) -> None:
    etc = machine(tmp_path, "ID=debian\nVERSION_CODENAME=bookworm\n", {})
    with pytest.raises(apt_sources.SourceError, match=r"MOTETRACE_DEBIAN_MIRROR=.* python \.ci/parts\.py all"):
        apt_sources.choose(etc)
