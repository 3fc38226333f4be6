"""The shim works with each paho minor version that pyproject.toml allows: the reader's tests pass under all of them."""

import os
import tomllib
from importlib.metadata import version
from pathlib import Path

import paho.mqtt
import pytest
from packaging.requirements import Requirement
from services import Mosquitto

from tests.conftest import Parts
from tests.other_paho import EARLIER, INNER, WANTED, run_under_the_earlier_paho

HERE = Path(__file__).parent


def test_the_paho_under_test_is_the_one_that_is_wanted() -> None:
    assert paho.mqtt.__version__ == version("paho-mqtt")
    assert version("paho-mqtt").startswith(os.environ.get(WANTED, "2.2."))


def test_what_may_be_installed_is_what_is_tested(parts: Parts) -> None:
    project = tomllib.loads((parts.root / "pyproject.toml").read_text())["project"]
    (claim,) = (one for one in map(Requirement, project["optional-dependencies"]["shim"]) if one.name == "paho-mqtt")
    tested, untested = (EARLIER, version("paho-mqtt")), ("1.6.1", "2.0.0", "2.3.0", "3.0.0")
    assert all(claim.specifier.contains(one) for one in tested)
    assert not any(claim.specifier.contains(one) for one in untested)


@pytest.mark.timeout(300)
@pytest.mark.skipif(INNER, reason="this is the inner run")
def test_every_promise_holds_under_the_earlier_paho(parts: Parts, mosquitto: Mosquitto) -> None:
    assert mosquitto.pid is not None  # the broker is there, so the inner run does not have to fetch it
    files = [*sorted(HERE.glob("test_*.py")), HERE.parent / "app" / "test_mqtt.py"]
    assert len(files) >= 5
    assert " passed, 1 skipped" in run_under_the_earlier_paho(parts.root, [str(file) for file in files])
