"""The birth message of every interpreter, read as the host reads it."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.device import interpreters
from tests.device.session import Session

# Without surrogates, which are no text: no interpreter can encode them.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@pytest.fixture(scope="module", params=interpreters.NAMES)
def device(request: pytest.FixtureRequest) -> Iterator[Session]:
    with Session(request.param) as session:
        session.run("from motetrace import Tracer\nfrom motetrace.messages import birth\nt = Tracer('seqref', 77)")
        yield session


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(firmware=TEXTS, baggage=st.dictionaries(TEXTS, TEXTS, max_size=2))
def test_a_birth_message_is_json_that_keeps_every_text(device: Session, firmware: str, baggage: dict[str, str]) -> None:
    device.run(f"firmware, baggage = {literal(firmware)}, {{{', '.join(map(pair, baggage.items()))}}}")
    said = json.loads(device.ask("birth(t, firmware, baggage)"))
    assert said["v"] == 1
    assert said["nonce"] == device.ask("t.block[:5]").hex()
    assert (said["mode"], said["threshold"]) == ("seqref", 77)
    assert said.get("fw", "") == firmware
    assert said.get("baggage", {}) == baggage


def literal(text: str) -> str:
    """Source of a str that every interpreter reads alike."""
    return f"bytes.fromhex({text.encode().hex()!r}).decode()"


def pair(item: tuple[str, str]) -> str:
    return f"{literal(item[0])}: {literal(item[1])}"
