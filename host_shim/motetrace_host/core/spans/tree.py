"""The spans of a trace as a tree in reading order, whatever arrived: orphans, loops, repeats, early children."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from motetrace_host.core.spans.span import Span, Status


@dataclass(frozen=True, slots=True)
class Node:
    """A span and its place.

    Attributes:
        depth: 0 for roots and orphans.
        orphan: it names a parent that is not among the spans (lost, not here yet, or part of a loop).
        self_ns: its length without the time its children cover; 0 or more.
        early_ns: how long before its parent it starts, 0 when it does not: clocks differ.
        root_cause: it failed and none of its children did.
    """

    span: Span
    depth: int
    orphan: bool
    self_ns: int
    early_ns: int
    root_cause: bool


def tree(spans: Iterable[Span]) -> list[Node]:
    """Put spans in reading order: a parent before its children, siblings by start time.

    Of several spans with one span_id the first counts. Every other span appears exactly once, also when parents form a
    loop: the loop is cut at its earliest span.
    """
    by_id: dict[bytes, Span] = {}
    for span in spans:
        by_id.setdefault(span.span_id, span)
    ordered = sorted(by_id.values(), key=lambda span: (span.start_unix_ns, span.end_unix_ns, span.name, span.span_id))
    children: dict[bytes, list[Span]] = {}
    tops = []
    for span in ordered:
        if span.parent_id in by_id and span.parent_id is not None:
            children.setdefault(span.parent_id, []).append(span)
        else:
            tops.append(span)
    nodes: dict[bytes, Node] = {}
    for top in [*tops, *ordered]:  # the second time round finds only loops
        _walk(top, children, by_id, nodes)
    return list(nodes.values())


def _walk(top: Span, children: dict[bytes, list[Span]], by_id: dict[bytes, Span], nodes: dict[bytes, Node]) -> None:
    stack = [(top, 0)]  # no recursion: a hostile trace may be thousands of spans deep
    while stack:
        span, depth = stack.pop()
        if span.span_id in nodes:
            continue
        own = children.get(span.span_id, [])
        parent = by_id.get(span.parent_id) if span.parent_id and depth else None
        nodes[span.span_id] = Node(
            span=span,
            depth=depth,
            orphan=span.parent_id is not None and depth == 0,
            self_ns=_self_ns(span, own),
            early_ns=max(0, parent.start_unix_ns - span.start_unix_ns) if parent else 0,
            root_cause=span.status == Status.ERROR and not any(child.status == Status.ERROR for child in own),
        )
        stack.extend((child, depth + 1) for child in reversed(own))


def _self_ns(span: Span, children: Sequence[Span]) -> int:
    """Length minus the union of the children's intervals; `children` are sorted by start."""
    free, position = 0, span.start_unix_ns
    for child in children:
        if child.end_unix_ns > child.start_unix_ns:  # one that ends before it starts covers nothing
            free += max(0, min(child.start_unix_ns, span.end_unix_ns) - position)
            position = max(position, child.end_unix_ns)
    return free + max(0, span.end_unix_ns - position)
