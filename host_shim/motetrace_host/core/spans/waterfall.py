"""A trace as text, for a reader's eyes: which service worked when, which stage was slow, what failed and why.

    trace 0c5c23f1d10000000712345678abcdef  5 spans  842 ms  OK
    device sensor-0042  seq 7  firmware 1.4.2  origin traceparent

    span                 service      0          842 ms      start  duration
    device_publish       device       =                         +0   31.0 ms
      broker_forward     mqtt-broker   |                  +31.0 ms         0
      rule_evaluate      rule-engine   ================   +33.0 ms    809 ms
        transform_store  function      ################   +35.0 ms    806 ms slowest
          function.name=store function.cold_start=true
          db_write       function                     =    +836 ms   5.00 ms

Bars: `=` normal, `#` the slowest stage (largest self time), `!` failed, `|` too short to have a length at this scale.
Everything that came from outside is printed through core/printable.py.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from motetrace_host.core.printable import printable
from motetrace_host.core.spans.span import AttributeValue, Span, Status
from motetrace_host.core.spans.tree import Node, tree

MIN_WIDTH, MAX_WIDTH = 72, 400
MAX_LINES = 200  # spans; what is beyond is counted in one line
_MAX_INDENT_LEVELS = 6
_UNITS = (("us", 1e3, 1000), ("ms", 1e6, 1000), ("s", 1e9, 60), ("min", 6e10, 60), ("h", 3.6e12, 24))
_BOLD, _RED, _YELLOW, _DIM, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
# Shown beneath a span that failed or was slow, in this order, when it has them.
_SHOWN_ATTRIBUTES = (
    "db.status",
    "db.operation",
    "rule.name",
    "rule.matched",
    "function.name",
    "function.cold_start",
    "error.type",
    "http.response.status_code",
    "device.id",
    "device.firmware",
)


class _Columns(NamedTuple):
    name: int
    service: int
    bar: int


def draw(spans: Iterable[Span], *, width: int = 100, colour: bool = False) -> str:
    """Draw the waterfall of one trace.

    Args:
        spans: of one trace, in any order; repeats, orphans and loops are fine.
        width: columns, held to MIN_WIDTH..MAX_WIDTH; no line is longer, East Asian wide characters counted twice.
        colour: ANSI colours; never the only sign of anything.
    Returns:
        Lines with `\\n`, also after the last.
    """
    nodes = tree(spans)
    if not nodes:
        return "no spans\n"
    width = max(MIN_WIDTH, min(MAX_WIDTH, width))
    slowest = max(nodes, key=lambda node: node.self_ns)
    lines = [*_header(nodes, width, colour), ""]
    first = min(node.span.start_unix_ns for node in nodes)
    total = max(_last(node.span) for node in nodes) - first
    columns = _columns(nodes, width)
    lines.append(_painted(_axis(columns, total), _DIM, colour))
    for node in nodes[:MAX_LINES]:
        slow = node is slowest and node.self_ns > 0
        failed = node.span.status == Status.ERROR
        paint = _RED if failed else _YELLOW if slow else ""
        lines.append(_painted(_row(node, columns, first, total, slow), paint, colour))
        lines.extend(_painted(line, paint, colour) for line in _remarks(node, slow, width))
    if len(nodes) > MAX_LINES:
        lines.append(f"... and {len(nodes) - MAX_LINES} more spans")
    return "".join(line.rstrip() + "\n" for line in lines)


def length(ns: int) -> str:
    """A duration in the unit that suits it: 0, 85 ns, 12.3 us, 842 ms, 1.25 s, 3.50 min, 20.0 h, 9.0 d."""
    sign, size = ("-", -ns) if ns < 0 else ("", ns)
    if size < 1000:
        return f"{sign}{size} ns" if size else "0"
    for unit, unit_ns, limit in _UNITS:
        if round(size / unit_ns, 1) < limit:
            return f"{sign}{_three_digits(size / unit_ns)} {unit}"
    return f"{sign}{_three_digits(size / 8.64e13)} d"


def _three_digits(number: float) -> str:
    decimals = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{decimals}f}"


def _last(span: Span) -> int:
    return max(span.start_unix_ns, span.end_unix_ns)


def _header(nodes: Sequence[Node], width: int, colour: bool) -> Iterator[str]:
    spans = [node.span for node in nodes]
    total = max(map(_last, spans)) - min(span.start_unix_ns for span in spans)
    trace = [f"trace {spans[0].trace_id.hex()}", f"{len(spans)} span{'s' * (len(spans) != 1)}", length(total)]
    cause = next((node.span for node in nodes if node.root_cause), None)
    if cause is None:
        yield from _wrapped([*trace, "OK"], width)
    else:
        yield from _wrapped(trace, width)
        message = f": {printable(cause.status_message)}" if cause.status_message else ""
        for line in _wrapped(f"ERROR in {printable(cause.name, 60)}{message}".split(" "), width, gap=" "):
            yield _painted(line, _RED + _BOLD, colour)
    known = [
        (word, _first_attribute(spans, key))
        for word, key in (("device", "device.id"), ("seq", "device.seq"), ("firmware", "device.firmware"))
    ]
    known.append(("origin", _first_attribute(spans, "trace.origin")))
    yield from _wrapped([f"{word} {_shown(value)}" for word, value in known if value is not None], width)


def _first_attribute(spans: Sequence[Span], key: str) -> AttributeValue | None:
    return next((span.attributes[key] for span in spans if key in span.attributes), None)


def _columns(nodes: Sequence[Node], width: int) -> _Columns:
    name = min(max(_cells(_label(node)) for node in nodes), width * 3 // 10)
    service = min(max(_cells(printable(node.span.service_name)) for node in nodes), width // 6)
    name, service = max(name, len("span")), max(service, len("service"))
    # 33: the gaps, start (9), duration (9) and the word "slowest".
    return _Columns(name, service, width - name - service - 33)


def _axis(columns: _Columns, total: int) -> str:
    end = length(total)
    scale = f"0{end:>{columns.bar - 1}}" if total and len(end) + 2 < columns.bar else " " * columns.bar
    return f"{'span':<{columns.name}}  {'service':<{columns.service}}  {scale}  {'start':>9} {'duration':>9}"


def _row(node: Node, columns: _Columns, first: int, total: int, slow: bool) -> str:
    span = node.span
    name = _fitted(_label(node), columns.name)
    service = _fitted(printable(span.service_name), columns.service)
    bar = _bar(span, columns.bar, first, total, slow)
    start = f"+{length(span.start_unix_ns - first)}"
    duration = length(span.end_unix_ns - span.start_unix_ns)
    return f"{name}  {service}  {bar}  {start:>9} {duration:>9}{' slowest' if slow else ''}"


def _bar(span: Span, cells: int, first: int, total: int, slow: bool) -> str:
    # Integers throughout: nanoseconds since 1970 do not fit a float.
    begin, end = (
        ((unix_ns - first) * cells + total // 2) // total if total else 0
        for unix_ns in (span.start_unix_ns, _last(span))
    )
    begin = min(begin, cells - 1)
    filled = "!" if span.status == Status.ERROR else "#" if slow else "="
    drawn = filled * (end - begin) if end > begin else "!" if span.status == Status.ERROR else "|"
    return f"{' ' * begin}{drawn:<{cells - begin}}"


def _label(node: Node) -> str:
    return "  " * min(node.depth, _MAX_INDENT_LEVELS) + printable(node.span.name)


def _remarks(node: Node, slow: bool, width: int) -> Iterator[str]:
    span = node.span
    indent = "  " * (min(node.depth, _MAX_INDENT_LEVELS) + 1)
    failed = span.status == Status.ERROR
    if failed:
        message = printable(span.status_message) or "failed, no message"
        yield from _wrapped(f"! {message}".split(" "), width, indent, gap=" ")
    if failed or slow or span.attributes.get("rule.matched") is False:
        shown = [f"{key}={_shown(span.attributes[key])}" for key in _SHOWN_ATTRIBUTES if key in span.attributes]
        yield from _wrapped(shown, width, indent, gap=" ")
    oddities = []
    if node.orphan and span.parent_id is not None:
        oddities.append(f"its parent {span.parent_id.hex()} is not among these spans")
    if node.early_ns:
        oddities.append(f"starts {length(node.early_ns)} before its parent: clocks differ")
    if span.end_unix_ns < span.start_unix_ns:
        oddities.append("ends before it starts: drawn as a point")
    for oddity in oddities:
        yield from _wrapped(oddity.split(), width, indent, gap=" ")


def _shown(value: AttributeValue) -> str:
    return printable(str(value).lower() if isinstance(value, bool) else str(value), 80)


def _wrapped(words: Sequence[str], width: int, indent: str = "", gap: str = "  ") -> Iterator[str]:
    line = ""
    room = width - len(indent)
    for word in words:
        if line and _cells(line) + len(gap) + _cells(word) > room:
            yield indent + line
            line = ""
        line = f"{line}{gap}{word}" if line else word
        while _cells(line) > room:  # one word longer than a line
            head = _cut(line, room)
            yield indent + head
            line = line[len(head) :]
    if line:
        yield indent + line


def _cells(text: str) -> int:
    """Terminal columns: wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(_cell(char) for char in text)


def _cell(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _cut(text: str, cells: int) -> str:
    used = 0
    for index, char in enumerate(text):
        used += _cell(char)
        if used > cells:
            return text[:index]
    return text


def _fitted(text: str, cells: int) -> str:
    """Exactly `cells` wide: padded, or cut with a sign that it is."""
    if _cells(text) > cells:
        text = _cut(text, cells - 1) + "~"
    return text + " " * (cells - _cells(text))


def _painted(line: str, paint: str, colour: bool) -> str:
    return f"{paint}{line.rstrip()}{_PLAIN}" if colour and paint and line else line
