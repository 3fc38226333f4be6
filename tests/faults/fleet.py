"""Devices that publish and remember what the broker acknowledged."""

import itertools
import threading
import time
from collections import deque

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.waiting import until

Message = tuple[str, int]
"""Device and seq."""

NONCE = {"tp": "0a01020304", "ref": "0a01020305", "json": "0a01020306"}


def properties(*pairs: tuple[str, str]) -> Properties:
    made = Properties(PacketTypes.PUBLISH)
    made.UserProperty = list(pairs)
    return made


def traceparent(nonce: str, seq: int, tail: int = 0x1D0C0B0A) -> str:
    return f"00-{nonce}{seq:08x}{tail:014x}-7f7e7d7c{seq:08x}-03"


class Connection:
    """One client at the broker; counts acknowledged publishes."""

    def __init__(self, port: int, protocol: int = paho.MQTTv5) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self._unanswered: deque[tuple[Message, int]] = deque()
        self._answered: set[int] = set()
        self.acknowledged: set[Message] = set()
        self.client.on_publish = lambda client, userdata, mid, *_: self._answered.add(mid)
        self.published = 0
        self.client.reconnect_delay_set(0.1, 0.5)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        until(self.client.is_connected, "a device connects")

    def publish(self, name: Message, topic: str, payload: bytes, *pairs: tuple[str, str]) -> None:
        info = self.client.publish(topic, payload, qos=1, properties=properties(*pairs) if pairs else None)
        self._unanswered.append((name, info.mid))
        self.published += 1

    @property
    def waiting(self) -> int:
        """Publishes that the broker has not acknowledged; it does so in order."""
        while self._unanswered and self._unanswered[0][1] in self._answered:
            name, mid = self._unanswered.popleft()
            self._answered.discard(mid)
            self.acknowledged.add(name)
        return len(self._unanswered)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Fleet:
    """A traceparent, a seqref, a JSON/3.1.1 and a bare-seq device, publishing in turn until told to stop."""

    def __init__(self, port: int, per_second: int = 1500) -> None:
        self.modern = Connection(port)
        self.old = Connection(port, paho.MQTTv311)
        self._per_second = per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "Fleet":
        self._thread.start()
        return self

    def stop(self) -> set[Message]:
        """End, and give what the broker has acknowledged: everything that was published."""
        self._stop.set()
        self._thread.join(10)
        deadline = time.monotonic() + 10
        while self.modern.waiting or self.old.waiting:
            assert time.monotonic() < deadline, "the broker does not acknowledge"
            time.sleep(0.02)
        self.modern.close()
        self.old.close()
        return self.modern.acknowledged | self.old.acknowledged

    def _run(self) -> None:
        began = time.monotonic()
        for seq in itertools.count(1):
            ahead = began + seq * 4 / self._per_second - time.monotonic()
            if self._stop.wait(max(0.0, ahead)) or self._stop.is_set():
                return
            if self.modern.waiting + self.old.waiting > 2_000:  # the broker is away
                time.sleep(0.01)
            self._publish(seq)

    def _publish(self, seq: int) -> None:
        data = b'{"temp":21.5}'
        self.modern.publish(("tp", seq), topic("tp"), data, ("traceparent", traceparent(NONCE["tp"], seq)))
        self.modern.publish(("ref", seq), topic("ref"), data, ("seqref", f"{NONCE['ref']}-{seq:08x}-03"))
        text = f'{{"traceparent":"{traceparent(NONCE["json"], seq)}","temp":21.5}}'
        self.old.publish(("json", seq), topic("json"), text.encode())
        self.old.publish(("bare", seq), topic("bare"), f'{{"seq":{seq},"temp":21.5}}'.encode())


def topic(device: str) -> str:
    return f"devices/{device}/telemetry"
