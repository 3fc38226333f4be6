"""`motetrace sampling ...`, `motetrace collector-config`, as people type them; imports stand inside: --help is fast."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motetrace_host.commands.options import Command, operator_errors, setting_option, state_option
from motetrace_host.settings import SETTINGS

if TYPE_CHECKING:
    from motetrace_host.commands.sampling_requests import DeviceAccess
    from motetrace_host.core.addresses import BrokerUrl

_BROKER = ("broker", "username", "password_file", "ca_file", "client_cert", "client_key", "prefix")


@click.group(name="sampling", short_help="Ask devices to sample, and find what drops traces.")
def sampling_commands() -> None:
    """Say what a device samples, and find out where its traces are dropped.

    \b
    Start here:
      motetrace sampling set sensor-0042 --rate 100% --for 10m    all of its traces, for ten minutes
      motetrace sampling why sensor-0042                          which stage drops its traces
    """


def _broker_options(command: Command) -> Command:
    """The device, and the settings of `motetrace run` that say how its side topics are reached."""
    for setting in reversed([setting for setting in SETTINGS if setting.name in _BROKER]):
        command = setting_option(setting)(command)
    return click.argument("device")(command)


def _wait_option(command: Command) -> Command:
    return click.option(
        "--wait", "wait_s", type=click.FloatRange(0.1, 3600), default=30.0, show_default=True, metavar="SECONDS",
        help="How long to wait for the device's answer.",
    )(command)  # fmt: skip


@sampling_commands.command(name="set", short_help="Ask a device to sample at a rate for some time.")
@_broker_options
@click.option("--rate", default="100%", show_default=True, metavar="RATE", help="100%, 0.1, 1/1000; 0 samples nothing.")
@click.option("--for", "length", default="10m", show_default=True, metavar="TIME", help="90s, 10m, 2h, 7d; 0: no end.")
@_wait_option
def set_command(device: str, rate: str, length: str, wait_s: float, **access: Any) -> None:
    """Ask a device to sample at a rate for some time, wait for its answer, and say what was applied.

    The request is retained: a device that is away applies it when it connects. The shim hears it too, and keeps what
    the device samples, whatever its own rate is.

    \b
    Examples:
      motetrace sampling set sensor-0042
      motetrace sampling set sensor-0042 --rate 10% --for 2h --broker mqtts://mqtt.example.org --username ops \\
          --password-file /etc/motetrace/password

    Exit code: 0 when the device applied it, 1 when it refused, 2 when the broker or an option is not as it must be,
    3 when the device gave no answer; the request stays then.
    """
    from motetrace_host.commands import duration, sampling_requests
    from motetrace_host.core.sampling import threshold
    from motetrace_host.core.sampling.request import MAX_FOR_S

    with operator_errors():
        device_access = _access(device, access)
        with operator_errors("--rate"):
            share = threshold.parse_rate(rate)
        with operator_errors("--for"):
            for_s = duration.parse(length, MAX_FOR_S)
        sys.exit(sampling_requests.set_rate(device_access, share, for_s, wait_s))


@sampling_commands.command(name="clear", short_help="Take a request back: the device samples as it is configured.")
@_broker_options
@_wait_option
def clear_command(device: str, wait_s: float, **access: Any) -> None:
    """Take a request back, wait for the device's answer: it then samples as it is configured again.

    \b
    Examples:
      motetrace sampling clear sensor-0042

    Exit code: as of motetrace sampling set.
    """
    from motetrace_host.commands import sampling_requests

    with operator_errors():
        sys.exit(sampling_requests.clear(_access(device, access), wait_s))


@sampling_commands.command(name="why", short_help="Say which stage drops a device's traces.")
@_broker_options
@state_option
def why_command(device: str, state: Path, **access: Any) -> None:
    """Say which stage drops a device's traces: one line for each, in the order they pass them.

    \b
    Examples:
      motetrace sampling why sensor-0042

    Exit code: 0 when no stage blocks them, 1 when one does, 2 when the broker or the state could not be asked.
    """
    from motetrace_host.commands import sampling_requests, shim_view

    with operator_errors():
        sys.exit(sampling_requests.explain(_access(device, access), shim_view.load(state, device)))


@click.command(name="collector-config", short_help="Print a Collector configuration that samples as ours does.")
@click.option("--baseline", default="100%", show_default=True, metavar="RATE", help="Rate for what no rule keeps.")
@click.option(
    "--slow",
    "slow_ms",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="MS",
    help="Keep traces that take this long, 0: no rule.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(1, 3600),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the spans of a trace.",
)
@click.option(
    "--traces-per-second",
    type=click.IntRange(1, 10**7),
    default=1000,
    show_default=True,
    metavar="N",
    help="What memory and caches are sized for.",
)
@click.option("--target", "devices", multiple=True, metavar="DEVICE", help="Keep all traces of a device. Repeatable.")
@click.option(
    "--endpoint",
    default="http://jaeger:4318",
    show_default=True,
    metavar="URL",
    help="Where the Collector sends what is kept, OTLP over HTTP.",
)
@click.option(
    "--gateway-hosts",
    default="",
    metavar="HOST:PORT,...",
    help="Several Collectors: print the tier before them too, which sends each trace to one of these.",
)
def collector_config_command(baseline: str, gateway_hosts: str, **given: Any) -> None:
    """Print an OpenTelemetry Collector (contrib) configuration that keeps what motetrace's tail sampling keeps.

    For those who sample there: run the shim with --sample 100% and --tail off, and let it and the stages send here.

    \b
    Examples:
      motetrace collector-config --baseline 1% --slow 500 > collector.yaml
      motetrace collector-config --baseline 1% --gateway-hosts gateway-1:4317,gateway-2:4317
    """
    from motetrace_host.commands import collector_config
    from motetrace_host.core.sampling import threshold
    from motetrace_host.core.sampling.tail.rules import TailRules

    with operator_errors("--baseline"):
        rate = threshold.parse_rate(baseline)
    rules = TailRules(slow_ms=given["slow_ms"], baseline=threshold.of_rate(rate), wait_s=given["wait_s"])
    hosts = tuple(host.strip() for host in gateway_hosts.split(",") if host.strip())
    with operator_errors("--gateway-hosts"):
        settings = collector_config.CollectorSettings(
            rules, given["traces_per_second"], given["devices"], given["endpoint"], hosts
        )
    click.echo(collector_config.render(settings), nl=False)


def _access(device: str, flags: Mapping[str, object]) -> DeviceAccess:
    from motetrace_host.commands.sampling_requests import DeviceAccess
    from motetrace_host.core.mqtt.connection import Broker
    from motetrace_host.network import tls
    from motetrace_host.shim import config
    from motetrace_host.storage import secret_files

    values = config.some(_BROKER, flags, os.environ)
    ca_file, certificate, key = (str(values[name] or "") for name in ("ca_file", "client_cert", "client_key"))
    password = secret_files.load_password(values["password_file"], "--password-file")
    url: BrokerUrl = values["broker"]
    broker = Broker(url.host, url.port, url.tls, ca_file, values["username"], password, certificate, key)
    return DeviceAccess(broker, tls.of(broker), values["prefix"], device)
