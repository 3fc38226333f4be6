"""`python -m tests.soak`: real parts on loopback under random faults, and two counts that must agree."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.soak.soak import Settings, Soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=10, help="how long faults go on (default 10); draining is extra"
    )
    parser.add_argument("--seed", type=int, help="of fleet and faults; default: drawn and told")
    parser.add_argument("--ledger", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--shims", type=int, default=1, help="more than 1: on one shared subscription, needs redis")
    parser.add_argument("--devices", type=int, default=42)
    parser.add_argument("--rate", type=float, default=1500, help="messages a second of all devices (default 1500)")
    parser.add_argument("--pace", type=float, default=1.0, help="multiplies the pauses between faults")
    parser.add_argument(
        "--bare", action="store_true", help="devices with a bare seq too; the broker is then never killed"
    )
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary one, kept when it fails")
    parser.add_argument("options", nargs="*", help="behind --: further options of `motetrace run`")
    chosen = parser.parse_args()
    if chosen.shims > 1 and chosen.ledger == "sqlite":
        parser.error("several shims need a ledger that they share: --ledger redis")
    if chosen.bare and chosen.shims > 1:
        parser.error("a bare seq is told apart by one shim that sees all of it: --bare goes with --shims 1")
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="motetrace-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    seed = random.randrange(10**6) if chosen.seed is None else chosen.seed
    settings = Settings(
        seed, chosen.minutes * 60, folder.resolve(), chosen.ledger, chosen.shims, chosen.devices, chosen.rate,
        chosen.pace, chosen.bare, tuple(chosen.options), lambda line: print(line, flush=True),
    )  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through all that is to be ended
    with Soak(settings) as soak:
        good = soak.run()
    if good and not chosen.folder:
        shutil.rmtree(folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
