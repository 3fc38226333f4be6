"""What must not have happened beside the counting, and figures that say how much the soak asked."""

from __future__ import annotations

from collections.abc import Sequence

from tests.soak.broker import SoakBroker
from tests.soak.evidence import LedgerEvidence, LogEvidence
from tests.soak.faults import Faults
from tests.soak.fleet import Fleet
from tests.soak.shim import SoakShim
from tests.soak.verdict import Row

_BROKEN = ('"pipeline_failed"', '"message_broke_the_reader"', '_defect"')


def rows(
    shims: Sequence[SoakShim],
    broker: SoakBroker,
    fleet: Fleet,
    faults: Faults,
    ledger: LedgerEvidence,
    log: LogEvidence,
) -> list[Row]:
    """The rest of the table."""
    return [
        Row("rejections", log.sums["rejected"], 0),
        Row("spans shed", log.sums["shed"], 0),
        Row("contradictions on disk", len(log.faults), 0),
        *_of_shims(shims),
        Row("complaints of devices about the broker", len(fleet.complaints), 0),
        Row("messages that the broker says it dropped", len(broker.warnings()), 0),
        Row("faults that could not be carried out", len(faults.errors), 0),
        Row("sent again by devices, with DUP", fleet.republished),
        Row("deliveries that the ledger knew already", ledger.duplicates),
        Row("numbers that came late", ledger.late),
        Row("messages whose traces were not kept", log.unkept),
        Row("steps back of the clock in the log", log.steps_back),
        Row("boots of devices", len(fleet.boots)),
    ]


def _of_shims(shims: Sequence[SoakShim]) -> list[Row]:
    logs = [shim.log() for shim in shims]
    ends = [end for shim in shims for end in shim.own_ends]
    working = [end for end in ends if not end.disk_full]
    return [
        Row("tracebacks in the shims' logs", sum(text.count("Traceback") for text in logs), 0),
        Row("log lines of a broken pipeline or message", sum(text.count(word) for text in logs for word in _BROKEN), 0),
        Row("ends of a shim that went wrong", sum(len(shim.bad_ends) for shim in shims), 0),
        Row("ends of a shim by itself, its disk working", len(working), 0),
        Row("  its disk full", len(ends) - len(working)),
        Row("starts of shims", sum(shim.starts for shim in shims)),
    ]
