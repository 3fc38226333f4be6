"""How many machine instructions a program executes in user mode from one moment to its end, by single steps.

    with Steps([...command]) as program:
        program.count()

The program writes a line to stdout and then reads from stdin: what it executes after that read is counted. The same
figure comes out on a busy machine, in a container and without root, for 32-bit and 64-bit programs alike, because the
kernel stops the program after each instruction (ptrace, PTRACE_SINGLESTEP). It costs about 25 us a step.
"""

import ctypes
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

SINGLESTEP, DETACH, SEIZE, INTERRUPT = 9, 17, 0x4206, 0x4207  # linux/ptrace.h
WALL = 0x40000000
LIMIT_S = 60.0


class CountingError(RuntimeError):
    """Instructions cannot be counted here; the message says why in one line."""


class Steps:
    """A program that waits at its read from stdin, to be counted from there; used as a context manager.

    Args:
        command: words that start it. environment: its variables.
    Raises:
        CountingError: no Linux, or this process may not trace its own child.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        if not sys.platform.startswith("linux"):
            raise CountingError(f"not counted, single steps are taken on Linux only and this is {platform.system()}")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
        self._libc.ptrace.restype = ctypes.c_long
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def count(self) -> int:
        """Let it go on from its read to its end; the instructions executed on the way."""
        pid = self._process.pid
        self._wait_for_its_read()
        self._ask(SEIZE, pid)
        self._ask(INTERRUPT, pid)
        os.waitpid(pid, WALL)
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        steps = 0
        status = signal.SIGTRAP << 8 | 0x7F
        ptrace, waitpid, stopped = self._libc.ptrace, os.waitpid, os.WIFSTOPPED
        while stopped(status):
            signal_number = os.WSTOPSIG(status)
            if ptrace(SINGLESTEP, pid, None, None if signal_number == signal.SIGTRAP else signal_number) < 0:
                raise CountingError("not counted, the program was killed")
            status = waitpid(pid, WALL)[1]
            steps += 1
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.returncode:
            assert self._process.stderr is not None
            raise CountingError(f"not counted, the program ended with an error: {self._process.stderr.read()!r}")
        return steps

    def _wait_for_its_read(self) -> None:
        """Until it has said its line and sleeps: so that the first step is always the same."""
        assert self._process.stdout is not None and self._process.stderr is not None
        if not self._process.stdout.readline():
            raise CountingError(f"not counted, the program ended early: {self._process.stderr.read()!r}")
        deadline = time.monotonic() + LIMIT_S
        while True:
            if Path(f"/proc/{self._process.pid}/stat").read_bytes().rpartition(b") ")[2][:1] == b"S":
                return
            if time.monotonic() > deadline:
                raise CountingError("not counted, the program does not read")
            time.sleep(0.0005)

    def _ask(self, request: int, pid: int) -> None:
        if self._libc.ptrace(request, pid, None, None) < 0:
            why = os.strerror(ctypes.get_errno())
            raise CountingError(f"not counted, this process may not trace its own child ({why})")
