"""How far a long work is: one line on a terminal that is written over, nothing where nobody looks."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

_EVERY_S: Final = 0.2


class Progress:
    """Tells on a stream; `clock` gives seconds."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_shown = self._stream.isatty()
        self._clock = clock
        self._told = -_EVERY_S
        self._width = 0

    def tell(self, what: str, share: float | None = None) -> None:
        """Say what is done, and which share of it, 0..1, where that is known."""
        if not self._is_shown or self._clock() - self._told < _EVERY_S:
            return
        self._told = self._clock()
        self._write(what if share is None else f"{what} {share:4.0%}")

    def end(self) -> None:
        """Take the line away."""
        if self._width:
            self._write("")
            self._width = 0

    @contextmanager
    def while_waiting(self, text: Callable[[float], str]) -> Iterator[None]:
        """Tell now and then while one call runs that says nothing itself; `text` takes the seconds it has taken."""
        done = threading.Event()
        began = self._clock()

        def tick() -> None:
            while not done.wait(_EVERY_S):
                self.tell(text(self._clock() - began))

        thread = threading.Thread(target=tick, name="motetrace-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.end()

    def _write(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._width) + ("\r" if not line else ""))
        self._stream.flush()
        self._width = len(line)
