"""What each adapter costs is what the tables in docs/clients.md say."""

import re
from pathlib import Path

import pytest
from services import Mosquitto

from tests.clients.devices import CASES, Case, device
from tests.device import sizes

TABLE = Path(__file__).parents[2] / "docs" / "clients.md"
MEASURE = """
import gc
from micropython import mem_total
def taken(step, n=20):
    step(); step()  # the first ones make room that stays
    gc.collect()
    empty = mem_total()
    empty = mem_total() - empty
    before = mem_total()
    i = 0
    while i < n:
        step()
        i += 1
    return (mem_total() - before - empty) / n
topic, payload = b"devices/d/telemetry", b'{"temp":21.5}'
def traced(): d.client.publish(topic, payload)
def plain(): d.plain.publish(topic, payload)
"""
ON_32_BITS = [case for case in CASES if case.interpreter == "micropython32"]


def documented() -> dict[tuple[str, str], list[int]]:
    """Rows `| client | carrier | plain | traceparent | seqref | ...`: heap bytes per publish."""
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (-?\d+) \| (-?\d+) \| (-?\d+) \|", TABLE.read_text(), re.MULTILINE)
    return {(client, carrier): list(map(int, numbers)) for client, carrier, *numbers in rows}


@pytest.mark.parametrize("case", ON_32_BITS, ids=str)
def test_the_heap_per_publish_is_what_the_document_says(mosquitto: Mosquitto, case: Case) -> None:
    plain, *traced = documented()[case.client, case.carrier]
    for mode, expected in zip(("traceparent", "seqref"), traced, strict=True):
        with device(case, mosquitto, mode) as session:
            session.run(MEASURE)
            if case.client != "mqtt_as":  # there the call alone: what is awaited then is the client's, here a double's
                session.run("d.plain.connect()")
            assert session.ask("[taken(traced), taken(plain)]") == [expected, plain]


def test_the_document_has_a_row_for_each_adapter_and_carrier() -> None:
    assert set(documented()) == {(case.client, case.carrier) for case in ON_32_BITS}


def test_the_size_of_each_module_is_what_the_document_says() -> None:
    text = TABLE.read_text()
    measured = {size.module: size.mpy_bytes for size in sizes.measure()}
    rows = re.findall(r"^\| (\w+) \| (\d+) \| [\d-]+ \| [\d-]+ \|", text, re.MULTILINE)
    assert len(rows) == 10
    for module, said in rows:
        assert measured[module] <= sizes.BUDGETS_BYTES.get(module, sizes.ADAPTER_BYTES)
        # Another release of mpy-cross may differ by a few bytes.
        assert abs(measured[module] - int(said)) <= 16, (module, measured[module])
