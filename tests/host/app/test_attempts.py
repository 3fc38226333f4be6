"""Attempts to connect come ever more rarely until one lasts."""

from motetrace_host.core.mqtt.reconnect import LAST_S, ReconnectPauses


def test_pauses_double_up_to_a_limit_and_begin_anew_after_a_connection_that_lasted() -> None:
    attempts = ReconnectPauses()
    pauses = []
    for _ in range(9):
        attempts.ended(connected=False, seconds=0.01)
        pauses.append(attempts.pause_s)
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0]
    assert pauses[-1] == LAST_S
    attempts.ended(connected=True, seconds=60)
    assert attempts.pause_s < 0.25


def test_connections_that_end_soon_hint_at_a_shared_client_id() -> None:
    attempts = ReconnectPauses()
    assert attempts.ended(connected=True, seconds=0.1) == ""
    assert "--client-id" in attempts.ended(connected=True, seconds=0.1)
    assert attempts.ended(connected=True, seconds=0.1, asked_for=True) == ""
    assert attempts.ended(connected=False, seconds=0.1) == ""
