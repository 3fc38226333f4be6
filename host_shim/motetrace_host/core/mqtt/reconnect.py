"""How long to wait before the next attempt to connect, and what a row of short-lived connections means."""

from __future__ import annotations

from motetrace_host.core.mqtt.refusals import SAME_CLIENT_ID

FIRST_S, LAST_S = 0.125, 15.0
SHORT_LIVED_S = 5.0


class ReconnectPauses:
    """Doubles the pause from 0.25 to 15 s until a connection lasts."""

    def __init__(self) -> None:
        self.pause_s = FIRST_S
        self._short_lived = 0

    def ended(self, connected: bool, seconds: float, asked_for: bool = False) -> str:
        """Note the end of an attempt; gives what to add to its reason, or "".

        Args:
            connected: the broker had accepted it.
            seconds: how long it lasted.
            asked_for: we ended it ourselves.
        """
        lasted = connected and (asked_for or seconds > SHORT_LIVED_S)
        self._short_lived = self._short_lived + 1 if connected and not lasted else 0
        self.pause_s = FIRST_S if lasted else min(self.pause_s * 2, LAST_S)
        if self._short_lived < 2:
            return ""
        # Some brokers do not say so themselves (mosquitto 2.0.11).
        return f", {self._short_lived} times soon after connecting; {SAME_CLIENT_ID}"
