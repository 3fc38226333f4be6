"""From packets to a batch: most messages are of one of two shapes and go straight from bytes to a record.

Whatever is not goes the long way (`slow_path`); both give the same record.
"""

from __future__ import annotations

from collections.abc import Callable

from motetrace_host.core.messages import fast_path
from motetrace_host.core.messages.record import CARRIER_BITS, NUMBERED, ORIGIN_BITS, RECORD
from motetrace_host.core.mqtt.connection import Chunk
from motetrace_host.core.sampling.reason import Reason
from motetrace_host.shim.batch import Batch
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.database_retry import AbandonedError, RefusedError
from motetrace_host.shim.device_topics import DeviceTopic, DeviceTopics
from motetrace_host.shim.nonces import Nonces
from motetrace_host.shim.slow_path import SlowPath

_UNSAMPLED, _RATE = int(Reason.UNSAMPLED), int(Reason.RATE)
# QoS 0 or 1 (a packet id or none), no DUP, no RETAIN.
_PLAIN_QOS = {0x30: 0, 0x32: 1}
_TRACEPARENT_KIND = NUMBERED | CARRIER_BITS["user_property"] | ORIGIN_BITS["traceparent"]
_SEQREF_KIND = NUMBERED | CARRIER_BITS["user_property"] | ORIGIN_BITS["seqref"]


class FastPath:
    """Reads chunks of packets into a batch.

    Args:
        nonces: has a look at boots that wait for their birth, when it is time for that.
        expiry_s: the message expiry interval that the birth of a boot names, 0 for none.
    """

    def __init__(
        self,
        topics: DeviceTopics,
        slow_path: SlowPath,
        nonces: Nonces,
        expiry_s: Callable[[str, bytes], int],
        counters: Counters,
    ) -> None:
        self._topics = topics
        self._known, self._find = topics.by_topic, topics.find
        if topics.rules.device_property:  # no topic alone says which device it is
            self._known, self._find = {}, _nothing
        self._slow_path = slow_path
        self._nonces = nonces
        self._expiry_s = expiry_s
        self._counters = counters

    def read(self, chunk: Chunk, batch: Batch) -> None:
        """Add the messages of a chunk to a batch. Never raises on what a device can send.

        A message that breaks its reader is counted, acknowledged and passed over. So everything that can fail comes
        before the first change to the batch: it never holds a part of a message.

        Raises:
            RefusedError, AbandonedError: the database failed, and not the message.
        """
        frames, _, received_unix_ns, _ = chunk
        acks, records, topics, runs = batch.acks, batch.records, batch.topics, batch.boot_runs
        known, find, head = self._known, self._find, self._topics.plans.head
        enter, read_plain, pack = self._topics.boots.enter, fast_path.read, RECORD.pack
        self._begin(len(frames), received_unix_ns)
        for first, body in frames:
            try:
                qos = _PLAIN_QOS.get(first)
                if qos is not None:
                    topic_end = 2 + (body[0] << 8 | body[1]) if len(body) > 1 else 2
                    topic = body[2:topic_end]
                    on = known.get(topic) or find(topic)
                    if on is not None and on.plain:
                        plain = read_plain(body, topic_end + 2 * qos)
                        if plain is not None and plain[4][:4] not in on.tails:
                            nonce, seq, flags, trace_id, span_id, age_ms, payload_bytes, left_s = plain
                            if left_s < 0 or left_s >= self._expiry_s(on.device_id, nonce):  # it was not held
                                kind = _TRACEPARENT_KIND | qos
                                if not trace_id:
                                    trace_id, span_id = (on.deriver or self._topics.deriver(on)).ids(nonce, seq)
                                    kind = _SEQREF_KIND | qos
                                run = on.boots.last
                                if run is None or run.boot_nonce != nonce:
                                    run = enter(on.boots, nonce, received_unix_ns)
                                if on.version != head.version:
                                    self._topics.renew_plan(on)
                                if on.rate is None:
                                    decision = head.decide(on.plan, trace_id, flags, received_unix_ns)
                                else:  # what `decide` does where the rate decides alone, written out
                                    needs, cut, left_out = on.rate
                                    decision = _RATE if trace_id[9:] >= cut else left_out
                                    if flags & needs != needs:
                                        decision = _UNSAMPLED
                                packed = pack(trace_id, span_id, nonce, seq, received_unix_ns, on.id, age_ms,
                                              payload_bytes, flags, kind, decision,
                                              on.threshold_id if decision == _RATE else 0)  # fmt: skip
                                if run.open or run.before:
                                    batch.saw(run, seq)
                                else:  # the same, written out
                                    run.open = True
                                    run.start = run.end = seq
                                    runs.append(run)
                                records.append(packed)
                                topics.append(on)
                                packet_id = body[topic_end] << 8 | body[topic_end + 1] if qos else 0
                                if packet_id:
                                    acks.append(packet_id)
                                continue
                self._slow_path.read(first, body, chunk, batch)
            except (AbandonedError, RefusedError):
                raise
            except Exception as error:  # noqa: BLE001 (whatever a device sent, the next message is read)
                self._pass_over(first, body, error, batch)

    def _pass_over(self, first: int, body: bytes, error: Exception, batch: Batch) -> None:
        device_id, packet_id = self._slow_path.origin(first, body)
        self._counters.pass_over(device_id, error)
        if packet_id:
            batch.acks.append(packet_id)

    def _begin(self, messages: int, received_unix_ns: int) -> None:
        """Do what is done once for a chunk."""
        self._counters.received += messages
        if received_unix_ns < self._nonces.due_unix_ns:
            return
        try:
            self._nonces.look(received_unix_ns)
        except (AbandonedError, RefusedError):
            raise
        except Exception as error:  # noqa: BLE001
            self._counters.pass_over("", error)


def _nothing(topic: bytes) -> DeviceTopic | None:
    """No device by topic alone."""
    return None
