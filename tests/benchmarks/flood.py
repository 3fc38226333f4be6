"""Publishes QoS 1 messages as fast as the broker takes them: a raw socket, packets made beforehand, no MQTT library."""

import select
import socket
import struct

TOPIC = b"devices/sensor-%04d/telemetry"
DEVICES = 50
PAYLOAD = b'{"temp": 21.5, "humidity": 48.25, "battery_mv": 3310, "n": 17}'


def _connect(host: str, port: int) -> socket.socket:
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(b"\x10\x12\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x05flood")
    answer = connection.recv(2)
    connection.recv(answer[1])
    return connection


def _packet(number: int) -> bytes:
    device, seq = number % DEVICES, number // DEVICES + 1
    topic = TOPIC % device
    context = b"00-00000000%02x%08x%014x-b0%06x%08x-03" % (device, seq, number * 0x9E3779B97F4A7C % 2**56, device, seq)
    properties = b"\x26\x00\x0btraceparent\x00\x37" + context
    pid = number % 60000 + 1
    head = struct.pack(">H", len(topic)) + topic + struct.pack(">H", pid) + bytes((len(properties),)) + properties
    length = len(head) + len(PAYLOAD)
    return b"\x32" + bytes((length & 127 | 128, length >> 7)) + head + PAYLOAD


def run(host: str, port: int, messages: int, window: int = 500) -> None:
    """Publish `messages` messages of 50 devices, at most `window` of them not yet acknowledged."""
    packets = [_packet(number) for number in range(messages)]
    connection = _connect(host, port)
    sent = acked_bytes = 0
    pending = b""
    with connection:
        connection.setblocking(False)
        while acked_bytes < 4 * messages:
            free = min(window - (sent - acked_bytes // 4), messages - sent)
            if not pending and free > 0:
                pending = b"".join(packets[sent : sent + free])
                sent += free
            ready = select.select([connection], [connection] if pending else [], [], 30)
            if not any(ready):
                raise TimeoutError(f"the broker acknowledged {acked_bytes // 4} of {sent} messages and then nothing")
            if ready[1]:
                pending = pending[connection.send(pending) :]
            if ready[0]:
                acked_bytes += len(connection.recv(65536))
        connection.setblocking(True)
        connection.sendall(b"\xe0\x00")
