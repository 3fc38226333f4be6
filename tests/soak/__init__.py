"""The soak: a fleet publishes, everything around it breaks at random, and at the end two counts must be one.

    python -m tests.soak --minutes 10 --seed 7 [--ledger redis --shims 3]

The one count is the devices' own: what the broker acknowledged to them. It is kept here and nowhere near the shim. The
other is the ledger's, the message log's and the trace backend's. To read in this order:

    schedule    which fault when: drawn from the seed, nothing else
    boot        what one device sent in one power-up, and what of it was acknowledged
    carriage    how each kind of device writes its context
    packets     MQTT, as far as a publishing device speaks it
    device      one device: a window, retries with DUP, reboots
    fleet       all of them in one thread
    broker, backend, ledger_server, shim, disk, stepped_clock    what is broken, and how it is broken fairly
    faults      carries the schedule out
    book        spans as the backend saw them
    evidence    what ledgers and message logs say afterwards
    verdict     the comparison
    health      everything else that must be zero
    soak        all of it in order
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".ci"))
