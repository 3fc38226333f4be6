"""The motetrace demo: five MicroPython devices, a broker, a rule engine, a function and a database, traced end to end.

    make demo                                    or  .venv/bin/python examples/demo/demo.py
    make demo ARGS=--forever                     goes on until Ctrl-C
    make demo ARGS='--readings 200 --interval-ms 50'

Exit status: 0 when every published reading is accounted for, 1 when one is not, 2 when a part did not come up.
What it leaves in .cache/demo (traces, ledger, data, logs) stays until the next run.
"""

from __future__ import annotations

import argparse
import fcntl
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import accounting
import report
from plant import DATABASE, DEVICES, FAILURES, MEASUREMENT, MOTETRACE, ROOT, Plant

FOLDER = ROOT / ".cache" / "demo"
FAILING = "sensor-0044"
GOOD = "sensor-0042"
OURS = ("state", "logs")
LOCK = "lock"
SETTLE_S = 30
CALM_S = 0.5
FOREVER_SUMMARY_S = 10


class FolderRefused(RuntimeError):
    """The folder is another demo's at this moment, or somebody else's altogether."""


def main(arguments: list[str]) -> int:
    """Run the demo once; returns the exit status."""
    options = _options(arguments)
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    try:
        with _sole_use(options.folder), Plant(options.folder, report.part) as plant:
            return _run(plant, options)
    except KeyboardInterrupt:
        print("\nstopped before the end; nothing is left running")
        return 130
    except FolderRefused as error:
        print(error, file=sys.stderr)
        return 2
    except FAILURES as error:
        print(f"\n{error}\nlogs of all parts: {report.shown(options.folder / 'logs')}", file=sys.stderr)
        return 2


def _run(plant: Plant, options: argparse.Namespace) -> int:
    report.title("starting the parts, all on 127.0.0.1, each a process of its own")
    plant.start(options.cold_start_every)
    readings = 0 if options.forever else options.readings
    how_many = "readings until Ctrl-C" if options.forever else f"{options.readings} readings each"
    report.title(f"{len(DEVICES)} MicroPython devices, {how_many}, one every {options.interval_ms} ms at QoS 1")
    plant.start_devices(readings, options.interval_ms)
    try:
        _watch(plant, options.forever)
    except KeyboardInterrupt:
        if not options.forever:
            raise
        print()
        for device in plant.devices:
            device.stop()
    _settle(plant)
    plant.stop_in_order()
    stored = accounting.stored_seqs(plant.influxd.url, DATABASE, MEASUREMENT)
    accounts = accounting.draw_up(plant.progress, plant.state, stored)
    _show_traces(plant, accounts)
    report.table(accounts)
    words = _words(plant.state, FAILING, _seq(accounts, FAILING, "failed") or 1)
    return report.verdict(accounts, _typed(words))


def _watch(plant: Plant, forever: bool) -> None:
    """Show the running count until the devices have ended."""
    began = time.monotonic()
    next_summary = began + FOREVER_SUMMARY_S
    with report.Counter() as counter:
        while any(device.running for device in plant.devices):
            plant.check()
            counter.show(time.monotonic() - began, plant.sent, plant.acked, plant.answers)
            if forever and time.monotonic() > next_summary:
                next_summary += FOREVER_SUMMARY_S
                counter.keep()
            time.sleep(0.1)
        for device in plant.devices:
            device.finish()
        counter.show(time.monotonic() - began, plant.sent, plant.acked, plant.answers)


def _settle(plant: Plant) -> None:
    """Wait until everything that went into the broker has come out at the other end, or nothing moves any more."""
    moved, count = time.monotonic(), -1
    while True:
        plant.check()
        still_s = time.monotonic() - moved
        if plant.answers.total != count:
            moved, count = time.monotonic(), plant.answers.total
        elif still_s > SETTLE_S or (still_s > CALM_S and count >= max(plant.acked, accounting.seen(plant.state))):
            return
        time.sleep(0.05)


def _show_traces(plant: Plant, accounts: list[accounting.Account]) -> None:
    good = (GOOD, _seq(accounts, GOOD, "stored"))
    failed = (FAILING, _seq(accounts, FAILING, "failed"))
    for title, (device_id, seq) in (
        ("one reading on its way", good),
        ("one that the database refused", failed),
        ("one that met a cold start", accounting.cold_start(plant.state) or good),
    ):
        if seq is not None:
            report.title(title)
            words = _words(plant.state, device_id, seq)
            print(f"$ {_typed(words)}", flush=True)
            subprocess.run([*MOTETRACE, *words], check=False)


def _seq(accounts: list[accounting.Account], device_id: str, outcome: str) -> int | None:
    """Return seq 17 when a device has it with this outcome, else its first one, None without."""
    for account in accounts:
        seqs: set[int] = getattr(account, outcome)
        if account.device_id == device_id and seqs:
            return 17 if 17 in seqs else min(seqs)
    return None


def _words(state: Path, device_id: str, seq: int) -> list[str]:
    return ["trace", device_id, "--seq", str(seq), "--state", report.shown(state)]


def _typed(words: list[str]) -> str:
    """The command as one would type it from here."""
    return shlex.join([report.shown(Path(sys.executable).parent / "motetrace"), *words])


def _sole_use(folder: Path) -> IO[str]:
    """Empty the folder, and keep other demos out of it until the returned file is closed.

    Raises:
        FolderRefused: another demo is using it, or it holds what no demo put there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in (*OURS, LOCK))
    if foreign:
        raise FolderRefused(
            f"{folder} holds {foreign[0]!r}, and would be emptied; give a folder of its own with --folder"
        )
    lock = (folder / LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise FolderRefused(f"another demo is using {folder}; stop it, or give this one --folder") from None
    for name in OURS:
        shutil.rmtree(folder / name, ignore_errors=True)
    return lock


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=_at_least(2), default=50, metavar="N", help="per device, >= 2; default 50")
    parser.add_argument("--interval-ms", type=_at_least(1), default=200, metavar="MS", help="between them; default 200")
    parser.add_argument("--cold-start-every", type=_at_least(1), default=50, metavar="N", help="calls; default 50")
    parser.add_argument("--forever", action="store_true", help="go on until Ctrl-C, then account for everything")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="emptied first; default .cache/demo")
    return parser.parse_args(arguments)


def _at_least(lowest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < lowest:
            raise argparse.ArgumentTypeError(f"{value} is too small; it must be {lowest} or more")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
