"""Headers for the backend are read as written, kept secret, and refused with the line's number."""

from pathlib import Path

import pytest

from motetrace_host.core.errors import OperatorError
from motetrace_host.storage import secret_files


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "headers"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_lines_are_headers_and_comments_and_empty_lines_are_none(tmp_path: Path) -> None:
    path = written(tmp_path, "# for the backend\n\nAuthorization: Basic dXNlcjpwYXNz==\r\nX-Scope:tenant: 1\n")
    assert secret_files.load_headers(path) == {"Authorization": "Basic dXNlcjpwYXNz==", "X-Scope": "tenant: 1"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_headers_that_others_may_read_are_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    with pytest.raises(OperatorError, match=f"{mode:04o}.*chmod 600"):
        secret_files.load_headers(written(tmp_path, "A: secret\n", mode))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no header"),
        ("secret\n", "line 1: write Name: value"),
        ("A: 1\nB : secret\n", "line 2: write Name: value"),
        ("A:\n", "line 1: write Name: value"),
        ("A: secr\u00e9t\n", "visible ASCII"),
        ("A: se\rcret\n", "visible ASCII"),
        ("Content-Type: secret\n", "line 1: Content-Type is set by motetrace"),
        ("A: secret\na: 2\n", "line 2: a is there twice"),
        ("A: " + "s" * 70_000, "more than 65536 bytes"),
    ],
)
def test_what_cannot_be_sent_is_refused_and_never_shown(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(OperatorError, match=told) as refused:
        secret_files.load_headers(written(tmp_path, text))
    assert "secr" not in str(refused.value).removeprefix(f"headers file {tmp_path}")


def test_a_missing_file_is_refused_with_the_flag(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="--otlp-headers-file"):
        secret_files.load_headers(tmp_path / "none")
