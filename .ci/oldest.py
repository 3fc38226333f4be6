"""Run tests with the oldest versions that pyproject.toml allows: `python .ci/oldest.py base|shim [pytest arguments]`.

`base` is what a user's own service installs, with the OpenTelemetry SDK and paho-mqtt 1.6 that it may have already;
`shim` is the command. Each has a virtual environment of its own in .cache/oldest-NAME, made anew when pyproject.toml
changes. Newest versions are what `make test` installs.
"""

import hashlib
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Beside the package: what the tests themselves import, at the versions they have everywhere.
TOOLS = ["pytest>=8.3", "pytest-timeout>=2.3", "hypothesis>=6.100"]
# What services have installed that the base must leave alone.
BESIDE = ["opentelemetry-sdk==1.30.0", "protobuf==5.29.5", "paho-mqtt==1.6.1"]
TESTS = {
    "base": ["tests/setup/on_oldest_base.py"],
    "shim": ["tests/host/app", "tests/host/spans", "tests/host/receive", "tests/host/ledger", "-m", "not slow"],
}
_LOWEST = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=([0-9a-z.]+)")


def lowest(requirements: list[str]) -> list[str]:
    """Each requirement at its lower bound; those of our own extras are left out."""
    found = [_LOWEST.match(one) for one in requirements if not one.startswith("motetrace[")]
    return [f"{match[1]}=={match[2]}" for match in found if match]


def requirements(kind: str) -> list[str]:
    """What pip is to install for one kind."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = lowest(project["dependencies"])
    if kind == "base":
        return [*base, *BESIDE, *TOOLS, "."]
    shim = lowest(project["optional-dependencies"]["shim"]) + lowest(project["optional-dependencies"]["redis"])
    # The tests' own peers (an SDK, a collector) are not what is tested here.
    api = [one for one in base if not one.startswith("opentelemetry-api")]
    peers = ["opentelemetry-sdk==1.42.*", "opentelemetry-exporter-otlp-proto-http==1.42.*", "trustme>=1.2"]
    return [*api, *shim, *peers, *TOOLS, "pytest-xdist>=3.6", "."]


def make(kind: str) -> Path:
    """The environment's Python; installs when there is none for these requirements and sources."""
    folder = ROOT / ".cache" / f"oldest-{kind}"
    wanted = requirements(kind)
    digest = hashlib.sha256("\n".join(wanted).encode() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    python = folder / "bin" / "python"
    stamp = folder / "stamp"
    quiet = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off", "-qq"]
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    if not stamp.exists() or stamp.read_text() != digest:
        print(f"oldest: installing into .cache/oldest-{kind}: {' '.join(wanted)}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, *quiet, *wanted], cwd=ROOT, env=environment, check=True)
        stamp.write_text(digest)
    else:
        again = [python, *quiet, "--no-deps", "--force-reinstall", "."]
        subprocess.run(again, cwd=ROOT, env=environment, check=True)
    subprocess.run([python, "-m", "pip", "check", "--disable-pip-version-check"], check=True)
    return python


def main() -> None:
    """Install, check, and run the tests of one kind."""
    kind, *arguments = sys.argv[1:] or [""]
    if kind not in TESTS:
        sys.exit(f"usage: python .ci/oldest.py {'|'.join(TESTS)} [pytest arguments]")
    python = make(kind)
    workers = ["-n", "2"] if kind == "shim" else []
    command = [python, "-m", "pytest", "-q", *workers, *TESTS[kind], *arguments]
    sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
