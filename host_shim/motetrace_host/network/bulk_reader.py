"""How bytes come in: many PUBLISH packets out of one large read, acknowledgements queued together.

The one part of paho-mqtt that is replaced, for two reasons: paho's reader drops the connection on messages that a
broker may lawfully forward (the broker then sends the same one again, for ever), and it spends far more processor time.
CONNECT, SUBSCRIBE, keep-alive, TLS, writing and outgoing QoS stay paho's, and packets other than PUBLISH and PUBREL are
decoded by it. `--receive paho` switches this off: `paho_reader`.

It uses names of paho that are not public: `_sock_recv`, `_sock_send`, `_sock`, `_in_packet`, `_packet_handle`,
`_packet_queue`, `_send_pubcomp`, `_loop_rc_handle`, `_msgtime_mutex` and the time of the last read.
docs/receive-path.md lists what is proven; tests/host/receive proves it under each minor version that pyproject.toml
allows.
"""

from __future__ import annotations

import ssl
import struct
import time
from collections.abc import Callable, Sequence

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt.framing import Frame, Stream

READ_BYTES = 1 << 18
_DENSE_S, _GATHER_S = 0.002, 0.001
_PUBACK, _PUBREC = 0x40020000, 0x50020000  # with their remaining length, before a packet id
_CONNACK, _PUBREL, _DISCONNECT = 0x20, 0x62, 0xE0


def receive(
    client_id: str, deliver: Callable[[list[Frame], int], None], pause: Callable[[float], None] = time.sleep
) -> tuple[paho.Client, Callable[[Sequence[int]], None]]:
    """Make a client that reads in bulk.

    Args:
        deliver: gets PUBLISH packets in the broker's order, and how many bytes were read with them. It must not block.
        pause: waits, in seconds, so that more comes together.
    Returns:
        The client, not connected, and what acknowledges messages by packet id, in the given order (thread-safe).
        `loop_read` raises WireError when the stream cannot be read on; then the connection has to be ended.
    """
    client = _Client(client_id, deliver, pause)
    return client, client.acknowledge


class _Client(paho.Client):
    def __init__(
        self, client_id: str, deliver: Callable[[list[Frame], int], None], pause: Callable[[float], None]
    ) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, manual_ack=True)
        self._deliver = deliver
        self._pause = pause
        self._read_at_s = 0.0
        self._stream = Stream()
        # Packet ids of QoS 2: only a session that was subscribed at QoS 2 by another client before has such messages.
        self._exactly_once: set[int] = set()
        self.socket_error = ""
        """What broke the connection, in the operating system's or TLS's words, which paho does not give."""

    def reconnect(self) -> MQTTErrorCode:
        self._stream = Stream()  # half a packet of the last connection is not continued on this one
        self._exactly_once.clear()
        self.socket_error = ""
        return super().reconnect()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        # A broker writes each message by itself; read one by one they cost twice as much. One that comes alone is read
        # at once.
        now_s = time.monotonic()
        if now_s - self._read_at_s < _DENSE_S:
            self._pause(_GATHER_S)
        self._read_at_s = now_s
        try:
            data = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError as error:
            self.socket_error = f"{type(error).__name__}: {error}"
            data = b""
        if not data:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        with self._msgtime_mutex:
            # The second is the name in paho 2.1.
            self._last_bytes_received = self._last_msg_in = time.monotonic()
        frames = self._stream.feed(data)
        if any_other := [frame for frame in frames if frame[0] & 0xF4 != 0x30]:  # all but PUBLISH at QoS 0 and 1
            # These first: CONNACK has to be known when what follows it is acknowledged.
            for first, body in any_other:
                self._take(first, body)
            frames = [frame for frame in frames if frame[0] & 0xF0 == 0x30]
        if frames:
            self._deliver(frames, len(data))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        once = self._exactly_once
        if once:
            packets = [(_PUBREC if packet_id in once else _PUBACK) | packet_id for packet_id in packet_ids]
            once.difference_update(packet_ids)
        else:
            packets = [_PUBACK | packet_id for packet_id in packet_ids]
        self._packet_queue(paho.PUBACK, struct.pack(f">{len(packets)}I", *packets), 0, 1)

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError as error:
            self.socket_error = f"{type(error).__name__}: {error}"
            self._read_alert()
            raise

    def _read_alert(self) -> None:
        """Look for why the broker ended a TLS connection that cannot be written to any more.

        With TLS 1.3 our handshake is over before the broker has looked at our certificate: what it thinks of it is to
        be read, unless the connection's end has swept it away.
        """
        if isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.recv(1)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            except ssl.SSLError as alert:
                self.socket_error = f"{type(alert).__name__}: {alert}"
            except OSError:
                pass

    def _take(self, first: int, body: bytes) -> None:
        """Take a packet that is no PUBLISH, or one of QoS 2."""
        if self._sock is None:  # a DISCONNECT came before it
            return
        if first & 0xF0 == 0x30:
            self._take_exactly_once(first, body)
        elif first == _PUBREL and len(body) > 1:
            # Ours to answer, for what it ends is on disk since the PUBREC; paho leaves that to its `ack`.
            self._send_pubcomp(int.from_bytes(body[:2], "big"))
        elif first == _CONNACK and len(body) == 2 and body[1]:
            raise WireError("no_mqtt_5", "a refusal of MQTT 3: the broker could not read our CONNECT")
        else:
            # paho 2.1 reads the reason of a DISCONNECT only when it has 3 bytes.
            self._let_paho_take(first, body.ljust(3, b"\0") if first == _DISCONNECT and body else body)

    def _take_exactly_once(self, first: int, body: bytes) -> None:
        if first & 6 == 6:
            raise WireError("publish_qos", "a PUBLISH has QoS 3; 0, 1 and 2 exist")
        position = 2 + int.from_bytes(body[:2], "big")
        self._exactly_once.add(int.from_bytes(body[position : position + 2], "big"))

    def _let_paho_take(self, first: int, body: bytes) -> None:
        self._in_packet["command"] = first
        self._in_packet["packet"] = bytearray(body)
        self._in_packet["remaining_length"] = len(body)
        try:
            code = self._packet_handle()
        except Exception as error:  # what its decoders raise differs between 2.1 and 2.2
            raise WireError("frame_malformed", f"a packet of type {first >> 4} is malformed: {error}") from error
        if code > 0 and first == _CONNACK:
            self._loop_rc_handle(code)  # a refusal, whose reason `on_connect` got
        elif code > 0:
            raise WireError(
                "frame_unexpected", f"a packet of type {first >> 4} is not what belongs there ({code.name})"
            )
