"""Documents: lines that fit a screen, links that lead somewhere, names that the source has."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 110
LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
PAGES = [ROOT / name for name in LISTED.split()]
LINK = re.compile(r"\]\(([^)\s]+)\)")
# Names of events, counters and settings as documents write them: `otlp_forward_busy`, `--max-spans`.
CODE = re.compile(r"`([a-z]+(?:_[a-z0-9]+)+|--[a-z][a-z-]+)(?: [A-Z]+)?`")


def prose(page: Path) -> list[tuple[int, str]]:
    """The lines of a page outside of code blocks and tables, numbered."""
    found, fence = [], False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = not fence
        elif not fence and not line.startswith("    ") and not line.lstrip().startswith("|"):
            found.append((number, line))
    return found


def anchors(page: Path) -> set[str]:
    """What a link into a page may name, by GitHub's rule."""
    titles = [line.lstrip("# ") for _, line in prose(page) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_are_at_most_110_wide(page: Path) -> None:
    wide = [f"{number}: {len(line)}" for number, line in prose(page) if len(line) > WIDTH]
    assert not wide


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        if "://" in link or target.startswith("mailto:"):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(link)
    assert not broken


def test_the_readme_fits_a_few_screens() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= WIDTH


def test_every_page_of_the_documents_stands_in_their_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in PAGES if page.parent == ROOT / "docs" and f"({page.name})" not in index]
    assert missing == ["README.md"]


def test_troubleshooting_names_only_what_the_program_has() -> None:
    folders = ("host_shim", "device_lib")
    source = "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in (ROOT / folder).rglob("*.py"))
    named = set(CODE.findall((ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")))
    assert len(named) > 15
    unknown = [name for name in named if name not in source and name.lstrip("-").replace("-", "_") not in source]
    assert not unknown


def test_the_reference_is_what_the_docstrings_say() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "api.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
