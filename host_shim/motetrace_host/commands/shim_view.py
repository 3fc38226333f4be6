"""What the shim has on the sampling of one device, in its database and settings, for `motetrace sampling why`."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from motetrace_host.commands.state_folder import opened
from motetrace_host.core.errors import OperatorError
from motetrace_host.core.messages import record
from motetrace_host.core.sampling.head import HeadSettings
from motetrace_host.core.sampling.tail.rules import TailRules
from motetrace_host.core.wire.trust import TrustPolicy
from motetrace_host.storage.forward_cursor import ForwardCursor
from motetrace_host.storage.message_log import SPANS_PER_MESSAGE, MessageLog
from motetrace_host.storage.run_settings import RunSettings
from motetrace_host.storage.tail_decisions import TailDecisionLog


@dataclass(frozen=True, slots=True)
class ShimView:
    """One device, as the shim sees it.

    Attributes:
        head: the settings in force.  rules: the tail's, None where it is off.
        policy: a `TrustPolicy`, of the topic that the device's last message came on.
        now_unix_ns: the clock.
        target_until_unix_ns: when the shim's target for this device ends; 0: as the wish says that the broker keeps.
        since_unix_s: since when it counts.
        received: messages of this device.
        head_counts: how many of those by the head's `Reason` as a number.
        tail_counts: how many of those that were decided about by the tail's, 0: not kept.
        otlp: the backend's address, "" for none.
        spans_waiting, spans_refused: of all devices: not sent yet, and refused by the backend.
    """

    head: HeadSettings
    rules: TailRules | None = None
    policy: int = TrustPolicy.CONTINUE
    now_unix_ns: int = 0
    target_until_unix_ns: int = 0
    since_unix_s: int = 0
    received: int = 0
    head_counts: Mapping[int, int] = field(default_factory=dict)
    tail_counts: Mapping[int, int] = field(default_factory=dict)
    otlp: str = ""
    spans_waiting: int = 0
    spans_refused: int = 0

    @property
    def targeted(self) -> bool:
        """A target for this device is in force."""
        return self.now_unix_ns < self.target_until_unix_ns

    @property
    def kept(self) -> int:
        """Messages of this device that the head kept."""
        return sum(count for reason, count in self.head_counts.items() if reason >= 16)


def load(folder: Path, device_id: str) -> ShimView | None:
    """Look at a state folder.

    Returns:
        None when there is no shim, or it never heard of the device.
    """
    try:
        with opened(folder) as connection:
            return _view(connection, device_id)
    except OperatorError:
        return None


def _view(connection: sqlite3.Connection, device_id: str) -> ShimView | None:
    log = MessageLog(connection)
    places = set(log.places(device_id))
    if not places:
        return None
    noted = RunSettings(connection).all()
    head, tail, since_unix_s, policy = _counts(connection, log, places)
    waiting, refused = _sending(connection, log, noted.get("otlp", ""))
    return ShimView(
        _head(noted),
        rules_of(noted.get("tail", "")),
        now_unix_ns=time.time_ns(),
        since_unix_s=since_unix_s,
        received=sum(head.values()),
        head_counts=head,
        tail_counts=tail,
        otlp=noted.get("otlp", ""),
        spans_waiting=waiting,
        spans_refused=refused,
        policy=policy,
    )


def _head(noted: Mapping[str, str]) -> HeadSettings:
    """The settings as `app` noted them; the defaults where an older one did not."""
    usual = HeadSettings()
    return HeadSettings(
        int(noted.get("sample", usual.threshold)),
        int(noted.get("sample_limit", usual.limit_per_s)),
        int(noted.get("sample_flag_cap", usual.cap_per_minute)),
        int(noted.get("sample_device_rate", usual.device_threshold)),
    )


def rules_of(text: str) -> TailRules | None:
    """Read the rules as `shim.build.rules_text` writes them; "" is none: the tail is off."""
    if not text:
        return None
    known = {field.name for field in fields(TailRules)}
    return TailRules(**{name: value for name, value in json.loads(text).items() if name in known})


def _counts(
    connection: sqlite3.Connection, log: MessageLog, places: set[int]
) -> tuple[Counter[int], Counter[int], int, int]:
    """Messages of the places by the head's reason and by the tail's, since when the log has any (Unix s), and by which
    policy the last of them was treated."""
    head: Counter[int] = Counter()
    tail: Counter[int] = Counter()
    decisions = TailDecisionLog(connection)
    since_unix_s = policy = 0
    for block in log.blocks():
        if not since_unix_s:
            since_unix_s = record.unpack(block.records).received_unix_ns // 10**9
        numbers = [number for place in places for number in record.numbers_at(block.records, place)]
        if numbers:
            policy = record.split_extras(block.extras).get(max(numbers), record.NO_EXTRA).policy
        head.update(block.records[number * record.SIZE + record.DECISION_AT] for number in numbers)
        if numbers:
            reasons = decisions.find(block.id) or b""
            tail.update(reasons[number] for number in numbers if number < len(reasons))
    return head, tail, since_unix_s, policy


def _sending(connection: sqlite3.Connection, log: MessageLog, target: str) -> tuple[int, int]:
    """How many spans wait to be sent to a backend, and how many it refused; of all devices."""
    if not target:
        return 0, 0
    cursor = ForwardCursor(connection, target)
    state, at = cursor.state(), cursor.position()
    waiting, offset = state.pending_spans, at.offset
    for block in log.blocks(at.block):
        waiting += SPANS_PER_MESSAGE * len(record.kept(block.records, offset))
        offset = 0
    return waiting, state.refused
