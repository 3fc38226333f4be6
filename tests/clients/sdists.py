"""The MQTT clients of the Python package index that these tests run against, as one folder for MICROPYPATH."""

import contextlib
import fcntl
import functools
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import parts
import umqtt_sdist

# robust2 is published for simple2 2.2.0. umqtt.simple 1.3.4 is the last one on the index of what micropython-lib now
# has as 1.8: publish and check_msg are the same, line for line; connect takes ssl=context instead of ssl_params.
SDISTS = {
    # Before umqtt.simple: it brings an older one of that. micropython-lib's 1.0.2 differs in check_msg, which gives up.
    "micropython-umqtt.robust==1.0": "22a1b8c8e1128281efb13b3020927d07e33c5b747869da2cd77d37983a9ea002",
    "micropython-umqtt.robust2==2.2.0": "da3a09a570868d8e4ae6d2fad475230f6f2b130b45711be6873f83b10ebd4a6c",
    "micropython-umqtt.simple==1.3.4": "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f",
}


@functools.cache
def folder() -> Path:
    """The folder that contains umqtt/ with simple, robust, simple2 and robust2; fetched at the first use."""
    target = parts.CACHE / "clients" / hashlib.sha256(repr(SDISTS).encode()).hexdigest()[:12]
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest-xdist's workers all come here
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent) as staging:
                made = Path(staging) / "made"
                shutil.copytree(parts.simple2() / "umqtt", made / "umqtt")
                for requirement, digest in SDISTS.items():
                    _unpack(_download(requirement, digest, Path(staging)), made / "umqtt")
                made.rename(target)
    return target


def _download(requirement: str, digest: str, staging: Path) -> Path:
    python = umqtt_sdist._python_with_unearth(parts.ROOT / ".venv")
    command = [python, "-m", "unearth", requirement, "--download", str(staging), *umqtt_sdist._index(python)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    archive = staging / (requirement.replace("==", "-") + ".tar.gz")
    assert not done.returncode and archive.exists(), done.stderr or done.stdout
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert found == digest, f"{archive.name} has sha256 {found}, expected {digest}: do not use it"
    return archive


def _unpack(archive: Path, into: Path) -> None:
    with tarfile.open(archive) as sdist:
        for member in sdist.getmembers():
            path = Path(member.name)
            if member.isfile() and path.parent.name == "umqtt" and path.name != "__init__.py":
                content = sdist.extractfile(member)
                assert content is not None
                with contextlib.closing(content):
                    (into / path.name).write_bytes(content.read())
