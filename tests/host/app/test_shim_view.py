"""What `motetrace sampling why` is told from the database: settings in force, and messages counted by reason."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from motetrace_host.cli import main
from motetrace_host.commands import shim_view
from motetrace_host.commands.shim_view import rules_of
from motetrace_host.core.messages.message_spans import ShimIdentity
from motetrace_host.core.sampling.head import HeadSettings
from motetrace_host.core.sampling.reason import Reason
from motetrace_host.core.sampling.tail.rules import TailRules
from motetrace_host.core.wire.trust import TrustPolicy
from motetrace_host.shim.build import rules_text, settings_in_force
from motetrace_host.shim.config import load
from motetrace_host.storage import database
from motetrace_host.storage.forward_cursor import ForwardCursor
from motetrace_host.storage.run_settings import RunSettings
from tests.host.app.conftest import NOW, Bench

MakeBench = Callable[..., Bench]
FLAGS = {"topic": ("devices/{device_id}/telemetry",), "sample": "25%", "sample_limit": "7", "otlp": "http://b:4318"}


@pytest.fixture
def bench(make_bench: MakeBench, tmp_path: Path) -> Bench:
    """sensor s sent 4 messages of which it sampled 3; another device sent one; the settings are noted as `run` does."""
    bench = make_bench()
    for seq, flags in ((1, "03"), (2, "02"), (3, "03"), (4, "03")):
        bench.send(seq, ("seqref", f"0a01020304-{seq:08x}-{flags}"))
    bench.send(5, ("seqref", "0b01020304-00000001-03"), topic="devices/t/telemetry")
    assert bench.run()
    config = load(FLAGS, {}, tmp_path)
    with database.transaction(bench.connection):
        RunSettings(bench.connection).note(settings_in_force(config, ShimIdentity("broker:1883", "shim")))
    return bench


def test_settings_and_counts_are_those_of_the_shim_that_ran(bench: Bench, tmp_path: Path) -> None:
    view = shim_view.load(tmp_path, "s")
    assert view is not None
    config = load(FLAGS, {}, tmp_path)
    assert view.head == HeadSettings(config.sampling.sample, 7)
    assert view.rules is None
    assert view.received == 4
    assert view.head_counts == {Reason.RATE: 3, Reason.UNSAMPLED: 1}
    assert view.tail_counts == {}
    assert view.otlp == "http://b:4318/v1/traces"
    assert view.since_unix_s == NOW // 10**9


def test_what_waits_for_the_backend_is_counted_in_spans_of_messages_that_are_kept(bench: Bench, tmp_path: Path) -> None:
    cursor = ForwardCursor(bench.connection, "http://b:4318/v1/traces")
    cursor.open()
    view = shim_view.load(tmp_path, "s")
    assert view is not None and view.spans_waiting == 2 * 4
    cursor.settle(cursor.position()._replace(offset=3), sent=4, refused=1)
    view = shim_view.load(tmp_path, "s")
    assert view is not None and (view.spans_waiting, view.spans_refused) == (2 * 2, 1)


def test_the_tails_verdicts_are_counted_where_there_are_some(bench: Bench, tmp_path: Path) -> None:
    reasons = bytes([Reason.ERROR, 0, Reason.RATE, 0, Reason.LOST])  # the last is the other device's
    bench.connection.execute("CREATE TABLE IF NOT EXISTS verdict(block_id INTEGER PRIMARY KEY, reasons BLOB)")
    bench.connection.execute("INSERT INTO verdict VALUES(1, ?)", (reasons,))
    rules = TailRules(slow_ms=500, before=2, baseline=1 << 55)
    with database.transaction(bench.connection):
        RunSettings(bench.connection).note({"tail": rules_text(rules)})
    view = shim_view.load(tmp_path, "s")
    assert view is not None
    assert view.tail_counts == {Reason.ERROR: 1, 0: 2, Reason.RATE: 1}
    assert view.rules == rules


@pytest.mark.parametrize("policy", TrustPolicy)
def test_how_the_topic_of_the_last_message_is_trusted_is_told(
    policy: TrustPolicy, make_bench: MakeBench, tmp_path: Path
) -> None:
    bench = make_bench(trust=[("devices/s/#", policy.word)])
    bench.send(1, ("seqref", "0a01020304-00000001-03"))
    assert bench.run()
    view = shim_view.load(tmp_path, "s")
    assert view is not None and view.policy == policy


def test_rules_of_another_version_are_read_as_far_as_they_are_known() -> None:
    assert rules_of('{"slow_ms": 5, "from_the_future": 1}') == TailRules(slow_ms=5)
    assert (rules_of(""), rules_text(None)) == (None, "")


def test_where_there_is_no_shim_or_no_such_device_nothing_is_known(bench: Bench, tmp_path: Path) -> None:
    assert shim_view.load(tmp_path, "nobody") is None
    assert shim_view.load(tmp_path / "none", "s") is None
    assert not (tmp_path / "none").exists()


def test_the_commands_of_sampling_are_part_of_the_command_line() -> None:
    for words in (["sampling", "--help"], ["sampling", "why", "--help"], ["collector-config"]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0
        assert "motetrace" in result.output
