"""What docstrings cite is there: pages, their headings, and golden vectors."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = re.compile(r'(docs/[\w-]+\.md)(?:,\s+"([^"]+)")?')
VECTORS = re.compile(r"tests/vectors/\w+\.json")


def cited(pattern: re.Pattern[str]) -> Iterator[tuple[str, re.Match[str]]]:
    """Each citation with the place it stands at, `path:line`."""
    for package in ("host_shim", "device_lib"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            for match in pattern.finditer(text):
                yield f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}", match


def headings(page: str) -> list[str]:
    """The headings of a page in lower case, without those that stand in its code blocks as comments."""
    found, in_code = [], False
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            in_code = not in_code
        elif line.startswith("#") and not in_code:
            found.append(line.lstrip("# ").lower())
    return found


PAGES = list(cited(PAGE))


@pytest.mark.parametrize("page", sorted({match[1] for _, match in PAGES}))
def test_every_page_and_heading_that_is_cited_exists(page: str) -> None:
    places = [(place, match[2]) for place, match in PAGES if match[1] == page]
    assert (ROOT / page).is_file(), f"{page} does not exist; cited at {[place for place, _ in places]}"
    known = headings(page)
    strange = {
        place: heading
        for place, heading in places
        if heading and not any(heading.lower() in existing for existing in known)
    }
    assert not strange, f"not headings of {page}: {strange}; it has {known}"


def test_every_vector_file_that_is_cited_exists() -> None:
    strange = {place: match[0] for place, match in cited(VECTORS) if not (ROOT / match[0]).is_file()}
    assert not strange


def test_the_citations_are_where_this_test_looks_for_them() -> None:
    assert {match[1] for _, match in PAGES} >= {"docs/wire-format.md", "docs/device-messages.md"}
    assert sum(bool(match[2]) for _, match in PAGES) > 20
    assert sum(1 for _ in cited(VECTORS)) > 5
    assert {"1. structured trace-id", "age", "binary trailer"} <= set(headings("docs/wire-format.md"))
