"""From a packet to an identified message: which context, which boot, which ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from motetrace_host.core.messages import message
from motetrace_host.core.messages.message import Arrival, IdentifiedMessage
from motetrace_host.core.mqtt.connection import Delivery
from motetrace_host.core.wire import context
from motetrace_host.core.wire.context import Context
from motetrace_host.core.wire.trust import TrustPolicy
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.command_replies import CommandReplies
from motetrace_host.shim.device_topics import DeviceTopic, Tenant


class Identifier:
    """Finds the context of a message and derives its ids.

    Args:
        trailer: templates whose payloads may end in a binary trailer.
        expiry_s: the message expiry interval that the birth of a boot names, 0 for none.
        random_bytes: the random bytes of a boot nonce, or of a message that has no context.
    """

    def __init__(
        self,
        tenant: Tenant,
        bare_seq: BareSeq,
        replies: CommandReplies,
        trailer: frozenset[str],
        expiry_s: Callable[[str, bytes], int],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._tenant = tenant
        self._bare_seq = bare_seq
        self._replies = replies
        self._trailer = trailer
        self._expiry_s = expiry_s
        self._random_bytes = random_bytes

    def identify(self, on: DeviceTopic, delivery: Delivery) -> IdentifiedMessage:
        """Read the context of a message and derive its ids."""
        packet = delivery.packet
        found = context.read(packet.user_properties, packet.payload, may_have_trailer=on.template in self._trailer)
        if on.policy == TrustPolicy.OFF:
            found = context.ignored(found)
        inferred, answering, entropy = self._boot_of(on, found, delivery)
        topic, at_unix_ns, payload = packet.topic, delivery.received_unix_ns, packet.payload
        arrival = Arrival(on.device_id, topic, on.template, packet.qos, payload, at_unix_ns, packet.fault, on.policy)
        key, tenant = self._tenant.key, self._tenant.name
        identified = message.identify(
            found, arrival, key=key, tenant=tenant, boot_nonce=inferred, answering_boot=answering, entropy=entropy
        )
        left_s = packet.left_s
        boot_nonce = identified.ids.boot_nonce
        if left_s is None or inferred is not None or boot_nonce is None:
            return identified
        held_s = message.held_s(self._expiry_s(on.device_id, boot_nonce), left_s)
        return replace(identified, held_s=held_s) if held_s else identified

    def _boot_of(self, on: DeviceTopic, found: Context, delivery: Delivery) -> tuple[bytes | None, bytes | None, bytes]:
        """What `message.identify` needs beside the context: inferred boot, answering boot, random bytes."""
        if found.origin == "seq" and found.seq is not None:
            inferred = self._bare_seq.boot_nonce(
                on.device_id, found.seq, delivery.packet.dup, delivery.received_unix_ns, self._random_bytes(5)
            )
            return inferred, None, b""
        answering = self._replies.boot_nonce(on.device_id, found.parent_id) if found.parent_id is not None else None
        if answering is None and found.boot_nonce is not None:
            self._replies.learn(on.device_id, found.boot_nonce)
        has_none = found.parent_id is None and found.origin.startswith("none:")
        return None, answering, self._random_bytes(message.ENTROPY_BYTES) if has_none else b""
