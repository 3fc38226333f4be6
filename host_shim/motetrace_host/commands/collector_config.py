"""An OpenTelemetry Collector configuration that keeps what our tail keeps, for those who sample there.

Written against opentelemetry-collector-contrib's tail_sampling processor and loadbalancing exporter. Where the meaning
differs, a comment beside the line says so.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from motetrace_host.core.sampling.tail.rules import TailRules
from motetrace_host.core.sampling.threshold import ALWAYS, NEVER, rate_of

_HOST: Final = re.compile(r"[0-9A-Za-z._-]{1,253}:[0-9]{1,5}|\[[0-9A-Fa-f:.]{2,45}\]:[0-9]{1,5}")
_LEAST_TRACES: Final = 50_000  # the processor's own default
_CACHE_FACTOR: Final = 10  # "much greater than num_traces", so that late spans still find the verdict
_LOOPBACK: Final = "127.0.0.1"
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 (written into a configuration: the tier in front is on other machines)
_SLOW: Final = (
    "The whole trace, earliest start to latest end, by the clocks of several machines; motetrace takes the longest "
    "single span."
)
_PRIORITY: Final = (
    "What the shim marks: devices that an operator wants, and what its own tail kept for a reason. Of lost messages "
    "only its ledger knows: with --tail off nothing marks them, and they are thinned out like others."
)
_BASELINE: Final = (
    "R >= T, as in motetrace: the last 14 digits of the trace-id against the threshold. The policy `probabilistic` "
    "{{sampling_percentage: {percent}}} is cheaper, but compares an FNV hash: it keeps as many traces, and others than "
    "the shim and the SDK samplers do. The processor `probabilistic_sampler` in mode equalizing keeps the same, but "
    "span by span, so in a pipeline with it errors are thinned out too. This policy writes no `ot=th`: what is kept "
    "does not say how many it stands for."
)


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """What the configuration is made of.

    Attributes:
        rules: of the tail.
        traces_per_second: what num_traces and the decision cache are sized for, 1 or more.
        devices: ids whose traces are all kept.
        endpoint: OTLP over HTTP, where what is kept goes.
        gateway_hosts: HOST:PORT of several Collectors that sample; then the tier before them is printed too.
    """

    rules: TailRules
    traces_per_second: int = 1_000
    devices: tuple[str, ...] = ()
    endpoint: str = "http://jaeger:4318"
    gateway_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for host in self.gateway_hosts:
            if _HOST.fullmatch(host) is None:
                raise ValueError(f"{host[:80]!r} is no HOST:PORT; write for example gateway-1:4317")


def render(settings: CollectorSettings) -> str:
    """Write it: one YAML document, two (`---` between them) with gateway hosts."""
    lines = list(_sampling(settings))
    if settings.gateway_hosts:
        lines = [*_balancing(settings), "---", *lines]
    return "\n".join(lines) + "\n"


def _sampling(settings: CollectorSettings) -> Iterator[str]:
    rules = settings.rules
    traces = max(_LEAST_TRACES, settings.traces_per_second * rules.wait_s * 2)
    yield "# OpenTelemetry Collector (contrib): tail sampling as motetrace does it."
    yield "# Send it everything: the shim with --sample 100% and --tail off, the stages without a sampler."
    yield from _receiver(_EVERYWHERE if settings.gateway_hosts else _LOOPBACK)
    yield from (
        "processors:",
        "  tail_sampling:",
        "    # From the first span of a trace; motetrace counts from the message.",
        f"    decision_wait: {rules.wait_s}s",
        f"    num_traces: {traces} # whole traces in memory, twice what comes in the wait; motetrace keeps none there",
        f"    expected_new_traces_per_sec: {settings.traces_per_second}",
        "    decision_cache: # late spans follow the verdict; off by default",
        f"      sampled_cache_size: {traces * _CACHE_FACTOR}",
        f"      non_sampled_cache_size: {traces * _CACHE_FACTOR}",
        "    policies: # a trace is kept when one of them keeps it",
    )
    yield from _policies(settings)
    yield from (
        "exporters:",
        "  otlphttp:",
        f"    endpoint: {_quoted(settings.endpoint)}",
        "service:",
        "  pipelines:",
        "    traces:",
        "      receivers: [otlp]",
        "      processors: [tail_sampling]",
        "      exporters: [otlphttp]",
    )


def _policies(settings: CollectorSettings) -> Iterator[str]:
    rules = settings.rules
    if rules.errors:
        yield from _policy("errors", "status_code", "status_codes: [ERROR]")
        yield from _policy("db-errors", "string_attribute", "key: db.status", "values: [error]")
    if rules.slow_ms:
        yield from _comment(_SLOW)
        yield from _policy("slow", "latency", f"threshold_ms: {rules.slow_ms}")
    if rules.cold_start:
        for name in ("function.cold_start", "faas.coldstart"):
            yield from _policy(name.replace(".", "-"), "boolean_attribute", f"key: {name}", "value: true")
    if rules.targeted and settings.devices:
        devices = ", ".join(_quoted(device) for device in settings.devices)
        yield from _policy("devices", "string_attribute", "key: device.id", f"values: [{devices}]")
    if rules.targeted or rules.lost:
        yield from _comment(_PRIORITY)
        yield from _policy("priority", "numeric_attribute", "key: sampling.priority", "min_value: 1", "max_value: 1")
    yield from _baseline(rules)


def _baseline(rules: TailRules) -> Iterator[str]:
    if rules.baseline == ALWAYS:
        yield from _policy("baseline", "always_sample")
        return
    if rules.baseline == NEVER:
        yield from _comment("No baseline: nothing beyond these.")
        return
    digits = f"{rules.baseline:014x}"
    percent = float(rate_of(rules.baseline) * 100)
    yield from _comment(_BASELINE.format(percent=f"{percent:.4g}"))
    condition = f'Substring(trace_id.string, 18, 14) >= "{digits}"'
    yield from _policy("baseline", "ottl_condition", "error_mode: ignore", f"span: [{_single_quoted(condition)}]")


def _policy(name: str, kind: str, *settings: str) -> Iterator[str]:
    yield f"      - name: {name}"
    yield f"        type: {kind}"
    if settings:
        yield f"        {kind}:"
        yield from (f"          {setting}" for setting in settings)


def _balancing(settings: CollectorSettings) -> Iterator[str]:
    yield "# First tier: sends all spans of a trace to the same sampling Collector. Put it into a file of its own."
    yield "# When the list of hosts changes, traces under way at that moment may be split between two of them."
    yield from _receiver(_LOOPBACK)
    yield from (
        "exporters:",
        "  loadbalancing:",
        "    routing_key: traceID",
        "    protocol:",
        "      otlp:",
        "        tls:",
        "          insecure: true # between machines that trust each other; otherwise name certificates here",
        "    resolver:",
        "      static:",
        "        hostnames:",
        *(f"          - {_quoted(host)}" for host in settings.gateway_hosts),
        "service:",
        "  pipelines:",
        "    traces:",
        "      receivers: [otlp]",
        "      exporters: [loadbalancing]",
    )


def _receiver(address: str) -> Iterator[str]:
    yield from (
        "receivers:",
        "  otlp:",
        "    protocols:",
        "      grpc:",
        f"        endpoint: {address}:4317",
        "      http:",
        f"        endpoint: {address}:4318",
    )


def _comment(text: str) -> list[str]:
    return [f"      # {line}" for line in textwrap.wrap(text, 104)]


def _quoted(text: str) -> str:
    """A JSON string is a YAML string."""
    return json.dumps(text)


def _single_quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
