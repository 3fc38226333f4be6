"""Disks without room: for root a file system of our own that shrinks, for everybody else a limit on files.

Both never take anything of the machine's own disk. They are told differently (ENOSPC, EFBIG), and SQLite says
SQLITE_FULL to the one and SQLITE_IOERR to the other.
"""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

_SIZE = "1g"  # of memory, which a tmpfs takes as it is used
_TRIES = 50
_UNLIMITED = resource.RLIM_INFINITY


def limit_files(pid: int, most_bytes: int | None) -> None:
    """Let no file of a running process grow beyond so many bytes; None: no limit."""
    if hasattr(resource, "prlimit"):  # only Linux lets one set another process's limits
        soft = _UNLIMITED if most_bytes is None else most_bytes
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, _UNLIMITED))


class FileSystem:
    """A tmpfs on a folder, where one may be had.

    Attributes:
        mounted: whether there is one; where not, nothing happens here.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.mounted = False

    def mount(self) -> None:
        """Make folder and file system; needs root, and a machine (or container) that lets it mount."""
        self._folder.mkdir(parents=True)
        if os.geteuid() == 0:
            words = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=700", "tmpfs", str(self._folder)]
            self.mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0

    def shrink(self, spare_bytes: int) -> None:
        """Leave room for so many bytes."""
        for _ in range(_TRIES):  # meanwhile more may have been written
            found = os.statvfs(self._folder)
            if self._resize(str((found.f_blocks - found.f_bfree) * found.f_frsize + spare_bytes)):
                return
        raise OSError(f"{self._folder} could not be made smaller in {_TRIES} attempts")

    def grow(self) -> None:
        """Give the room back."""
        self._resize(_SIZE)

    def unmount(self) -> None:
        """End it; what is in it is gone."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self._folder)], check=True)
            self.mounted = False

    def _resize(self, size: str) -> bool:
        words = ["mount", "-o", f"remount,size={size}", str(self._folder)]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
