"""The command `motetrace`. Imports stand inside the commands, so that --help answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from motetrace_host import __version__
from motetrace_host.commands.db import db
from motetrace_host.commands.device import device as device_commands
from motetrace_host.commands.options import default_state, operator_errors, print_report, setting_option, state_option
from motetrace_host.commands.sampling import collector_config_command, sampling_commands
from motetrace_host.settings import SETTINGS

_EXIT_DISK = 1

_RUN_HELP = """Follow readings from broker to spans, until SIGTERM or Ctrl-C.

Every message on the topics is written to the ledger before it is acknowledged, gets its device_publish and
broker_forward spans, and is counted when its context is broken or missing.

\b
Examples:
  motetrace run --topic 'devices/{device_id}/telemetry'
  motetrace run --broker mqtts://mqtt.example.org --username shim --password-file /etc/motetrace/password \\
      --topic 'site/+/{device_id}/data' --otlp http://collector:4318
  motetrace run --topic 'legacy/{device_id}/data' --republish 'legacy/{device_id}/data' 'traced/{device_id}/data'

\b
Each option can also be set as MOTETRACE_<NAME> in the environment (lists separated by commas, the two of a pair by a
space) and as <name> in a TOML file. A flag goes before the environment, that before the file:
  broker = "mqtt://broker:1883"
  topic = ["devices/{device_id}/telemetry"]
  republish = [["legacy/{device_id}/data", "traced/{device_id}/data"]]

Exit code: 0 after a clean stop, 1 when it could not go on (a full disk at the start), 2 when a setting is wrong.
"""


_LEAVE_HELP = """Take a shim out of its group for good, without losing its share.

It ends the subscriptions, works off what the broker has kept, sends the spans on, and ends the session.

Stop it first (SIGTERM), then give the settings that it ran with. A shim that only pauses need not leave: its share
waits in the broker for --session-expiry seconds.

\b
Example:
  motetrace leave --share shims --ledger redis://redis:6379/0 --key-file /etc/motetrace/key \\
      --topic 'devices/{device_id}/telemetry'

Exit code: 0 when nothing is left, 1 when it was stopped before, 2 when a setting is wrong.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="motetrace")
def main() -> None:
    """Follow one sensor reading from the microcontroller to the database, and find where it was lost.

    \b
    Start here:
      motetrace run --topic 'devices/{device_id}/telemetry'      follow readings (see: motetrace run --help)
      motetrace devices                                          who was heard, what is missing
      motetrace trace sensor-0042 --seq 17                       one reading, hop by hop
      motetrace sampling why sensor-0042                         which stage drops its traces
      motetrace db show                                          how large and how old the database is
      motetrace device install --with mqtt5                      put the device library on a board
    """


for command in (device_commands, sampling_commands, collector_config_command, db):
    main.add_command(command)


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    for setting in reversed(SETTINGS):
        command = setting_option(setting)(command)
    return command


@main.command(help=_RUN_HELP, short_help="Follow readings from broker to spans, until stopped.")
@_with_settings
@click.option("--config", metavar="FILE", help="TOML file with any of these settings; none is read unless named.")
def run(**flags: Any) -> None:
    _run(flags, leaving=False)


@main.command(help=_LEAVE_HELP, short_help="Take a shim out of its group, without losing its share.")
@_with_settings
@click.option("--config", metavar="FILE", help="TOML file with any of these settings; none is read unless named.")
def leave(**flags: Any) -> None:
    _run(flags, leaving=True)


def _run(flags: dict[str, Any], *, leaving: bool) -> None:
    import os

    from motetrace_host.core.errors import StoreError
    from motetrace_host.shim import config

    with operator_errors():
        settings = config.load(flags, os.environ, default_state())
        from motetrace_host.commands.run import run as run_shim

        try:
            code = run_shim(settings, leaving=leaving)
        except StoreError as error:
            click.echo(f"motetrace: {error}; then start it again", err=True)
            sys.exit(_EXIT_DISK)
    sys.exit(code)


@main.command(short_help="Print what is known of one reading, hop by hop.")
@click.argument("device")
@click.option("--seq", required=True, type=click.IntRange(0, 2**32 - 1), help="Number of the message within its boot.")
@click.option("--boot", metavar="NONCE", help="Only this boot: 10 hex digits.")
@state_option
@click.option(
    "--key-file",
    envvar="MOTETRACE_KEY_FILE",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    help="Key to derive trace-ids with. [default: STATE/key]",
)
@click.option("--tenant", envvar="MOTETRACE_TENANT", default="", metavar="NAME", help="As given to motetrace run.")
def trace(device: str, seq: int, boot: str | None, state: Path, key_file: Path | None, tenant: str) -> None:
    """Print what is known of one reading: its trace-id, what the ledger saw, and its waterfall.

    One block for each boot of the device that has this number. When the ledger does not know it, the nearest
    numbers it does know are told, and the exit code is 1.

    \b
    Examples:
      motetrace trace sensor-0042 --seq 17
      motetrace trace sensor-0042 --seq 17 --boot 3f2a9c01d4
    """
    from motetrace_host.commands import trace as reading

    print_report(
        lambda: reading.report(
            state, key_file or state / "key", tenant, device, seq, boot, width=_width(), colour=sys.stdout.isatty()
        )
    )


@main.command(short_help="Print what was seen, lost and rejected of each device.")
@click.argument("device", required=False)
@click.option("--lost", is_flag=True, help="Only boots with losses.")
@click.option(
    "--sort",
    type=click.Choice(["lost", "latest", "seen", "device"]),
    default="lost",
    show_default=True,
    help="What comes first: the most losses, the latest, the most seen, or the names in order.",
)
@click.option("--limit", type=click.IntRange(1), metavar="BOOTS", help="Show so many. [default: 50; with --json all]")
@click.option("--all", "everything", is_flag=True, help="Show all.")
@click.option("--json", "as_json", is_flag=True, help="For programs: everything that is known, as JSON.")
@state_option
def devices(
    device: str | None, lost: bool, sort: str, limit: int | None, everything: bool, as_json: bool, state: Path
) -> None:
    """Print per device and boot how many messages were seen, came twice, are lost, and what was rejected.

    A second table tells what the stages behind the shim report. With a device: all that is known of it, boot by boot,
    with the numbers that were lost.

    \b
    Examples:
      motetrace devices
      motetrace devices --lost --limit 10
      motetrace devices sensor-0042
      motetrace devices --json
    """
    from motetrace_host.commands import devices as device_report

    most = 0 if everything or (as_json and limit is None) else limit or device_report.LIMIT
    print_report(lambda: device_report.report(state, device_report.Wanted(device, lost, sort, most, as_json)))


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((100, 24)).columns
