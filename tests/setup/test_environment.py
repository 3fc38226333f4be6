"""`.venv/` is made by any Python 3.11 or newer; an older one, or half of one, says what to do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import parts
import pytest

SCRIPT = parts.ROOT / ".ci" / "environment.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout without .venv."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(SCRIPT, tmp_path / ".ci")
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


def run(checkout: Path, before: str, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run environment.py after some code that makes this interpreter look like another."""
    script = str(checkout / ".ci" / "environment.py")
    begin = f"import sys, runpy; sys.argv = {[script, *arguments]!r}; {before}"
    code = f"{begin}; runpy.run_path({script!r}, run_name='__main__')"
    environment = {**os.environ, "PATH": path}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_an_old_python_is_told_which_one_is_needed_and_how_to_get_it(checkout: Path) -> None:
    done = run(checkout, "sys.version_info = (3, 9, 2)", "demo")
    assert done.returncode == 1
    assert "needs Python 3.11 or newer, and this is 3.9" in done.stderr
    assert "make PYTHON=/path/to/python3.13 demo" in done.stderr


def test_an_old_python_hands_over_to_a_newer_one_on_path(checkout: Path) -> None:
    newer = checkout / "python3.12"
    newer.write_text('#!/bin/sh\necho "handed over: $2"\n')
    newer.chmod(0o755)
    done = run(checkout, "sys.version_info = (3, 9, 2)", "dev", path=f"{checkout}:/bin:/usr/bin")
    assert done.stdout == "handed over: dev\n"


def test_a_python_without_its_venv_package_names_the_package(checkout: Path) -> None:
    done = run(checkout, "sys.modules['ensurepip'] = None", "demo")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.returncode == 1
    assert f"apt-get install python{version}-venv" in done.stderr
    assert not (checkout / ".venv").exists()


def test_what_is_installed_already_is_left_alone(checkout: Path) -> None:
    venv = checkout / ".venv"
    venv.mkdir()
    (venv / ".dev.stamp").touch()
    done = run(checkout, "pass", "demo")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (venv / ".demo.stamp").exists()


def test_only_the_known_sets_can_be_asked_for(checkout: Path) -> None:
    assert "usage: python .ci/environment.py demo|dev" in run(checkout, "pass", "prod").stderr
