"""Make `.venv/` and install motetrace into it, editable: `python .ci/environment.py demo|dev`.

Run by the Makefile with whatever Python there is, so the first lines also have to run on an old one.
"""

import sys

if sys.version_info < (3, 11):
    import os
    import shutil

    for minor in (14, 13, 12, 11):
        newer = shutil.which("python3.%d" % minor)
        if newer:
            os.execv(newer, [newer] + sys.argv)
    sys.exit(
        "motetrace needs Python 3.11 or newer, and this is %d.%d (%s).\n" % (sys.version_info[:2] + (sys.executable,))
        + "Get one (brew install python@3.13; apt-get install python3.13 python3.13-venv; dnf install python3.13), "
        + "or name it: make PYTHON=/path/to/python3.13 demo"
    )

import fcntl
import importlib.util
import os
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
EXTRAS = {"demo": "what the demo needs", "dev": "what tests, lint and benchmarks need"}


def create() -> None:
    """A new virtual environment, unless a working one of Python 3.11 or newer is there."""
    python = VENV / "bin" / "python"
    check = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    if python.exists() and not subprocess.run([python, "-c", check], capture_output=True, check=False).returncode:
        return
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sudo = "" if os.geteuid() == 0 else "sudo "
        sys.exit(
            f"Python {version} here cannot make virtual environments: venv and ensurepip are a package of their own.\n"
            f"Get them with: {sudo}apt-get install python{version}-venv   (then run make again)"
        )
    shutil.rmtree(VENV, ignore_errors=True)
    print(f"venv: making .venv with Python {sys.version.split()[0]}", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True, check=False)
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit(f"venv: {sys.executable} -m venv failed:\n{(made.stdout + made.stderr).strip()}")


def install(extra: str) -> None:
    """Install this checkout, editable, with one extra; pip says nothing unless something is wrong."""
    print(f"venv: installing motetrace and {EXTRAS[extra]} into .venv, from the Python package index", flush=True)
    began = time.monotonic()
    python = str(VENV / "bin" / "python")
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "-qq"]
    command = [python, "-m", "pip", "install", *quiet, "--editable", f".[{extra}]"]
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    if subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False).returncode:
        sys.exit("venv: pip could not install (its words are above); when that is mended, run the same command again")
    print(f"venv: done in {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    """Make what is missing, one process at a time."""
    extra = sys.argv[1] if sys.argv[1:] else ""
    if extra not in EXTRAS:
        sys.exit(f"usage: python .ci/environment.py {'|'.join(EXTRAS)}")
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with (cache / "venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = (ROOT / "pyproject.toml").stat().st_mtime
        stamps = [VENV / f".{name}.stamp" for name in ("dev", extra)]
        if any(stamp.exists() and stamp.stat().st_mtime >= wanted for stamp in stamps):
            (VENV / f".{extra}.stamp").touch()
            return
        create()
        install(extra)
        (VENV / f".{extra}.stamp").touch()


if __name__ == "__main__":
    main()
