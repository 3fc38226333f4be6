"""One reader for the JSON side messages: each kind is bounded, decoded and checked for its version the same way.

What is broken is named by the kind: `birth_size`, `birth_format`, `birth_version`, `birth_nonce`.
"""

from __future__ import annotations

import contextlib
import re
from binascii import unhexlify
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

import msgspec

from motetrace_host.core.errors import WireError

_NONCE: Final = re.compile(r"[0-9a-f]{10}")
Shape = TypeVar("Shape", bound=msgspec.Struct)


class SideMessage(Generic[Shape]):
    """Reads one kind of side message.

    Args:
        shape: its members; unknown ones are ignored. Where it has a member `v`, the version must be 1.
        reasons: what the reasons for counting begin with, such as `birth`.
        name: what error texts call it.
        max_bytes: longest payload.
    """

    def __init__(self, shape: type[Shape], reasons: str, name: str, max_bytes: int) -> None:
        self._decoder = msgspec.json.Decoder(shape)
        self._reasons, self._name, self._max_bytes = reasons, name, max_bytes
        self._versioned = "v" in shape.__struct_fields__

    def fault(self, reason: str, text: str) -> WireError:
        """Make the error of a broken part: `<kind>_<reason>`, and a text that begins with the kind's name."""
        return WireError(f"{self._reasons}_{reason}", f"{self._name} {text}")

    @contextlib.contextmanager
    def decoding(self) -> Iterator[None]:
        """Turn what a decoder raises into the reason `format`."""
        try:
            yield
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self.fault("format", f"is not the expected JSON object: {str(error)[:200]}") from error

    def read(self, payload: bytes) -> Shape:
        """Decode a payload. Raises WireError: `size`, `format` (not JSON, a member missing or mistyped), `version`."""
        if len(payload) > self._max_bytes:
            raise self.fault("size", f"has {len(payload)} bytes; at most {self._max_bytes}")
        with self.decoding():
            found = self._decoder.decode(payload)
        if self._versioned and getattr(found, "v", None) != 1:
            raise self.fault("version", f"has version {cut(getattr(found, 'v', None))}; this host reads version 1")
        return found

    def nonce(self, text: str) -> bytes:
        """Read a boot nonce of 10 lower-case hex digits. Raises WireError: `nonce`."""
        if not _NONCE.fullmatch(text):
            raise self.fault("nonce", f"has nonce {text[:20]!r}, which is not 10 lower-case hex digits")
        return unhexlify(text)


def cut(value: object) -> str:
    """Shorten a number that a device sent, which may have thousands of digits, for an error text."""
    return str(value)[:30]
