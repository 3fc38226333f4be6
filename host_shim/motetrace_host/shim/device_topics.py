"""Which device on which topic, and what is remembered of it from one message to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from motetrace_host.core.messages.derived_ids import Deriver
from motetrace_host.core.mqtt.topics import TopicTemplate
from motetrace_host.core.sampling.head import SamplingPlan
from motetrace_host.core.wire.trust import TrustPolicy, TrustRules
from motetrace_host.shim.batch_participant import BatchParticipant
from motetrace_host.shim.boot_runs import BootRuns, DeviceBoots
from motetrace_host.shim.database_retry import RetryingReads
from motetrace_host.shim.sampling_plans import SamplingPlans
from motetrace_host.storage.message_log import DeviceTopicRow, MessageLog

MAX_TOPIC_BYTES = 1_024  # so that what is remembered of topics has a bound in bytes, too; MQTT's own is 65,535


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose devices these are: name (0..255 bytes) and secret key (16..64 bytes)."""

    name: str
    key: bytes


@dataclass(frozen=True, slots=True)
class TopicRules:
    """The settings for the topics of readings.

    Attributes:
        templates: tried in this order.
        trust: what is done with contexts, by topic.
        trailer, republished: templates whose payloads may end in a binary trailer; whose messages are republished.
        device_property: the user property that names the device, "" where the topic does.
    """

    templates: Sequence[TopicTemplate]
    trust: TrustRules = field(default_factory=TrustRules)
    trailer: frozenset[str] = frozenset()
    republished: frozenset[str] = frozenset()
    device_property: str = ""

    def is_reading(self, topic: str) -> bool:
        """Whether a topic is one of those that are followed."""
        return len(topic.encode()) <= MAX_TOPIC_BYTES and any(one.match(topic) for one in self.templates)

    def is_plain(self, template: str, policy: TrustPolicy) -> bool:
        """Whether messages may go the short way: nothing but topic and context has to be looked at."""
        special = template in self.trailer or template in self.republished or self.device_property
        return policy == TrustPolicy.CONTINUE and not special


class DeviceTopic:
    """One device on one topic.

    Attributes:
        id: its number in the message log.
        boots: of the device.
        tails: the device's boots by the part of the nonce that an answer to a command carries.
        plain: its messages may go the short way. policy: what is done with their context.
        plan, threshold_id, rate: what the head sampler decides by, as of its `version`; see `DeviceTopics.renew_plan`.
            rate: flags that are needed, lowest random part that is kept, and the reason of what is left out; None where
            the rate does not decide alone.
        deriver: see `DeviceTopics.deriver`.
    """

    __slots__ = (
        "boots", "deriver", "device_id", "id", "plain", "plan", "policy", "rate", "tails", "template", "threshold_id",
        "version",
    )  # fmt: skip

    plan: SamplingPlan

    def __init__(
        self, row: DeviceTopicRow, boots: DeviceBoots, tails: dict[bytes, bytes], policy: TrustPolicy, *, plain: bool
    ) -> None:
        self.id = row.id
        self.device_id = row.device_id
        self.template = row.template
        self.boots = boots
        self.tails = tails
        self.policy = policy
        self.plain = plain
        self.version = -1
        self.rate: tuple[int, bytes, int] | None = None
        self.threshold_id = 0
        self.deriver: Deriver | None = None


class DeviceTopics(BatchParticipant):
    """Devices by topic.

    Args:
        tails: the boots of a device by the part of the nonce that answers carry; the dict stays the device's.
        max_topics: in memory; the message log has all of them.
    """

    def __init__(
        self,
        log: RetryingReads,
        rules: TopicRules,
        tenant: Tenant,
        boots: BootRuns,
        tails: Callable[[str], dict[bytes, bytes]],
        plans: SamplingPlans,
        max_topics: int = 200_000,
    ) -> None:
        self.rules = rules
        self.plans = plans
        self.boots = boots
        self.by_topic: dict[bytes, DeviceTopic] = {}
        self._log = log
        self._tenant = tenant
        self._tails = tails
        self._max_topics = max_topics
        self._others: set[bytes] = set()
        self._unsaved: list[DeviceTopicRow] = []
        self._last_id = log.last_place()

    def find(self, topic: bytes) -> DeviceTopic | None:
        """The device of a topic, None when it is no reading's; those in `by_topic` are known already."""
        found = self.by_topic.get(topic)
        if found is None and topic not in self._others:
            found = self._open(topic, topic)
        return found

    def of_device(self, topic: bytes, device_id: str) -> DeviceTopic | None:
        """As `find`, where the device is named by something else than the topic."""
        key = b"%b\0%b" % (topic, device_id.encode())  # no topic holds a NUL
        return self.by_topic.get(key) or self._open(topic, key, device_id)

    def renew_plan(self, device_topic: DeviceTopic) -> None:
        """Work out again what the head sampler decides by."""
        version = self.plans.head.version
        plan, threshold_id = self.plans.plan(device_topic.device_id, device_topic.policy)
        device_topic.plan, device_topic.threshold_id = plan, threshold_id
        device_topic.rate = (plan.required_flags, plan.threshold_bytes, plan.refusal) if plan.rate_alone else None
        device_topic.version = version

    def deriver(self, device_topic: DeviceTopic) -> Deriver:
        """What derives the ids of messages without ids of their own; made when the first one comes."""
        made = device_topic.deriver = Deriver(self._tenant.key, self._tenant.name, device_topic.device_id)
        return made

    def save(self, connection: sqlite3.Connection) -> None:
        """Write those that the message log does not have yet."""
        MessageLog(connection).add_places(self._unsaved)

    def committed(self) -> None:
        """See `BatchParticipant`; between batches nothing else refers to them, so they are bounded here."""
        self._unsaved.clear()
        if len(self.by_topic) > self._max_topics or len(self.boots) > 2 * self._max_topics:
            self.by_topic.clear()
            self.boots.clear()
        if len(self._others) > self._max_topics:
            self._others.clear()

    def __len__(self) -> int:
        return len(self.by_topic)

    def _open(self, topic: bytes, key: bytes, device_id: str | None = None) -> DeviceTopic | None:
        """Make what is remembered of a topic that is new here; nothing of it stays when a part of that fails."""
        if len(topic) > MAX_TOPIC_BYTES:
            return None
        row = self._row(topic, device_id)
        if row is None:
            self._others.add(topic)
            return None
        policy = self.rules.trust.policy(row.topic)
        plain = self.rules.is_plain(row.template, policy)
        made = DeviceTopic(row, self.boots.of(row.device_id), self._tails(row.device_id), policy, plain=plain)
        if row.id > self._last_id:
            self._last_id = row.id
            self._unsaved.append(row)
        self.by_topic[key] = made
        return made

    def _row(self, topic: bytes, device_id: str | None) -> DeviceTopicRow | None:
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            return None
        for template in self.rules.templates:
            named = template.match(text)
            if named is not None:
                device = named if device_id is None else device_id
                known = self._log.place_id(text, device, template.template)
                return DeviceTopicRow(known or self._last_id + 1, device, text, template.template)
        return None
