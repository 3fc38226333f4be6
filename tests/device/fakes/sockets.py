"""A socket that keeps what is written to it and takes as much at a time as it is told to; and the client around it."""

from umqtt.simple2 import pid_gen


class Socket:
    """write(buf, at, n) of a non-blocking stream; `takes` gives the sizes of partial writes, None: would block."""

    def __init__(self, takes=None):
        self.written = bytearray()
        self.waits = 0
        self._takes = takes

    def write(self, buf, at=0, n=-1):
        if n < 0:
            n = len(buf) - at
        if self._takes is not None:
            take = next(self._takes)
            if take is None:
                return None
            n = min(n, take)
        self.written += memoryview(buf)[at : at + n]
        return n

    def read(self, n):
        return b""

    def close(self):
        pass


class Client:
    """What Publish uses of a client of umqtt.simple2."""

    def __init__(self, takes=None):
        self.sock = Socket(takes)
        self.poller_w = "poller_w"
        self.socket_timeout = 5
        self.message_timeout = 10
        self.rcv_pids = {}
        self.newpid = pid_gen()
        self.waits = 0

    def _sock_timeout(self, poller, seconds):
        assert poller == "poller_w" and seconds == 5
        self.waits += 1


class Null:
    """A socket that swallows everything, without using the heap."""

    def write(self, buf, at=0, n=-1):
        return n


def connected(port):
    """Two ends of a real TCP connection on loopback, and a poll object for the first to become writable."""
    import select
    import socket

    where = socket.getaddrinfo("127.0.0.1", port)[0][-1]
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(where)
    listener.listen(1)
    near = socket.socket()
    near.connect(where)
    far, _ = listener.accept()
    listener.close()
    near.setblocking(False)
    writable = select.poll()
    writable.register(near, select.POLLOUT)
    return near, far, writable
