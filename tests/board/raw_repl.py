"""A board's raw REPL in MicroPython, for mpremote: the Unix port up to 1.26 has none of its own.

    micropython raw_repl.py FILESYSTEM      FILESYSTEM: a folder that becomes the board's root, or a size such as 64k: a
                                            littlefs of that many bytes in RAM

Speaks to the terminal on stdin and stdout as docs/reference/repl.rst of MicroPython describes: Ctrl-A raw mode, Ctrl-B
friendly mode, Ctrl-C interrupt, Ctrl-D execute or soft reset; the paste-mode probe is answered "known, not supported".
"""

# ruff: noqa: BLE001, PTH102
import gc
import os
import sys

import micropython
import vfs

RAW = b"raw REPL; CTRL-B to exit\r\n>"
FRIENDLY = b"\r\nMicroPython on a pty\r\n>>> "


class RamDisk:
    """A block device of n bytes in blocks of 512."""

    def __init__(self, n):
        self._data = bytearray(n)

    def readblocks(self, block, buf, at=0):
        at += block * 512
        buf[:] = self._data[at : at + len(buf)]

    def writeblocks(self, block, buf, at=0):
        at += block * 512
        self._data[at : at + len(buf)] = buf

    def ioctl(self, op, arg):
        if op == 4:
            return len(self._data) // 512
        if op == 5:
            return 512
        return 0


def mount(filesystem):
    os.chdir("/")
    vfs.umount("/")
    if filesystem.endswith("k"):
        disk = RamDisk(int(filesystem[:-1]) * 1024)
        vfs.VfsLfs2.mkfs(disk)
        vfs.mount(vfs.VfsLfs2(disk), "/")
        os.mkdir("/lib")
    else:
        vfs.mount(vfs.VfsPosix(filesystem), "/")
    sys.path[:] = ["", ".frozen", "/lib"]


def execute(code, space):
    sys.stdout.write("OK")
    error = None
    try:
        exec(compile(code, "<stdin>", "exec"), space)
    except BaseException as e:
        error = e
    sys.stdout.write("\x04")
    if error is not None:
        sys.print_exception(error, sys.stdout)
    sys.stdout.write("\x04")


def soft_reset(space, built_in):
    # In this order on a board: main thread ends, modules and globals go, boot.py runs.
    for name in list(sys.modules):
        if name not in built_in:
            del sys.modules[name]
    space.clear()
    space["__name__"] = "__main__"
    os.chdir("/")
    gc.collect()
    sys.stdout.write("MPY: soft reboot\r\n")


def loop():
    space = {"__name__": "__main__"}
    built_in = set(sys.modules)
    read = sys.stdin.buffer.read
    write = sys.stdout.buffer.write
    raw = False
    line = bytearray()
    while True:
        c = read(1)
        if not c:
            return
        if c == b"\x01":
            raw = True
            line = bytearray()
            write(b"\r\n" + RAW if line else RAW)
        elif c == b"\x02":
            raw = False
            line = bytearray()
            write(FRIENDLY)
        elif c == b"\x03":
            line = bytearray()
        elif c == b"\x05" and raw and not line:
            read(2)  # A, then \x01
            write(b"R\x00")
        elif c == b"\x04":
            if not raw:
                soft_reset(space, built_in)
                write(FRIENDLY)
            elif line:
                code = bytes(line)
                line = bytearray()
                execute(code, space)
                write(b">")
            else:
                write(b"OK\r\n")
                soft_reset(space, built_in)
                write(RAW)
        elif raw:
            line.extend(c)


micropython.kbd_intr(-1)
mount(sys.argv[1])
loop()
