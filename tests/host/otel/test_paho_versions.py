"""The instrumentation works with each paho minor version that it claims: its tests pass under all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import paho.mqtt
import pytest
from packaging.requirements import Requirement
from services import Mosquitto

from motetrace_host.otel.paho_instrumentor import SUPPORTED
from tests.conftest import Parts

HERE = Path(__file__).parent
OTHER = "2.1.0"
WANTED = "MOTETRACE_TEST_PAHO"


def test_the_paho_under_test_is_the_one_that_is_wanted() -> None:
    assert paho.mqtt.__version__ == version("paho-mqtt")
    assert version("paho-mqtt").startswith(os.environ.get(WANTED, "2.2."))


def test_the_claim_is_what_is_tested() -> None:
    (claim,) = (Requirement(text) for text in SUPPORTED)
    tested, untested = (OTHER, version("paho-mqtt")), ("1.6.1", "2.0.0", "2.3.0", "3.0.0")
    assert all(claim.specifier.contains(one) for one in tested)
    assert not any(claim.specifier.contains(one) for one in untested)


@pytest.mark.skipif(WANTED in os.environ, reason="this is the inner run")
def test_every_promise_holds_under_the_earlier_paho(parts: Parts, mosquitto: Mosquitto) -> None:
    folder = parts.root / ".cache" / f"paho-mqtt-{OTHER}"
    if not (folder / "paho").is_dir():
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, f"paho-mqtt=={OTHER}"],
            check=True,
        )
    assert mosquitto.pid is not None  # the broker is there, so the inner run does not have to fetch it
    files = sorted(str(path) for path in HERE.glob("test_paho_*.py"))
    assert len(files) >= 5
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    inner = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files],
        cwd=parts.root, env=os.environ | {"PYTHONPATH": paths, WANTED: OTHER}, capture_output=True, text=True,
    )  # fmt: skip
    assert inner.returncode == 0, inner.stdout + inner.stderr
    assert " passed, 1 skipped" in inner.stdout, inner.stdout
