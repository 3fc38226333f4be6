"""RAM on the 32-bit build stays below what docs/device-speed.md says, module by module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.device import ram, sizes

# Heap bytes on a 32-bit MicroPython 1.25, rounded up: after the import of the module alone with all that it imports.
IMPORT_BYTES = {"__init__": 3600, "tracer": 3600, "incoming": 6500, "simple2": 10000, "mqtt5": 10900}
OBJECT_BYTES = {"__init__": 864, "tracer": 752, "incoming": 144, "simple2": 160, "_port_other": 816}
MOST_BYTES = 14_000  # of the 110 kB and more that a board has: any module with everything below it


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("package")
    ram.compile_package(folder)
    yield folder


@pytest.mark.parametrize("module", sorted(source.stem for source in sizes.PACKAGE.glob("*.py")))
def test_a_module_takes_no_more_ram_than_it_may(package: Path, module: str) -> None:
    figures = ram.measure_one(package, module)
    if not figures.needs:
        assert 0 < figures.import_bytes <= IMPORT_BYTES.get(module, MOST_BYTES)
        assert figures.object_bytes <= OBJECT_BYTES.get(module, 1300)


def test_what_is_missing_on_a_pc_is_named_and_not_counted_as_nothing(package: Path) -> None:
    (package / "motetrace" / "needy.py").write_text("import nowhere\n")
    assert "nowhere" in ram.measure_one(package, "needy").needs


def test_the_table_names_every_module() -> None:
    text = ram.table([ram.Ram("tracer", 1, 2), ram.Ram("minimqtt", 0, 0, "no module named 'adafruit_minimqtt'")])
    assert "| tracer | 1 | 2 |" in text and "adafruit_minimqtt" in text


def test_the_same_library_takes_the_same_ram_each_time(package: Path) -> None:
    assert ram.measure_one(package, "tracer") == ram.measure_one(package, "tracer")
