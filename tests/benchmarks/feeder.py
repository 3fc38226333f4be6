"""A broker that only feeds: `python feeder.py MESSAGES DEVICES` sends QoS 1 messages from memory to its one subscriber.

So the subscriber is what is measured, and no broker's own speed. It prints its port, then a line when everything is
acknowledged: seconds from the first byte sent to the last acknowledgement read. No more than the subscriber's receive
maximum is ever unacknowledged.
"""

import select
import socket
import struct
import sys
import time

PAYLOAD = b'{"temp": 21.5, "humidity": 48.25, "battery_mv": 3310, "n": 17}'
_WRITE_BYTES = 1 << 18


def packet(number: int, devices: int) -> bytes:
    """One PUBLISH of a fleet whose devices take turns, as our device library writes it."""
    device, seq = number % devices, number // devices + 1
    topic = b"devices/sensor-%05d/telemetry" % device
    random = number * 0x9E3779B97F4A7C15 % 2**56
    context = b"00-c0%08x%08x%014x-b0%06x%08x-03" % (device, seq, random, device, seq)
    properties = b"\x26\x00\x0btraceparent\x00\x37" + context
    head = struct.pack(">H", len(topic)) + topic + struct.pack(">H", number % 65_535 + 1)
    body = head + bytes((len(properties),)) + properties + PAYLOAD
    return b"\x32" + bytes((len(body) & 127 | 128, len(body) >> 7)) + body


class Subscriber:
    """The other end: its packets, counted."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.acknowledged = 0
        self.receive_maximum = 65_535
        self.subscribed = False
        self._unread = b""

    def read(self) -> None:
        """Take what has arrived, and answer CONNECT, SUBSCRIBE and PINGREQ."""
        data = self.connection.recv(1 << 20)
        if not data:
            raise ConnectionError("the subscriber went away")
        data = self._unread + data
        at = 0
        while len(data) - at >= 2:
            length, head = data[at + 1], at + 2
            if length > 127:
                length, head = length & 127 | data[at + 2] << 7, at + 3
            if head + length > len(data):
                break
            if data[at] == 0x40:
                self.acknowledged += 1
            else:
                self._answer(data[at], data[head : head + length])
            at = head + length
        self._unread = data[at:]

    def _answer(self, first: int, body: bytes) -> None:
        if first == 0x10:
            properties = body[10:]
            found = properties.find(b"\x21", 1, properties[0] + 1)
            if found > 0:
                self.receive_maximum = int.from_bytes(properties[found + 1 : found + 3], "big")
            self.connection.sendall(b"\x20\x03\x00\x00\x00")
        elif first == 0x82:
            self.connection.sendall(b"\x90\x04" + body[:2] + b"\x00\x01")
            self.subscribed = self.subscribed or b"devices/" in body
        elif first == 0xC0:
            self.connection.sendall(b"\xd0\x00")


def feed(subscriber: Subscriber, packets: list[bytes]) -> float:
    """Send all packets as fast as they are acknowledged; gives the seconds it took."""
    connection = subscriber.connection
    connection.setblocking(False)
    began, sent, pending = time.perf_counter(), 0, b""
    while subscriber.acknowledged < len(packets):
        free = min(subscriber.receive_maximum - (sent - subscriber.acknowledged), len(packets) - sent, 1_500)
        if not pending and free > 0:
            pending = b"".join(packets[sent : sent + free])
            sent += free
        readable, writable, _ = select.select([connection], [connection] if pending else [], [], 60)
        if not readable and not writable:
            raise TimeoutError(f"{subscriber.acknowledged} of {sent} sent messages were acknowledged, then nothing")
        if writable:
            pending = pending[connection.send(pending[:_WRITE_BYTES]) :]
        if readable:
            connection.setblocking(True)
            subscriber.read()
            connection.setblocking(False)
    return time.perf_counter() - began


def main(messages: int, devices: int) -> None:
    """Serve one subscriber."""
    packets = [packet(number, devices) for number in range(messages)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        connection, _ = server.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            subscriber = Subscriber(connection)
            while not subscriber.subscribed:
                subscriber.read()
            sys.stdin.readline()  # whoever measures has read the processor time
            print(f"{feed(subscriber, packets):.6f}", flush=True)
            sys.stdin.readline()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
