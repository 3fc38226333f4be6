"""boards/: a page for each board, and costs that are those measured."""

import ast

import parts
import pytest

from motetrace_host.board.edges import device_library
from motetrace_host.board.known_boards import CIRCUITPYTHON, KNOWN_BOARDS
from motetrace_host.board.modules import extras
from tests.board.test_packaging import script

BOARDS = parts.ROOT / "boards"
table = script("table")


def test_the_table_and_every_line_of_costs_are_those_measured_now() -> None:
    assert table.stale() == [], f"renew with: {table.RENEW}"


@pytest.mark.parametrize("name", sorted(KNOWN_BOARDS))
def test_a_board_has_a_page_that_says_what_it_rests_on_and_how_to_install(name: str) -> None:
    text = (BOARDS / f"{name}.md").read_text()
    assert text.startswith("# ") and "Not tried on a board by us" in text
    assert f"motetrace device install --board {name} --with " in text
    assert "## What it has" in text and "## Traps" in text
    assert ("## Settings" if KNOWN_BOARDS[name].system == CIRCUITPYTHON else "## Freezing") in text
    assert len(text.splitlines()) <= 60
    wanted = text.partition(f"--board {name} --with ")[2].split("\n")[0].split(",")
    assert wanted == table.boards()[name]["extras"]
    assert set(wanted) <= set(extras(device_library.sources()))


def test_pages_boards_toml_and_the_commands_name_the_same_boards() -> None:
    pages = {path.stem for path in BOARDS.glob("*.md")} - {"README"}
    assert pages == set(table.boards()) == set(KNOWN_BOARDS)


def test_a_stale_table_is_seen_by_the_byte_and_ram_within_a_tenth() -> None:
    old = "Costs: 4978 bytes of flash; of RAM ~3.4 kB for the core"
    assert table.same(old, old.replace("3.4", "3.6"))
    assert not table.same(old, old.replace("3.4", "3.9"))
    assert not table.same(old, old.replace("4978", "4979"))
    assert not table.same(old, old.replace("core", "heart"))


def test_what_boards_say_of_themselves_is_told_apart() -> None:
    said = {
        "esp32": "Generic ESP32 module with ESP32",
        "esp32-s3": "Generic ESP32S3 module with Octal-SPIRAM with ESP32S3",
        "esp32-c3": "Generic ESP32C3 module with ESP32C3",
        "pico": "Raspberry Pi Pico with RP2040",
        "pico-w": "Raspberry Pi Pico W with RP2040",
        "pico-2-w": "Raspberry Pi Pico 2 W with RP2350",
        "circuitpython-pico-w": "Adafruit CircuitPython 10.0.3 on 2025-10-17; Raspberry Pi Pico W with rp2040",
        "circuitpython-esp32-s3": "Adafruit CircuitPython 10.0.3 on 2025-10-17; ESP32-S3-DevKitC-1-N8R2 with ESP32S3",
    }
    for name, machine in said.items():
        for other, board in KNOWN_BOARDS.items():
            if board.system == KNOWN_BOARDS[name].system:
                assert board.is_one(machine) is (other == name), (other, machine)


def test_the_scripts_of_boards_run_as_they_are_named_in_the_messages() -> None:
    for name in ("table", "packages"):
        text = (BOARDS / f"{name}.py").read_text()
        assert f"python boards/{name}.py" in (ast.get_docstring(ast.parse(text)) or "")
