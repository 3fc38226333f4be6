"""A password in a file: its first line."""

from __future__ import annotations

from pathlib import Path


class PasswordFileError(ValueError):
    """The file cannot be used; the message says why and what to do."""


def first_line(path: Path | None, flag: str) -> str:
    """The password, "" when no file is named.

    Args:
        flag: the setting that named the file.
    Raises:
        PasswordFileError: it cannot be read, or is no text.
    """
    if path is None:
        return ""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PasswordFileError(f"{flag} {path}: {error}; name a text file whose first line is the password") from error
