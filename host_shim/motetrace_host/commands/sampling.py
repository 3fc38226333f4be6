"""`motetrace sampling ...`, `motetrace collector-config`, as people type them; imports stand inside: --help is fast."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from motetrace_host.commands.options import state_option

if TYPE_CHECKING:
    from motetrace_host.commands.sampling_requests import Side
    from motetrace_host.commands.sampling_view import ShimView

ShimViews = Callable[["Path | None", str], "ShimView | None"]
"""From the state folder (None: the default) and a device id: what the shim knows; None: no shim, or no such device."""
Command = Callable[..., Any]
T = TypeVar("T")


def group(shim_view: ShimViews) -> click.Group:
    """Make the group `sampling`; `shim_view` is asked by `why`."""

    @click.group()
    def sampling() -> None:
        """Say what a device samples, and find out where its traces are dropped.

        \b
        Start here:
          motetrace sampling set sensor-0042 --rate 100% --for 10m    all of its traces, for ten minutes
          motetrace sampling why sensor-0042                          which stage drops its traces
        """

    sampling.add_command(set_command)
    sampling.add_command(clear_command)
    sampling.add_command(_why_command(shim_view))
    return sampling


def _broker_options(command: Command) -> Command:
    for option in reversed(
        (
            click.argument("device"),
            click.option("--broker", envvar="MOTETRACE_BROKER", default="mqtt://127.0.0.1:1883", metavar="URL",
                         show_default=True, help="The MQTT 5 broker, as given to motetrace run."),
            click.option("--username", envvar="MOTETRACE_USERNAME", default="", metavar="NAME",
                         help="User name at the broker."),
            click.option("--password-file", envvar="MOTETRACE_PASSWORD_FILE", metavar="FILE",
                         type=click.Path(path_type=Path), help="File whose first line is the password at the broker."),
            click.option("--ca-file", envvar="MOTETRACE_CA_FILE", metavar="FILE", type=click.Path(path_type=Path),
                         help="Certificates that the broker's is checked against (PEM), with mqtts://."),
            click.option("--client-cert", envvar="MOTETRACE_CLIENT_CERT", metavar="FILE",
                         type=click.Path(path_type=Path), help="Certificate that we show to the broker (PEM)."),
            click.option("--client-key", envvar="MOTETRACE_CLIENT_KEY", metavar="FILE",
                         type=click.Path(path_type=Path), help="Private key of --client-cert (PEM), mode 0600."),
            click.option("--prefix", envvar="MOTETRACE_PREFIX", default="motetrace/", metavar="TOPIC/",
                         show_default=True, help="Where the devices' side topics begin."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def _wait_option(command: Command) -> Command:
    return click.option(
        "--wait", "wait_s", type=click.FloatRange(0.1, 3600), default=30.0, show_default=True, metavar="SECONDS",
        help="How long to wait for the device's answer.",
    )(command)  # fmt: skip


@click.command(name="set", short_help="Ask a device to sample at a rate for some time.")
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

    side = _side(device, **access)
    share = _checked("--rate", lambda: threshold.parse_rate(rate))
    for_s = _checked("--for", lambda: duration.parse(length, MAX_FOR_S))
    sys.exit(sampling_requests.set_rate(side, share, for_s, wait_s))


@click.command(name="clear", short_help="Take a request back: the device samples as it is configured.")
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

    sys.exit(sampling_requests.clear(_side(device, **access), wait_s))


def _why_command(shim_view: ShimViews) -> click.Command:
    @click.command(name="why", short_help="Say which stage drops a device's traces.")
    @_broker_options
    @state_option
    def why_command(device: str, state: Path | None, **access: Any) -> None:
        """Say which stage drops a device's traces: one line for each, in the order they pass them.

        \b
        Examples:
          motetrace sampling why sensor-0042

        Exit code: 0 when no stage blocks them, 1 when one does, 2 when the broker or the state could not be asked.
        """
        from motetrace_host.commands import sampling_requests

        sys.exit(sampling_requests.explain(_side(device, **access), shim_view(state, device)))

    return why_command


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

    rate = _checked("--baseline", lambda: threshold.parse_rate(baseline))
    rules = TailRules(slow_ms=given["slow_ms"], baseline=threshold.of_rate(rate), wait_s=given["wait_s"])
    hosts = tuple(host.strip() for host in gateway_hosts.split(",") if host.strip())
    settings = _checked(
        "--gateway-hosts",
        lambda: collector_config.CollectorSettings(
            rules, given["traces_per_second"], given["devices"], given["endpoint"], hosts
        ),
    )
    click.echo(collector_config.render(settings), nl=False)


def _side(
    device: str, broker: str, username: str, password_file: Path | None, prefix: str, **files: Path | None
) -> Side:
    from motetrace_host import settings
    from motetrace_host.commands.sampling_requests import Side
    from motetrace_host.core.mqtt.connection import Broker
    from motetrace_host.network import tls
    from motetrace_host.storage import secret_files

    url = _checked("--broker", lambda: settings.broker(broker))
    checked_prefix = _checked("--prefix", lambda: settings.prefix(prefix))
    password = _checked("", lambda: secret_files.load_password(password_file, "--password-file"))
    tls_files = {name: str(path) for name, path in files.items() if path}
    access = Broker(url.host, url.port, url.tls, username=username, password=password, **tls_files)
    return Side(access, _checked("", lambda: tls.of(access)), checked_prefix, device)


def _checked(option: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except ValueError as error:
        click.echo(f"motetrace: {option}: {error}" if option else f"motetrace: {error}", err=True)
        sys.exit(2)
