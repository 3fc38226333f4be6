"""Runs tests once more, in a process of its own, with an earlier paho-mqtt than the one that is installed."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

EARLIER = "2.1.0"
WANTED = "MOTETRACE_TEST_PAHO"
"""Environment variable: the paho version under test; set in the inner run only."""
INNER = WANTED in os.environ


def run_under_the_earlier_paho(root: Path, files: Sequence[str]) -> str:
    """Run test files, which must all pass; gives what pytest said."""
    folder = root / ".cache" / f"paho-mqtt-{EARLIER}"
    if not (folder / "paho").is_dir():
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, f"paho-mqtt=={EARLIER}"],
            check=True,
        )
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    inner = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files],
        cwd=root, env=os.environ | {"PYTHONPATH": paths, WANTED: EARLIER}, capture_output=True, text=True,
    )  # fmt: skip
    assert inner.returncode == 0, inner.stdout + inner.stderr
    return inner.stdout
