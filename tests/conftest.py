"""Real parts for tests: interpreters, the broker, the database.

.ci/parts.py finds or fetches them, .ci/services.py starts them.
"""

import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings
from hypothesis.stateful import RuleBasedStateMachine

# Before the imports below, for tools that read this file without pytest's `pythonpath`.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".ci"))

import parts as real_parts
from services import Influxd, Mosquitto

HERE = Path(__file__).resolve().parent
# What `make test` runs and `make test-fast` does not: real processes that are killed, restarted or slow by nature, and
# what measures memory, flash or packages. Files and folders of tests/, or tests in them, by the start of their ids.
SLOW = (
    "board/",
    "clients/",
    "crossing/test_demo.py",
    "crossing/test_instrumented_program.py",
    "crossing/test_your_firmware.py",
    "device/test_accelerator.py",
    "device/test_day",
    "device/test_footprint.py",
    "device/test_messages_footprint.py",
    "device/test_on_device.py::test_on_device[boards-",
    "device/test_on_pc.py::test_an_editor",
    "device/test_on_pc.py::test_the_stubs",
    "device/test_power_cut.py",
    "device/test_ram.py",
    "examples/",
    "faults/",
    "host/app/test_broker_tls.py::test_a_",
    "host/app/test_memory.py",
    "host/app/test_mqtt.py::test_a_",
    "host/app/test_reports.py::test_a_key_of_somebody_else",
    "host/app/test_reports.py::test_a_state_folder_of_somebody_else",
    "host/app/test_whole_ledger.py::test_ten_thousand",
    "host/hops/test_reports_broker.py",
    "host/otel/test_paho_versions.py",
    "host/receive/test_connection.py",
    "host/receive/test_hostile.py::test_two_byte_pieces",
    "host/receive/test_reader_versions.py",
    "host/sampling/test_interesting.py::test_entries_take",
    "host/spans/test_otlp_forwarder.py::test_after_a_413",
    "host/spans/test_otlp_forwarder.py::test_kill_9",
    "host/spans/test_otlp_receiver.py::test_a_gzip_bomb",
    "setup/test_parts.py",
)
# Of tests that run on each interpreter, `make test-fast` takes those on the 64-bit MicroPython.
OTHER_INTERPRETERS = ("cpython]", "micropython32]", "[32]")


# A shell without job control starts what is behind `&` deaf to Ctrl-C, and all that it starts: a demo would not end.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="of what tests draw by chance; a failure names its own")
    share = "share of the examples that hypothesis is asked for: 0.1 is a tenth"
    parser.addoption("--examples", type=float, default=1.0, help=share)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance that can be had again: a test that fails shows its seed, `--seed N` takes it back."""
    seed = request.config.getoption("--seed")
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    print(f"drawn by chance; once more: pytest --seed {seed} {request.node.nodeid}")
    return random.Random(seed)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without the slow tests, their files need not be imported."""
    if config.getoption("markexpr") != "not slow":
        return None
    name = collection_path.relative_to(HERE).as_posix() + ("/" if collection_path.is_dir() else "")
    return True if name in SLOW else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    share = config.getoption("--examples")
    for item in items:
        name = item.nodeid.removeprefix("tests/")
        if name.startswith(SLOW) or (name.startswith(("device/", "crossing/")) and name.endswith(OTHER_INTERPRETERS)):
            item.add_marker(pytest.mark.slow)
        if share != 1:
            _draw_fewer(item, share)


def _draw_fewer(item: pytest.Item, share: float) -> None:
    """Let hypothesis draw a share of the examples that a test asks for, at least 5."""

    def fewer(asked: settings) -> settings:
        return settings(asked, max_examples=max(5, round(asked.max_examples * share)))

    case, function = getattr(item, "cls", None), getattr(item, "obj", None)
    if case is not None and issubclass(case, RuleBasedStateMachine.TestCase):
        if "reduced" not in vars(case):
            case.settings, case.reduced = fewer(case.settings), True
    elif is_hypothesis_test(function):
        inner = getattr(function, "__func__", function)
        if not hasattr(inner, "reduced"):
            asked = getattr(inner, "_hypothesis_internal_use_settings", settings())
            inner._hypothesis_internal_use_settings, inner.reduced = fewer(asked), True


class Parts:
    """Where the parts are; each is looked for (and fetched, when missing) at its first use.

    A command is a list of words to put arguments after. `device_lib` and `simple2` are folders for MICROPYPATH.
    """

    root = real_parts.ROOT
    device_lib = real_parts.ROOT / "device_lib"
    host_shim = real_parts.ROOT / "host_shim"

    @cached_property
    def micropython64(self) -> list[str]:
        return real_parts.micropython(64)

    @cached_property
    def micropython32(self) -> list[str]:
        return real_parts.micropython(32)

    @cached_property
    def mosquitto(self) -> list[str]:
        return real_parts.mosquitto()

    @cached_property
    def influxd(self) -> list[str]:
        return real_parts.influxd()

    @cached_property
    def simple2(self) -> Path:
        return real_parts.simple2()

    def micropython(self, bits: int) -> list[str]:
        return real_parts.micropython(bits)


@pytest.fixture(scope="session")
def parts() -> Parts:
    """The real parts."""
    return Parts()


@pytest.fixture
def start_mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Starts brokers: `start_mosquitto(persistent=True, settings="...", port=0)`. All are stopped at the end."""
    with ExitStack() as running:
        count = 0

        def start(**options: object) -> Mosquitto:
            nonlocal count
            count += 1
            return running.enter_context(Mosquitto(tmp_path / f"mosquitto{count}", **options))

        yield start


@pytest.fixture
def mosquitto(start_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """A broker of this test alone on 127.0.0.1: .host, .port, .url, stop(), start(), restart(), kill()."""
    return start_mosquitto()


@pytest.fixture
def influxd(tmp_path: Path) -> Iterator[Influxd]:
    """An empty InfluxDB of this test alone: .host, .port, .url, stop(), start(), restart(), kill()."""
    with Influxd(tmp_path / "influxd") as database:
        yield database
