"""A double of mqtt_as 0.8.3, which is in no package index: its documented interface, and its bytes on the wire.

What it does as the original does, because adapters depend on it:

* lengths are len() of what it is given, so a str that is not ASCII breaks the stream;
* `properties` {0x26: {name: value}}: only the first pair of the dict is sent, name and value must be str; encoded
  anew at every transmission from the dict that was handed over, and `msg` is read anew too: no copy is made of either;
* without config["mqttv5"] properties are dropped without a word;
* publish waits for a connection; at QoS 1 it waits `response_time` s for the PUBACK, sends again with DUP and the
  same packet id up to `max_repubs` times, then reconnects and publishes as a new packet, for ever;
* each part of a packet is written by itself, in as many partial writes as the socket takes, with other tasks between.

What it does not do: Wi-Fi, TLS, wills, users, ESP-NOW, keep-alive pings, disconnect.
"""

import asyncio
import socket
import struct
from errno import EINPROGRESS, ETIMEDOUT
from time import ticks_diff, ticks_ms

BUSY = (EINPROGRESS, ETIMEDOUT)
PAUSE_MS = 20

config = {
    "client_id": b"double",
    "server": None,
    "port": 0,
    "keepalive": 60,
    "response_time": 10,
    "clean_init": True,
    "clean": True,
    "max_repubs": 4,
    "subs_cb": lambda *_: None,
    "queue_len": 0,
    "mqttv5": False,
    "mqttv5_con_props": None,
}


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def text(value):
    value = value.encode("utf-8")
    return struct.pack("!H", len(value)) + value


def first_pair(value):
    name, value = list(value.items())[0]
    return text(name) + text(value)


ENCODERS = {
    0x02: lambda value: struct.pack("!I", value),
    0x03: text,
    0x08: text,
    0x09: lambda value: struct.pack("!H", len(value)) + value,
    0x26: first_pair,
}


def encode_properties(properties):
    if not properties:
        return b"\x00"
    out = b""
    for key, value in properties.items():
        encode = ENCODERS.get(key)
        out += bytes((key,)) + (encode(value) if encode else value)
    return varint(len(out)) + out


def decode_properties(data):
    """Only what these tests receive; of user properties the last one is kept."""
    found = {}
    at = 0
    while at < len(data):
        key = data[at]
        if key != 0x26:
            break
        parts = []
        at += 1
        for _ in range(2):
            n = data[at] << 8 | data[at + 1]
            parts.append(data[at + 2 : at + 2 + n].decode())
            at += 2 + n
        found[key] = {parts[0]: parts[1]}
    return found


class MQTTClient:
    DEBUG = False
    REPUB_COUNT = 0

    def __init__(self, config):
        self._config = config
        self.mqttv5 = config["mqttv5"]
        self.server = config["server"]
        self.port = config["port"] or 1883
        self.lock = asyncio.Lock()
        self.rcv_pids = set()
        self._pid = 0
        self._sock = None
        self._up = False
        self._wanted = False

    async def _write(self, data):
        view = memoryview(data)
        since = ticks_ms()
        while view:
            if not self._up or ticks_diff(ticks_ms(), since) > self._config["response_time"] * 1000:
                raise OSError(-1, "Timeout on socket write")
            n = self._sock.write(view)
            if n:
                view = view[n:]
                since = ticks_ms()
            await asyncio.sleep_ms(0)

    async def _read(self, n):
        data = b""
        since = ticks_ms()
        while len(data) < n:
            if not self._up or ticks_diff(ticks_ms(), since) > self._config["response_time"] * 1000:
                raise OSError(-1, "Timeout on socket read")
            part = self._sock.read(n - len(data))
            if part == b"":
                raise OSError(-1, "Connection closed by host")
            if part:
                data += part
                since = ticks_ms()
            await asyncio.sleep_ms(0)
        return data

    async def _length(self):
        n = shift = 0
        while True:
            b = (await self._read(1))[0]
            n |= (b & 127) << shift
            if b < 128:
                return n
            shift += 7

    async def _open(self, clean):
        self._sock = socket.socket()
        self._sock.setblocking(False)
        try:
            self._sock.connect(socket.getaddrinfo(self.server, self.port)[0][-1])
        except OSError as e:
            if e.args[0] not in BUSY:
                raise
        self._up = True
        client_id = self._config["client_id"]
        head = b"\x00\x04MQTT" + bytes((5 if self.mqttv5 else 4, clean << 1))
        head += struct.pack("!H", self._config["keepalive"])
        if self.mqttv5:
            head += encode_properties(self._config["mqttv5_con_props"])
        head += struct.pack("!H", len(client_id)) + client_id
        await self._write(b"\x10" + varint(len(head)) + head)
        if (await self._read(1))[0] != 0x20:
            raise OSError(-1, "CONNACK not received")
        answer = await self._read(await self._length())
        if answer[1]:
            raise OSError(-1, "CONNACK reason code 0x%x" % answer[1])

    async def connect(self, *, quick=False):
        try:
            await self._open(self._config["clean_init"] or self._config["clean"])
        except OSError:
            self._reconnect()
            raise
        self.rcv_pids.clear()
        if not self._wanted:
            self._wanted = True
            asyncio.create_task(self._keep_connected())
        asyncio.create_task(self._receive())

    def isconnected(self):
        return self._up

    async def publish(self, topic, msg, retain=False, qos=0, properties=None):
        if qos not in (0, 1):
            raise ValueError("Only qos 0 and 1 are supported.")
        while True:
            while not self._up:
                await asyncio.sleep_ms(PAUSE_MS)
            try:
                return await self._publish_once(topic, msg, retain, qos, properties)
            except OSError:
                self._reconnect()

    async def subscribe(self, topic, qos=0, properties=None):
        pid = self._next_pid()
        self.rcv_pids.add(pid)
        body = struct.pack("!H", pid) + (encode_properties(properties) if self.mqttv5 else b"")
        body += struct.pack("!H", len(topic)) + (topic if isinstance(topic, bytes) else topic.encode()) + bytes((qos,))
        async with self.lock:
            await self._write(b"\x82" + varint(len(body)) + body)
        if not await self._acked(pid):
            raise OSError(-1)

    def _next_pid(self):
        self._pid = self._pid % 65535 + 1
        return self._pid

    def _reconnect(self):
        if self._sock:
            self._sock.close()
        self._sock = None
        self._up = False

    async def _keep_connected(self):
        while self._wanted:
            await asyncio.sleep_ms(PAUSE_MS)
            if not self._up and self._wanted:
                try:
                    await self.connect()
                except OSError:
                    pass

    async def _acked(self, pid):
        since = ticks_ms()
        while pid in self.rcv_pids:
            if not self._up or ticks_diff(ticks_ms(), since) > self._config["response_time"] * 1000:
                return False
            await asyncio.sleep_ms(PAUSE_MS)
        return True

    async def _publish_once(self, topic, msg, retain, qos, properties):
        pid = self._next_pid()
        if qos:
            self.rcv_pids.add(pid)
        async with self.lock:
            await self._send(topic, msg, retain, qos, 0, pid, properties)
        count = 0
        while qos and not await self._acked(pid):
            if count >= self._config["max_repubs"] or not self._up:
                raise OSError(-1)
            async with self.lock:
                await self._send(topic, msg, retain, qos, 1, pid, properties)
            count += 1
            self.REPUB_COUNT += 1

    async def _send(self, topic, msg, retain, qos, dup, pid, properties):
        encoded = encode_properties(properties) if self.mqttv5 else b""
        n = 2 + len(topic) + len(msg) + (2 if qos else 0) + len(encoded)
        await self._write(bytes((0x30 | qos << 1 | retain | dup << 3,)) + varint(n))
        await self._write(struct.pack("!H", len(topic)))
        await self._write(topic)
        if qos:
            await self._write(struct.pack("!H", pid))
        if encoded:
            await self._write(encoded)
        await self._write(msg)

    async def _receive(self):
        sock = self._sock
        try:
            while self._up and self._sock is sock:
                async with self.lock:
                    await self._one_packet()
                await asyncio.sleep_ms(0)
        except OSError:
            if self._sock is sock:
                self._reconnect()

    async def _one_packet(self):
        first = self._sock.read(1)
        if first is None:
            return
        if first == b"":
            raise OSError(-1, "Empty response")
        first = first[0]
        data = await self._read(await self._length())
        if first in (0x40, 0x90):
            self.rcv_pids.discard(data[0] << 8 | data[1])
        elif first & 0xF0 == 0x30:
            await self._deliver(first, data)

    async def _deliver(self, first, data):
        n = 2 + (data[0] << 8 | data[1])
        topic = data[2:n]
        if first & 6:
            pid = data[n : n + 2]
            n += 2
        args = [topic, None, bool(first & 1)]
        if self.mqttv5:
            size = data[n]
            args.append(decode_properties(data[n + 1 : n + 1 + size]) if size else None)
            n += 1 + size
        args[1] = data[n:]
        self._config["subs_cb"](*args)
        if first & 6:
            await self._write(b"\x40\x02" + pid)
