"""Promises of commands/collector_config.py: the printed file means what our tail means."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.commands.collector_config import CollectorSettings, render
from motetrace_host.commands.sampling import collector_config_command
from motetrace_host.core.sampling import threshold as thresholds
from motetrace_host.core.sampling.tail.rules import TailRules
from motetrace_host.core.sampling.threshold import NEVER, of_rate, parse_rate

GOLDEN = Path(__file__).parent / "golden"
ONE_PERCENT = of_rate(parse_rate("1%"))
CASES = {
    "everything": CollectorSettings(TailRules()),
    "baseline": CollectorSettings(
        TailRules(slow_ms=500, baseline=ONE_PERCENT), 20_000, ("sensor-0042", 'o"dd: #\n'), "http://tempo:4318"
    ),
    "tiers": CollectorSettings(
        TailRules(errors=False, lost=False, targeted=False, cold_start=False, slow_ms=250, baseline=NEVER, wait_s=30),
        gateway_hosts=("gateway-1:4317", "[::1]:4317"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_printed_file_is_the_golden_one(name: str) -> None:
    assert render(CASES[name]) == (GOLDEN / f"{name}.yaml").read_text()


def documents(text: str) -> list[Any]:
    """Read the part of YAML that we write: mappings and lists by indentation, scalars, and flow lists of scalars."""
    return [
        _block([line for line in map(_uncommented, part.splitlines()) if line.strip()]) for part in text.split("---\n")
    ]


def _uncommented(line: str) -> str:
    quote = ""
    for at, char in enumerate(line):
        if quote:
            quote = "" if char == quote and line[at - 1] != "\\" else quote
        elif char in "'\"":
            quote = char
        elif char == "#" and (at == 0 or line[at - 1] == " "):
            return line[:at].rstrip()
    return line


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _block(lines: list[str]) -> Any:
    depth = _indent(lines[0])
    starts = [at for at, line in enumerate(lines) if _indent(line) == depth]
    chunks = [lines[a:b] for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
    if lines[0].lstrip().startswith("- "):
        return [_block([" " * (depth + 2) + chunk[0].lstrip()[2:], *chunk[1:]]) for chunk in chunks]
    if len(chunks) == 1 and not _is_pair(lines[0].strip()):
        return _scalar(lines[0].strip())
    found: dict[str, Any] = {}
    for chunk in chunks:
        key, _, value = chunk[0].strip().partition(":")
        assert key not in found, f"{key} twice"
        assert bool(value.strip()) != (len(chunk) > 1), chunk
        found[key] = _scalar(value.strip()) if value.strip() else _block(chunk[1:])
    return found


def _is_pair(text: str) -> bool:
    return text[0] not in "'\"" and (": " in text or text.endswith(":"))


def _scalar(text: str) -> Any:
    import json

    if text.startswith("["):
        inner = text[1:-1]
        return [_scalar(part) for part in (inner.split(", ") if not inner.startswith("'") else [inner])]
    if text.startswith('"'):
        return json.loads(text)
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    return {"true": True, "false": False}.get(text, int(text) if text.isdigit() else text)


@pytest.mark.parametrize("name", CASES)
def test_it_is_yaml_of_the_shape_that_a_collector_reads(name: str) -> None:
    settings = CASES[name]
    *first, sampling = documents(render(settings))
    for document in (*first, sampling):
        for pipeline in document["service"]["pipelines"].values():
            for part, names in pipeline.items():
                assert set(names) <= set(document[part]), "a pipeline names what is not there"
    processor = sampling["processors"]["tail_sampling"]
    assert processor["decision_wait"] == f"{settings.rules.wait_s}s"
    assert processor["num_traces"] >= settings.traces_per_second * settings.rules.wait_s
    assert min(processor["decision_cache"].values()) > processor["num_traces"]
    assert sampling["exporters"]["otlphttp"]["endpoint"] == settings.endpoint
    for policy in processor["policies"]:
        assert policy["type"] == "always_sample" or policy["type"] in policy
        assert set(policy) <= {"name", "type", policy["type"]}
    names = [policy["name"] for policy in processor["policies"]]
    assert len(set(names)) == len(names)
    if settings.gateway_hosts:
        balancing = first[0]["exporters"]["loadbalancing"]
        assert balancing["routing_key"] == "traceID"
        assert balancing["resolver"]["static"]["hostnames"] == list(settings.gateway_hosts)
        assert sampling["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].startswith("0.0.0.0:")
    else:
        assert not first


def policies(settings: CollectorSettings) -> dict[str, Any]:
    return {p["name"]: p for p in documents(render(settings))[-1]["processors"]["tail_sampling"]["policies"]}


def test_each_rule_is_a_policy_and_none_without_it() -> None:
    found = policies(CASES["baseline"])
    assert found["errors"]["status_code"] == {"status_codes": ["ERROR"]}
    assert found["slow"]["latency"] == {"threshold_ms": 500}
    assert found["function-cold_start"]["boolean_attribute"] == {"key": "function.cold_start", "value": True}
    assert found["devices"]["string_attribute"] == {"key": "device.id", "values": ["sensor-0042", 'o"dd: #\n']}
    assert found["priority"]["numeric_attribute"]["key"] == "sampling.priority"
    assert list(policies(CASES["tiers"])) == ["slow"]
    assert policies(CASES["everything"])["baseline"] == {"name": "baseline", "type": "always_sample"}


@given(st.integers(1, NEVER - 1), st.binary(min_size=16, max_size=16))
def test_the_baselines_condition_keeps_what_our_arithmetic_keeps(threshold: int, trace_id: bytes) -> None:
    """`Substring(text, start, length)` and `>=` on strings, by Go's rules, as Python's slices and comparison."""
    condition = policies(CollectorSettings(TailRules(baseline=threshold)))["baseline"]["ottl_condition"]["span"][0]
    left, _, right = condition.partition(" >= ")
    assert left == "Substring(trace_id.string, 18, 14)"
    assert (trace_id.hex()[18 : 18 + 14] >= right.strip('"')) is (thresholds.randomness(trace_id) >= threshold)


@pytest.mark.parametrize("host", ["gateway-1", "a b:1", "x:port", "http://gw:4317", "gw:4317\n"])
def test_a_gateway_that_is_no_host_and_port_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        CollectorSettings(TailRules(), gateway_hosts=(host,))


def test_the_command_prints_it() -> None:
    run: Callable[..., Any] = CliRunner().invoke
    shown = run(collector_config_command, ["--baseline", "1%", "--slow", "500", "--traces-per-second", "20000",
                                           "--target", "sensor-0042", "--endpoint", "http://tempo:4318"])  # fmt: skip
    assert shown.exit_code == 0
    expected = CollectorSettings(CASES["baseline"].rules, 20_000, ("sensor-0042",), "http://tempo:4318")
    assert shown.output == render(expected)
    wrong = run(collector_config_command, ["--baseline", "10"])
    assert (wrong.exit_code, "--baseline: '10' is above 1" in wrong.output) == (2, True)
    wrong = run(collector_config_command, ["--gateway-hosts", "gateway-1"])
    assert (wrong.exit_code, "write for example gateway-1:4317" in wrong.output) == (2, True)
