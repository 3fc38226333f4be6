"""The boot count in two small files, written in turn: for boards with a file system and nothing better."""

from motetrace.slots import newest, pack


class FileSlots:
    """A store for BootCount in `path` + "0" and `path` + "1", 8 bytes each; one of them is written at each boot.

    Two files, because a file system may lose the whole of the file that it was writing when power went.
    """

    def __init__(self, path="motetrace_boot"):
        self._path = path

    def load(self):
        found = b""
        for i in "01":
            try:
                with open(self._path + i, "rb") as f:
                    b = f.read(8)
            except OSError as e:
                if e.args[0] != 2:  # ENOENT; a file that is there and cannot be read may hold the newest number
                    raise
                b = b""
            found += b + bytes(8 - len(b))
        return newest(found)

    def save(self, n, cause):
        with open(self._path + "01"[n & 1], "wb") as f:
            f.write(pack(n, cause))
