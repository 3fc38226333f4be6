"""What `motetrace trace` and `motetrace devices` tell, in plain words; and the command line around them."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner, Result

from motetrace_host.cli import main
from tests.host.app.conftest import Bench

NONCE = "0a01020304"


@pytest.fixture
def state(tmp_path: Path, make_bench: Callable[..., Bench]) -> Path:
    """A state folder in which s-1 sent 1, 2, 3 and 7 (3 twice), and `bare` sent 5."""
    bench = make_bench()
    bench.send(1, topic="motetrace/s/birth", payload=b'{"v":1,"nonce":"0a01020304","fw":"1.4.2"}')
    for packet_id, seq in enumerate((1, 2, 3, 3, 7), 2):
        bench.send(packet_id, ("seqref", f"{NONCE}-{seq:08x}-03-1f4"))
    bench.send(20, payload=b'{"seq":5}', topic="devices/bare/telemetry")
    bench.send(21, ("seqref", f"{NONCE}-00000001-02"), topic="devices/quiet/telemetry")
    bench.send(22, topic="devices/esc\x1b[2J/telemetry")
    assert bench.run()
    (tmp_path / "key").write_bytes(bytes(32))
    (tmp_path / "key").chmod(0o600)
    return tmp_path


def command(*words: str) -> Result:
    return CliRunner().invoke(main, words, env={"MOTETRACE_STATE": None})


def trace(state: Path, *words: str) -> Result:
    return command("trace", *words, "--state", str(state))


def test_a_known_reading_is_told_with_trace_id_history_hops_and_waterfall(state: Path) -> None:
    result = trace(state, "s", "--seq", "3")
    assert result.exit_code == 0
    for told in (
        "s seq 3, boot 0a01020304, firmware 1.4.2",
        "0a0102030400000003",
        "(derived from device, boot and seq)",
        "2026-",
        "on devices/s/telemetry, QoS 1",
        "read 500 ms before it was published",
        "2 times (counted once)",
        "seqref, from user property",
        "REACHED the broker: delivered to the shim 2026-",
        "Not reported: rule engine, function and database send no reports.",
        "hops        shim seen, rule sends no reports, function sends no reports, db sends no reports",
        "device yes, broker yes, rule no span, function no span, db no span",
        "device_publish",
        "broker_forward",
    ):
        assert told in result.output


def test_an_inferred_boot_and_an_unsampled_message_are_told_as_such(state: Path) -> None:
    assert "(inferred by the host)" in trace(state, "bare", "--seq", "5").output
    assert (
        "not kept (unsampled: the device did not sample it): counted, no spans"
        in trace(state, "quiet", "--seq", "1").output
    )


def test_another_key_is_noticed(state: Path) -> None:
    (state / "key").write_bytes(bytes([1]) * 32)
    assert "derived with another key or tenant" in trace(state, "s", "--seq", "3").output


@pytest.mark.parametrize(
    ("seq", "told"),
    [
        ("5", "LOST between device and shim: numbered by the device, as higher numbers came, never seen by the shim"),
        ("5", "A gap: 3 was seen at"),
        ("5", "missing between: 4..6 (3 numbers)"),
        ("9", "NOT SENT yet, or lost since: the highest number known of this boot is 7"),
        ("9", "Beyond the last one seen, 7 at"),
        ("0", "UNCERTAIN whether it was sent"),
        ("0", "Before the first one known, 1 at"),
    ],
)
def test_an_unknown_number_is_told_with_its_neighbours(state: Path, seq: str, told: str) -> None:
    result = trace(state, "s", "--seq", seq)
    assert result.exit_code == 1
    assert "not in the ledger" in result.output
    assert told in result.output


def test_an_unknown_device_or_boot_is_told_with_what_is_known(state: Path) -> None:
    result = trace(state, "barre", "--seq", "1", "--boot", NONCE)
    assert result.exit_code == 1
    assert "did you mean bare?" in result.output
    assert f"its trace-id would be {NONCE}00000001" in result.output
    result = trace(state, "s", "--seq", "1", "--boot", "ffffffffff")
    assert result.exit_code == 1
    assert "Known boots of this device: 0a01020304." in result.output


def test_devices_tells_seen_twice_missing_and_rejected(state: Path) -> None:
    result = command("devices", "--state", str(state))
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert lines[0] == ["device", "boot", "seen", "twice", "lost", "waiting", "late", "last", "seen"]
    assert lines[1][:7] == ["s", NONCE, "4", "1", "3", "0", "0"], "the most losses come first"
    one = command("devices", "s", "--state", str(state)).output
    assert "bare" not in one


def test_device_text_never_reaches_the_terminal_raw(state: Path) -> None:
    output = command("devices", "--state", str(state)).output + trace(state, "esc\x1b[2J", "--seq", "1").output
    assert "\x1b" not in output
    assert "\\x1b[2J" in output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trace", "s", "--seq", "1", "--boot", "xyz"], "10 hex digits"),
        (["trace", "s", "--seq", "4294967296"], "0<=x<=4294967295"),
        (["trace", "s"], "--seq"),
        (["run", "--topic", "a/{device_id}", "--queue", "5"], "--queue '5': allowed are 100..1000000"),
        (["run", "--topics", "x"], "--topic"),
    ],
)
def test_a_wrong_word_ends_with_2_and_the_remedy(state: Path, words: list[str], told: str) -> None:
    result = command(*words, *(["--state", str(state)] if words[0] == "trace" else []))
    assert result.exit_code == 2
    assert told in result.output


def test_looking_at_an_empty_folder_says_so_and_makes_nothing(tmp_path: Path) -> None:
    result = trace(tmp_path / "none", "s", "--seq", "1")
    assert result.exit_code == 2
    assert "no shim has run" in result.output
    assert not (tmp_path / "none").exists()


def test_a_named_key_that_is_missing_is_refused_and_the_default_may_be_missing(state: Path) -> None:
    result = trace(state, "s", "--seq", "3", "--key-file", str(state / "typo"))
    assert result.exit_code == 2
    assert "does not exist" in result.output
    (state / "key").unlink()
    assert "(derived by the host)" in trace(state, "s", "--seq", "3").output
    assert not (state / "key").exists()


AS_NOBODY = """
import os, pwd, sys
from motetrace_host.cli import main
from motetrace_host.commands import devices, trace
if os.geteuid() == 0:  # only now: nobody may not read root's Python
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
main(sys.argv[1:], "motetrace")
"""


def as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
    """The command as a user to whom nothing belongs; where the tests do not run as root, as their own."""
    return subprocess.run([sys.executable, "-c", AS_NOBODY, *words], capture_output=True, text=True, check=False)


@pytest.fixture
def reachable(state: Path) -> Iterator[Path]:
    """A copy of the state folder to which others may pass through: pytest keeps the folders of its tests to itself."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(shutil.copytree(state, Path(name) / "state"))


@pytest.mark.parametrize("words", [["devices"], ["trace", "s", "--seq", "3"]])
def test_a_state_folder_of_somebody_else_is_told_with_its_owner(reachable: Path, words: list[str]) -> None:
    closed = reachable.parent / "closed"
    closed.mkdir()
    (reachable / "motetrace.db").rename(closed / "motetrace.db")
    owner = pwd.getpwuid(os.geteuid()).pw_name
    for mode in (0o000, 0o500):
        closed.chmod(0o700)
        (closed / "motetrace.db").chmod(0o600 if mode == 0 else 0o000)
        closed.chmod(mode)
        result = as_nobody(*words, "--state", str(closed))
        assert result.returncode == 2, result.stderr
        assert "Traceback" not in result.stderr
        assert result.stderr.startswith(f"motetrace: state folder {closed}: ")
        assert f"it belongs to {owner}: look as that user" in result.stderr
        assert "--state" in result.stderr
    closed.chmod(0o700)


def test_a_key_of_somebody_else_is_told_with_its_owner(reachable: Path) -> None:
    (reachable / "key").chmod(0o000)
    for path in (reachable, *reachable.glob("motetrace.db*")):
        path.chmod(0o777)
    closed = reachable.parent / "closed"
    closed.mkdir()
    (closed / "key").touch()
    closed.chmod(0o000)
    for key in (reachable / "key", closed / "key"):
        result = as_nobody("trace", "s", "--seq", "3", "--state", str(reachable), "--key-file", str(key))
        assert result.returncode == 2, result.stderr
        assert result.stderr.startswith(f"motetrace: key file {key}: Permission denied; it belongs to ")
        assert result.stderr.rstrip().endswith("or name another with --key-file")
    closed.chmod(0o700)


def test_help_lists_each_command_with_a_whole_sentence() -> None:
    listed = command("--help").output.partition("Commands:")[2].strip().splitlines()
    assert len(listed) == len(main.commands)
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


def test_help_teaches_with_examples() -> None:
    for words in (["--help"], ["run", "--help"], ["trace", "--help"], ["devices", "--help"]):
        result = command(*words)
        assert result.exit_code == 0
        assert "  motetrace " in result.output


def test_help_loads_a_few_modules_of_ours() -> None:
    script = (
        "import sys\nfrom click.testing import CliRunner\nimport motetrace_host.cli as c\n"
        "CliRunner().invoke(c.main, ['--help'])\nprint(len([m for m in sys.modules if m.startswith('motetrace')]))"
    )
    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert int(shown) < 40


def test_help_imports_nothing_heavy() -> None:
    heavy = {
        "paho",
        "msgspec",
        "starlette",
        "uvicorn",
        "structlog",
        "opentelemetry",
        "sqlite3",
        "platformdirs",
        "urllib3",
    }
    script = (
        "import sys\nfrom click.testing import CliRunner\nimport motetrace_host.cli as c\n"
        "CliRunner().invoke(c.main, ['--help'])\nprint(sorted({name.split('.')[0] for name in sys.modules}))"
    )
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert not [name for name in heavy if f"'{name}'" in output]
