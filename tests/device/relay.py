"""A TCP relay that keeps what passes: the wire between a real client and a real broker."""

import socket
import threading
from types import TracebackType
from typing import Self

LIMIT_S = 60.0


class Relay:
    """Listens on a free port of 127.0.0.1 and passes one connection on to `host`:`port`, byte for byte."""

    host = "127.0.0.1"

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._listener = socket.create_server((self.host, 0))
        self._listener.settimeout(LIMIT_S)
        self.port: int = self._listener.getsockname()[1]
        self._sent = bytearray()
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._thread.join()

    def sent(self) -> list[bytes]:
        """The packets the client sent, from CONNECT to the end of the connection, which this waits for."""
        self._thread.join(LIMIT_S)
        if self._thread.is_alive():
            raise TimeoutError(f"the client did not close its connection within {LIMIT_S:.0f} s")
        packets = []
        rest = bytes(self._sent)
        while rest:
            length = at = 0
            while True:
                at += 1
                length |= (rest[at] & 127) << 7 * (at - 1)
                if rest[at] < 128:
                    break
            packets.append(rest[: at + 1 + length])
            rest = rest[at + 1 + length :]
        return packets

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        with client, socket.create_connection(self._target, LIMIT_S) as broker:
            back = threading.Thread(target=_pass_on, args=(broker, client, bytearray()))
            back.start()
            _pass_on(client, broker, self._sent)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    try:
        while data := source.recv(1 << 16):
            kept += data
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one end is gone; the other notices by itself
