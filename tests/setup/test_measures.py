"""The measures of .ci/measures.py count what CONTRIBUTING.md says, and name the place."""

from pathlib import Path

import measures
import pytest

SOURCE = """
from dataclasses import dataclass


@dataclass
class Found:
    one: int
    two: int

    def nobody_told(self, first, *, second=0):
        self.three = self.one = 0
        return first


class _Hidden:
    def __init__(cls, a, b, c): pass
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> measures.Source:
    """A file of a package."""
    monkeypatch.setattr(measures, "ROOT", tmp_path)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "found.py").write_text(SOURCE)
    return measures.sources(tmp_path / "package")[0]


def test_lines_parameters_and_attributes_are_counted_with_their_place(source: measures.Source) -> None:
    place = "package/found.py:10 nobody_told"
    assert source.lines == len(SOURCE.splitlines())
    assert (3, place) in list(measures.function_lines(source))
    assert (2, place) in list(measures.parameters(source)), "self is none, a keyword is one"
    assert list(measures.attributes(source)) == [(3, "package/found.py:6 Found"), (0, "package/found.py:15 _Hidden")]


def test_public_classes_of_one_name_clash(source: measures.Source) -> None:
    other = source._replace(path=source.path.with_name("other.py"))
    assert list(measures.clashes([source, other])) == ["Found"]
    assert not measures.clashes([source])


def test_private_words_are_found_inside_names(source: measures.Source) -> None:
    assert measures.private_words([source]) == {"nobody": 1, "told": 1}


def test_a_ring_of_imports_is_named_once_and_a_chain_is_none() -> None:
    ring = {("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")}
    assert measures.cycles(ring) == ["a -> b -> c -> a: a ring of imports"]
    assert measures.cycles(ring - {("c", "a")}) == []


def test_what_is_beyond_a_limit_is_reported_with_file_and_line(
    source: measures.Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measures.report("package", [source], 14, 400) == []
    monkeypatch.setattr(measures, "FUNCTION_LINES", 2)
    beyond = measures.report("package", [source], 2, 400)
    assert "package/found.py:6 Found: most attributes: 3, at most 2" in beyond
    assert "package/found.py:10 nobody_told: longest functions: 3, at most 2" in beyond
