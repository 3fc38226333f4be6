"""Where a process's hop reports go: the application's MQTT client, its own function, or a client of ours."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from motetrace_host.stages.report_outbox import Publish

_log = logging.getLogger("motetrace")


class Sink(Protocol):
    """Where reports go."""

    def publish(self, topic: str, payload: bytes) -> Any:
        """As `report_outbox.Publish`."""

    def close(self) -> None:
        """Let go of what is the sink's own."""

    def forked(self) -> Sink | None:
        """The sink for a child process; None when it cannot have one."""


class ClientSink:
    """The application's own MQTT client: anything with paho's `publish`."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def publish(self, topic: str, payload: bytes) -> Any:
        # What paho takes without a connection it sends later, but its receipt can never say so.
        if not getattr(self._client, "is_connected", lambda: True)():
            raise ConnectionError("the application's MQTT client is not connected")
        return self._client.publish(topic, payload, qos=1)

    def close(self) -> None:
        """The client is not ours to close."""

    def forked(self) -> None:
        """A child would write into its parent's connection."""
        _log.warning("motetrace: this process was forked with its MQTT client, which it cannot share; hops are not "
                     "reported here until stages.configure(report=...) is called in it")  # fmt: skip


class CallableSink:
    """A function of the application: `report(topic, payload)`, which raises when it fails."""

    def __init__(self, function: Publish) -> None:
        self.publish = function

    def close(self) -> None:
        """Nothing is ours."""

    def forked(self) -> CallableSink:
        """The function goes on in the child."""
        return self
