"""Hostile text made safe for terminals and logs.

Device ids, topics and payloads come from any sender that can publish. Escape sequences would move the cursor or set
the window title, newlines would forge log lines, bidirectional overrides would reorder what the reader sees.
"""

from __future__ import annotations

from typing import Final

MAX_CHARS: Final = 200
CUT_MARK: Final = "…"


def printable(value: str | bytes, max_chars: int = MAX_CHARS) -> str:
    """Escape what does not print and cut the length.

    Args:
        value: Any text, lone surrogates included, or any bytes (taken as UTF-8, broken bytes shown as `\\xNN`).
        max_chars: Length of the result, 1 or more; a longer one is cut and ends in `…`.
    Returns:
        Printable text on one line. Control characters, separators other than the space, format characters such as
        bidirectional overrides, surrogates and unassigned code points are `\\xNN`, `\\uNNNN` or `\\UNNNNNNNN`; a
        backslash is doubled, so that what was escaped can be distinguished from what was sent.
    Raises:
        ValueError: max_chars is below 1.
    Source: Unicode, general categories, by `str.isprintable`.
    """
    if max_chars < 1:
        raise ValueError(f"max_chars {max_chars} is below 1")
    # One character more than fits (up to 4 bytes in UTF-8) shows that it is cut; a payload may have megabytes.
    head = value[: 4 * max_chars + 4]
    text = (head.decode("utf-8", "surrogateescape") if isinstance(head, bytes) else head)[: max_chars + 1]
    if len(text) <= max_chars and text.isprintable() and "\\" not in text:
        return text
    shown: list[str] = []
    length = 0
    for char in text:
        escaped = _escape(char)
        length += len(escaped)
        shown.append(escaped)
        if length > max_chars:
            return _cut(shown, length, max_chars)
    return "".join(shown)


def escaped(text: str) -> str:
    """Escape what does not print, and nothing else: for text of which parts may have been through `printable`.

    Args:
        text: Any text of one line.
    Returns:
        Printable text of any length. A backslash stays single, so escapes that were sent look the same.
    """
    return text if text.isprintable() else "".join(char if char == "\\" else _escape(char) for char in text)


def _escape(char: str) -> str:
    if char == "\\":
        return "\\\\"
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _cut(shown: list[str], length: int, max_chars: int) -> str:
    """Drop whole characters from the end until the mark fits: half an escape would read as something else."""
    while length > max_chars - len(CUT_MARK):
        length -= len(shown.pop())
    return "".join(shown) + CUT_MARK
