"""The tree of a trace: every span once, parents first, whatever the spans claim about each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.spans.span import Span, Status
from motetrace_host.core.spans.tree import Node, tree
from tests.host.spans.span_samples import START, TRACE_ID, make_span

LENGTH = 30


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


@st.composite
def tangles(draw: st.DrawFn) -> list[Span]:
    """Few ids, so that repeats, loops, orphans and self-parents are common; short times, for a counting oracle."""
    found = []
    for _ in range(draw(st.integers(0, 10))):
        parent = draw(st.none() | st.integers(1, 8))
        start = draw(st.integers(0, LENGTH))
        found.append(
            make_span(
                span_id=number(draw(st.integers(1, 8))),
                parent_id=None if parent is None else number(parent),
                start_unix_ns=START + start,
                end_unix_ns=START + draw(st.integers(0, LENGTH)),
                status=draw(st.sampled_from(Status)),
            )
        )
    return found


def names(nodes: list[Node]) -> list[tuple[str, int]]:
    return [(node.span.name, node.depth) for node in nodes]


@given(tangles())
def test_every_span_id_appears_exactly_once(spans: list[Span]) -> None:
    shown = [node.span.span_id for node in tree(spans)]
    assert sorted(shown) == sorted({span.span_id for span in spans})


@given(tangles())
def test_a_child_comes_after_its_parent_and_one_level_deeper(spans: list[Span]) -> None:
    seen: dict[bytes, int] = {}
    for node in tree(spans):
        if node.depth:
            assert node.span.parent_id is not None
            assert seen[node.span.parent_id] == node.depth - 1
        else:
            assert node.orphan == (node.span.parent_id is not None)
        seen[node.span.span_id] = node.depth


@given(tangles())
def test_the_order_of_arrival_does_not_matter_but_for_repeats(spans: list[Span]) -> None:
    distinct = list({span.span_id: span for span in spans}.values())
    assert tree(distinct) == tree(reversed(distinct))


@given(tangles())
def test_self_time_is_what_a_slow_count_of_nanoseconds_gives(spans: list[Span]) -> None:
    first: dict[bytes, Span] = {}
    for span in spans:
        first.setdefault(span.span_id, span)
    for node in tree(spans):
        span = node.span
        children = [child for child in first.values() if child.parent_id == span.span_id]
        alone = [
            instant
            for instant in range(span.start_unix_ns, span.end_unix_ns)
            if not any(child.start_unix_ns <= instant < child.end_unix_ns for child in children)
        ]
        assert node.self_ns == len(alone)


def test_of_repeated_spans_the_first_counts() -> None:
    first, second = make_span(span_id=number(1), name="first"), make_span(span_id=number(1), name="second")
    assert names(tree([first, second])) == [("first", 0)]


def test_a_loop_is_cut_at_its_earliest_span() -> None:
    loop = [
        make_span(span_id=number(n), parent_id=number(n % 3 + 1), name=f"n{n}", start_unix_ns=START - n)
        for n in (1, 2, 3)
    ]
    nodes = tree(loop)
    assert names(nodes) == [("n3", 0), ("n2", 1), ("n1", 2)]
    assert nodes[0].orphan


def test_a_chain_of_thousands_is_no_problem() -> None:
    chain = [make_span(span_id=number(n), parent_id=number(n - 1) if n > 1 else None) for n in range(1, 20_001)]
    nodes = tree(chain)
    assert [node.depth for node in nodes] == list(range(20_000))


def test_the_root_cause_is_the_failure_that_no_child_explains() -> None:
    outer = make_span(status=Status.ERROR)
    middle = make_span(parent_id=outer.span_id, status=Status.ERROR)
    inner = make_span(parent_id=middle.span_id, status=Status.OK)
    assert [node.root_cause for node in tree([outer, middle, inner])] == [False, True, False]


def test_a_child_that_starts_before_its_parent_says_by_how_much() -> None:
    parent = make_span()
    child = make_span(parent_id=parent.span_id, start_unix_ns=START - 7)
    assert [node.early_ns for node in tree([child, parent])] == [0, 7]
    assert tree([child])[0].early_ns == 0
    assert tree([child])[0].span.trace_id == TRACE_ID
