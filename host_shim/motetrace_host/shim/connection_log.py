"""What becomes of the connection to the broker, as lines in the log, each with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from motetrace_host.core.mqtt import refusals, sys_topics
from motetrace_host.shim.logging import Log

_QOS_2_REMEDY: Final = (
    "QoS 1 was asked for: perhaps another client subscribed with this client id before; they are taken, but give the "
    "shim a --client-id of its own"
)
_SHORT_REMEDY: Final = (
    "when the shim is away for longer, the broker forgets it, and what devices send then is lost: raise the broker's "
    "longest session expiry, or ask for less with --session-expiry"
)


class ConnectionLog:
    """Logs the events of the connection to the broker.

    Args:
        broker: `host:port`. tls: whether the connection is by TLS.
    """

    def __init__(self, log: Log, broker: str, tls: bool) -> None:
        self._log = log
        self._broker = broker
        self._tls = tls

    def record(self, event: str, fields: Mapping[str, Any]) -> None:
        """Write the line of an event of `network/subscriber`."""
        if event in ("connected", "subscribed", "unsubscribed"):
            self._log.info(event, broker=self._broker, **fields)
        elif event == "subscription_refused":
            self._log.error(event, broker=self._broker, **fields, remedy="check the broker's access list")
        elif event == "watch_refused":
            self._log.info("broker_queue_not_watched", broker=self._broker, topics=sys_topics.TOPICS, **fields)
        elif event == "session_shortened":
            self._log.warning(event, broker=self._broker, **fields, remedy=_SHORT_REMEDY)
        elif event == "qos_2":
            self._log.warning(event, broker=self._broker, remedy=_QOS_2_REMEDY)
        else:
            self._log.warning(event, broker=self._broker, **fields, **self._remedy(fields.get("reason", "")))

    def _remedy(self, reason: str) -> dict[str, str]:
        """What to do about a lost connection, where one is known; the names are of Python's exceptions."""
        if reason.startswith("ConnectionRefusedError"):
            return {"remedy": "is the broker up there? check --broker"}
        if reason.startswith("gaierror"):
            return {"remedy": "check the host name in --broker"}
        remedy = refusals.remedy(reason) if self._tls else ""
        return {"remedy": remedy} if remedy else {}
