"""What a person sees while something is fetched: one line that counts on a terminal, two plain lines elsewhere."""

import sys
import time


class Progress:
    """Says what goes on with one thing, on standard error.

    Args:
        name: what the lines begin with.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()
        self._live = sys.stderr.isatty()
        self._shown = ""

    def say(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        sys.stderr.write(f"{self._name}: {text}\n")
        sys.stderr.flush()

    def step(self, text: str) -> None:
        """A line that the next one overwrites; only on a terminal."""
        if not self._live or text == self._shown:
            return
        self._clear()
        self._shown = text
        sys.stderr.write(f"{self._name}: {text}")
        sys.stderr.flush()

    def done(self, text: str) -> None:
        """The last line, with the time it took."""
        self.say(f"{text} in {time.monotonic() - self._began:.1f} s")

    def _clear(self) -> None:
        if self._live and self._shown:
            sys.stderr.write("\r\x1b[K")
            self._shown = ""


def size(count: int) -> str:
    """Bytes for a reader: `4.1 MB`, `31 kB`."""
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{max(count // 1000, 1)} kB"
