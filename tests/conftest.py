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

# Before the imports below, for tools that read this file without pytest's `pythonpath`.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".ci"))

import parts as real_parts
from services import Influxd, Mosquitto

# With real processes that are killed, restarted or slow by nature: `make test` runs them, `make test-fast` does not.
SLOW = (
    "board/",
    "clients/",
    "crossing/test_demo.py",
    "crossing/test_your_firmware.py",
    "device/test_day",
    "examples/",
    "faults/",
    "host/hops/test_reports_broker.py",
    "host/otel/test_paho_versions.py",
    "host/receive/test_connection.py",
    "host/receive/test_reader_versions.py",
)


# A shell without job control starts what is behind `&` deaf to Ctrl-C, and all that it starts: a demo would not end.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="of what tests draw by chance; a failure names its own")


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance that can be had again: a test that fails shows its seed, `--seed N` takes it back."""
    seed = request.config.getoption("--seed")
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    print(f"drawn by chance; once more: pytest --seed {seed} {request.node.nodeid}")
    return random.Random(seed)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(Path(__file__).parent).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)


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
