"""MQTT packets put together the slow way, and the MQTT 5 client on the fake socket."""

from sockets import Client

from motetrace.mqtt5 import MQTTClient

TOPIC = b"devices/d/telemetry"


class Five(MQTTClient):
    """The MQTT 5 client on the fake socket."""

    def __init__(self, tracer=None, expiry=0, takes=None):
        super().__init__("device", "nowhere", tracer=tracer, expiry=expiry)
        fake = Client(takes)
        self.sock = fake.sock
        self.poller_w = fake.poller_w
        self._sock_timeout = fake._sock_timeout
        self.fake = fake


def length(n):
    out = b""
    while n > 127:
        out += bytes((n & 127 | 128,))
        n >>= 7
    return out + bytes((n,))


def packet(first, topic, rest, pid=None):
    body = len(topic).to_bytes(2, "big") + topic + (b"" if pid is None else pid.to_bytes(2, "big")) + rest
    return bytes((first,)) + length(len(body)) + body


def pair(name, value):
    return b"\x26" + len(name).to_bytes(2, "big") + name + len(value).to_bytes(2, "big") + value


def written(client):
    data = bytes(client.sock.written)
    client.sock.written = bytearray()
    return data
