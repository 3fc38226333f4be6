"""umqtt.simple2, the devices' MQTT client, from its source distribution on the Python package index."""

import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path

from probes import UnsuitableError, output_of

VERSION = "2.2.0"
SHA256 = "48fd4da7701b95986293b06d343fbc564ebe7dfa82f5c8c09364c20df755f0e4"
REQUIREMENT = f"micropython-umqtt.simple2=={VERSION}"


def fetch(staging: Path, venv: Path) -> tuple[Path, int]:
    """Download, check and unpack it.

    Args:
        staging: an empty folder to work in.
        venv: the virtual environment that may have the package unearth, when this Python does not.
    Returns:
        The folder that contains umqtt/, and the download's size in bytes.
    Raises:
        UnsuitableError: no unearth, no answer from the index, or another file than expected.
    """
    archive = _download(staging, venv)
    data = archive.read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) != SHA256:
        raise UnsuitableError(f"{archive.name} has sha256 {digest}, expected {SHA256}: do not use it")
    folder = staging / "unpacked"
    (folder / "umqtt").mkdir(parents=True)
    with tarfile.open(archive) as sdist:
        # Not extractall: its safe filter came with Python 3.11.4.
        for member in sdist.getmembers():
            path = Path(member.name)
            if member.isfile() and path.parent.name == "umqtt" and (content := sdist.extractfile(member)):
                (folder / "umqtt" / path.name).write_bytes(content.read())
    return folder, len(data)


def _download(staging: Path, venv: Path) -> Path:
    # unearth and not pip: the sdist has no setup.py, and pip insists on building metadata even for a download.
    python = _python_with_unearth(venv)
    command = [python, "-m", "unearth", REQUIREMENT, "--download", str(staging), *_index(python)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    archive = next(iter(staging.glob("*.tar.gz")), None)
    if done.returncode or archive is None:
        words = (done.stderr or done.stdout).strip()[-300:]
        raise UnsuitableError(f"the package index did not give {REQUIREMENT}: {words}")
    return archive


def _python_with_unearth(venv: Path) -> str:
    for python in (sys.executable, str(venv / "bin" / "python")):
        command = [python, "-c", "import unearth"]
        if Path(python).exists() and not subprocess.run(command, capture_output=True, check=False).returncode:
            return python
    raise UnsuitableError("no Python here has the package unearth")


def _index(python: str) -> list[str]:
    """The index that pip is configured to use (the later line wins), so that unearth asks the same one."""
    settings = (line.partition("=") for line in output_of([python, "-m", "pip", "config", "list"]).splitlines())
    urls = [value.strip("'\"") for name, _, value in settings if name.endswith(".index-url")]
    return ["--index-url", urls[-1]] if urls else []
