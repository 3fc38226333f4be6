"""Python imports this at its start where its folder is on PYTHONPATH: the wall clock then follows a file.

`STEPPED_CLOCK` names a file of 8 bytes, a signed number of ns that is added to the true time; whoever writes them steps
the clock of the running process. So a process of an ordinary user sees what an NTP correction does to a whole machine.
The monotonic clock goes on, as it does there.

Why not libfaketime: Debian's build needs a newer C library than many machines have. What is not seen here is C code
that asks for the time by itself: `datetime.now` (time stamps in the shim's log) and SQLite (which is not asked).
"""

import mmap
import os
import struct
import time

_offset_ns = struct.Struct("<q")


def _step(path: str) -> None:
    true_ns = time.time_ns
    with open(path, "rb") as file:  # noqa: PTH123 (nothing is imported here that a process does not need)
        offset = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)

    def time_ns() -> int:
        return true_ns() + _offset_ns.unpack_from(offset)[0]

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


if "STEPPED_CLOCK" in os.environ:
    _step(os.environ["STEPPED_CLOCK"])
