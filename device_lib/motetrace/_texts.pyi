from collections.abc import Callable
from typing import Any

_Buffer = bytes | bytearray | memoryview

def put_hex(dst: bytearray | memoryview, at: int, src: _Buffer, i: int, n: int, table: bytes) -> None: ...

class Texts:
    table: bytes
    source: str
    _octets: bytearray
    _encrypt: Callable[..., Any]
    def __init__(self, full: bool, entropy: bytes) -> None: ...
