"""A small script in `.cache/bin` for each program, so that people can start it by name."""

import os
import shlex
from pathlib import Path


def write(cache: Path, name: str, command: tuple[str, ...]) -> None:
    """Write `cache`/bin/`name`, unless it is there as it should be.

    The script finds what lies in the cache relative to itself, so that the checkout can move.
    """
    words = []
    for word in command:
        inside = cache in Path(word).parents
        words.append(f'"$cache"/{shlex.quote(str(Path(word).relative_to(cache)))}' if inside else shlex.quote(word))
    text = f'#!/bin/sh\ncache=$(cd "$(dirname "$0")/.." && pwd)\nexec {" ".join(words)} "$@"\n'
    script = cache / "bin" / name
    if script.is_file() and script.read_text() == text:
        return
    script.parent.mkdir(parents=True, exist_ok=True)
    # Renamed into place: another run may be starting the old one at this moment.
    fresh = script.with_name(f".{name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.chmod(0o755)
    fresh.replace(script)
