"""Which device on which topic, and what is remembered of it from one message to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from motetrace_host.core.messages.clones import BootTurns
from motetrace_host.core.messages.derived_ids import Deriver
from motetrace_host.core.mqtt.topics import TopicTemplate
from motetrace_host.core.sampling.head import Plan
from motetrace_host.core.wire.trust import Policy, Trust
from motetrace_host.shim.sampling_plans import SamplingPlans
from motetrace_host.storage.message_log import PlaceRow

MAX_TOPIC_BYTES = 1_024  # so that places in memory have a bound in bytes, too; MQTT's own is 65,535


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose devices these are: name (0..255 bytes) and secret key (16..64 bytes)."""

    name: str
    key: bytes


class PlaceLog(Protocol):
    """What is needed of the message log."""

    def place_id(self, topic: str, device_id: str, template: str) -> int: ...
    def last_place(self) -> int: ...


class BootRun:
    """The numbers of one boot that the batch in work brought, as runs.

    Attributes:
        start, end: the run that grows, meaningless unless `open`.
        open: it has runs of the batch in work; to be taken back when that is done.
        before: the runs before the one that grows; of an earlier batch unless `open`.
        known: its boot is in the ledger. checked: `Nonces` was asked about it.
        expected_first: the number it is known to have begun with, None when nobody heard it begin.
    """

    __slots__ = (
        "before", "boot_nonce", "checked", "device_id", "end", "expected_first", "inferred", "known", "open", "start",
    )  # fmt: skip

    def __init__(self, device_id: str, boot_nonce: bytes) -> None:
        self.device_id = device_id
        self.boot_nonce = boot_nonce
        self.start = self.end = 0
        self.before: list[tuple[int, int]] = []
        self.open = False
        self.known = self.checked = False
        self.inferred = False
        self.expected_first: int | None = None

    def begin(self, seq: int) -> None:
        """Begin a run; the one that grew is kept, those of the batch before are not."""
        if self.open:
            self.before.append((self.start, self.end))
        elif self.before:
            self.before.clear()
        self.start = self.end = seq
        self.open = True


class DeviceBoots:
    """How the boots of one device id take turns; the same on all of its topics.

    Attributes:
        last: the boot of the message read last, None before the first.
        known: what `core.clones` remembers, None while there was one boot only.
    """

    __slots__ = ("known", "last")

    def __init__(self) -> None:
        self.last: BootRun | None = None
        self.known: BootTurns | None = None


class DeviceTopic:
    """One device on one topic.

    Attributes:
        id: its number in the message log.
        version, plan, threshold_id: what the head decides by, as of that version of it (see `DeviceTopics.replan`).
        alone, needs, cut, left_out: of the plan.
        plain: its messages may go the short way: nothing but the context is to be looked at.
        policy: what is done with their context.
        boots: the runs of its boots by nonce.
        tails: its boots by the part of the nonce that an answer to a command carries.
        turns: of the device.
    """

    __slots__ = (
        "_deriver", "_tenant", "alone", "boots", "cut", "device_id", "id", "left_out", "needs", "plain", "plan",
        "policy", "tails", "template", "threshold_id", "topic", "turns", "version",
    )  # fmt: skip

    plan: Plan

    def __init__(
        self,
        row: PlaceRow,
        plain: bool,
        tails: dict[bytes, bytes],
        tenant: Tenant,
        turns: DeviceBoots,
        policy: Policy = Policy.CONTINUE,
    ) -> None:
        self.version = -1
        self.turns = turns
        self.alone, self.needs, self.cut, self.left_out, self.threshold_id = False, 0, b"", 0, 0
        self.id = row.id
        self.device_id = row.device_id
        self.topic = row.topic
        self.template = row.template
        self.plain = plain
        self.policy = policy
        self.tails = tails
        self.boots: dict[bytes, BootRun] = {}
        self._deriver: Deriver | None = None
        self._tenant = tenant

    @property
    def deriver(self) -> Deriver:
        """Made when a message without ids of its own comes for the first time."""
        if self._deriver is None:
            self._deriver = Deriver(self._tenant.key, self._tenant.name, self.device_id)
        return self._deriver


class DeviceTopics:
    """DeviceTopics by topic.

    Args:
        templates: tried in this order.
        is_plain: whether messages of a template may go the short way.
        tails: the boots of a device by the part of the nonce that answers carry; the dict stays the device's.
        live: boots (device, nonce) that were heard to begin.
        trust: what is done with contexts, by topic; messages of a topic with another policy than `continue` go the
            long way.
        max_places: in memory; the message log has all of them.
    """

    def __init__(
        self,
        log: PlaceLog,
        templates: Sequence[TopicTemplate],
        tenant: Tenant,
        is_plain: Callable[[str], bool],
        tails: Callable[[str], dict[bytes, bytes]],
        plans: SamplingPlans,
        live: AbstractSet[tuple[str, bytes]] = frozenset(),
        trust: Trust | None = None,
        max_places: int = 200_000,
    ) -> None:
        self._live = live
        self._max_places = max_places
        self.plans = plans
        self._log = log
        self._templates = templates
        self._tenant = tenant
        self._is_plain = is_plain
        self._tails = tails
        self._trust = trust or Trust()
        self.by_topic: dict[bytes, DeviceTopic] = {}
        self._strangers: set[bytes] = set()
        self._boots: dict[tuple[str, bytes], BootRun] = {}
        self._turns: dict[str, DeviceBoots] = {}
        self._unsaved: list[PlaceRow] = []
        self._last = log.last_place()

    def find(self, topic: bytes) -> DeviceTopic | None:
        """The place of a topic, None when it is no reading's; those in `by_topic` are known already."""
        place = self.by_topic.get(topic)
        if place is None and topic not in self._strangers:
            place = self._open(topic, topic)
        return place

    def replan(self, place: DeviceTopic) -> None:
        """Bring the plan of a place up to date."""
        place.plan, place.threshold_id = self.plans.plan(place.device_id, place.policy)
        place.alone, place.needs, place.cut = place.plan.alone, place.plan.needs, place.plan.cut
        place.left_out = place.plan.left_out
        place.version = self.plans.head.version

    def of_device(self, topic: bytes, device_id: str) -> DeviceTopic | None:
        """The place of a topic where something else than the topic says which device it was."""
        key = b"%b\0%b" % (topic, device_id.encode())  # no topic holds a NUL
        return self.by_topic.get(key) or self._open(topic, key, device_id)

    def is_reading(self, topic: str) -> bool:
        """Whether a topic is one of those that are followed."""
        return len(topic.encode()) <= MAX_TOPIC_BYTES and any(one.match(topic) for one in self._templates)

    def boot(self, place: DeviceTopic, boot_nonce: bytes) -> BootRun:
        """The runs of a boot; one device's boots are the same on all of its topics."""
        run = place.boots.get(boot_nonce)
        if run is None:
            key = (place.device_id, boot_nonce)
            run = self._boots.get(key)
            if run is None:
                run = self._boots[key] = BootRun(*key)
                run.expected_first = 1 if key in self._live else None
            place.boots[boot_nonce] = run
        return run

    def unsaved(self) -> list[PlaceRow]:
        """Those that the message log does not have yet."""
        return self._unsaved

    def saved(self) -> None:
        """It has them now; between batches nothing else refers to places, so they can be bounded here."""
        self._unsaved.clear()
        self.plans.saved()
        if len(self.by_topic) > self._max_places or len(self._boots) > 2 * self._max_places:
            self.by_topic.clear()
            self._boots.clear()
            self._turns.clear()
        if len(self._strangers) > self._max_places:
            self._strangers.clear()

    def __len__(self) -> int:
        return len(self.by_topic)

    def _open(self, topic: bytes, key: bytes, device_id: str | None = None) -> DeviceTopic | None:
        if len(topic) > MAX_TOPIC_BYTES:
            return None
        row = self._row(topic, device_id)
        if row is None:
            self._strangers.add(topic)
            return None
        policy = self._trust.of(row.topic)
        plain = device_id is None and policy == Policy.CONTINUE and self._is_plain(row.template)
        turns = self._turns.setdefault(row.device_id, DeviceBoots())
        place = DeviceTopic(row, plain, self._tails(row.device_id), self._tenant, turns, policy)
        self.by_topic[key] = place
        return place

    def _row(self, topic: bytes, device_id: str | None) -> PlaceRow | None:
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            return None
        for template in self._templates:
            named = template.match(text)
            if named is not None:
                device = named if device_id is None else device_id
                known = self._log.place_id(text, device, template.template)
                if known:
                    return PlaceRow(known, device, text, template.template)
                self._last += 1
                row = PlaceRow(self._last, device, text, template.template)
                self._unsaved.append(row)
                return row
        return None
