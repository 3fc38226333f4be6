"""A device as a process that stays: code goes in, answers come out, exceptions come through by name.

with Session("micropython32") as device:
    device.run("from motetrace import Tracer; t = Tracer()")
    device.ask("bytes(t.next())")
"""

import json
import os
import selectors
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from services import popen

from tests.device import interpreters

LIMIT_S = 60.0


class DeviceError(Exception):
    """An exception on the device: its type's name, its arguments, its text."""

    def __init__(self, name: str, arguments: list[Any], text: str) -> None:
        super().__init__(text)
        self.name = name
        self.arguments = arguments


class Session:
    """One interpreter that executes what it is sent; used as a context manager, ended with it.

    Args:
        interpreter: one of interpreters.NAMES.
        options: words between the interpreter and the script, such as `-X heapsize=256k`.
    """

    def __init__(self, interpreter: str, *options: str) -> None:
        self._complaints = tempfile.TemporaryFile()
        self._pending = b""
        self._process = popen(
            [*interpreters.command(interpreter), *options, str(Path(__file__).with_name("shell.py"))],
            env=interpreters.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._complaints):
            if pipe is not None:
                pipe.close()

    def run(self, code: str, limit_s: float = LIMIT_S) -> None:
        """Execute statements and wait for their end."""
        self.begin(code)
        self.finish(limit_s)

    def ask(self, expression: str, limit_s: float = LIMIT_S) -> Any:
        """The value of an expression; bytes-like values come as bytes."""
        self._send({"ask": expression})
        return self.finish(limit_s)

    def begin(self, code: str) -> None:
        """Execute statements without waiting; `finish` must follow."""
        self._send({"run": code})

    def begin_ask(self, expression: str) -> None:
        """Evaluate an expression without waiting; `finish` must follow, and returns the value."""
        self._send({"ask": expression})

    def finish(self, limit_s: float = LIMIT_S) -> Any:
        """Wait for what was begun.

        Raises:
            DeviceError: the code raised. TimeoutError: no answer in `limit_s`. EOFError: the interpreter ended.
        """
        answer = json.loads(self._line(time.monotonic() + limit_s))
        if "error" in answer:
            name, arguments, text = answer["error"]
            raise DeviceError(name, _rich(arguments), text)
        return _rich(answer["value"])

    def _send(self, request: dict[str, str]) -> None:
        assert self._process.stdin is not None
        # As UTF-8: MicroPython's json does not join the two halves of an escaped character beyond U+FFFF.
        self._process.stdin.write(json.dumps(request, ensure_ascii=False).encode() + b"\n")
        self._process.stdin.flush()

    def _line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            while True:
                line, found, rest = self._pending.partition(b"\n")
                if found:
                    self._pending = rest
                    if line.startswith(b"\x01"):
                        return line[1:]
                    continue
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"the device gave no answer in time; it wrote {self._said()}")
                data = os.read(self._process.stdout.fileno(), 1 << 16)
                if not data:
                    raise EOFError(f"the device's interpreter ended; it wrote {self._said()}")
                self._pending += data

    def _said(self) -> str:
        self._complaints.seek(0)
        return repr((self._pending + self._complaints.read())[-2000:])


def _rich(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"hex"}:
            return bytes.fromhex(value["hex"])
        return {key: _rich(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_rich(member) for member in value]
    return value
