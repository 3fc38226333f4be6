"""CircuitPython's socketpool: the sockets of the PC."""

import socket as pc


class SocketPool:
    SOCK_STREAM = pc.SOCK_STREAM
    timeout = pc.timeout
    getaddrinfo = staticmethod(pc.getaddrinfo)
    socket = staticmethod(pc.socket)

    def __init__(self, radio):
        pass
