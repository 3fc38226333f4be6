"""How callbacks are reached: paho's own `_handle_on_message` runs on a stand-in for the client.

The stand-in is the client in everything but two places: where paho looks up callbacks, it finds them wrapped. So
nothing is stored in a client: `client.on_message` stays the program's own function, a subclass's method is found as
well, callbacks registered before the instrumentation are traced and after it no more, and paho's own choice of
callbacks, locks, order and treatment of exceptions is what runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Callback = Callable[[Any, Any, Any], object]
Process = Callable[[Callback, Any, Any, Any], object]


class TracedCallback:
    """A callback that is called through `process`, with the true client; anything else of it is its own."""

    def __init__(self, callback: Callback, client: Any, process: Process) -> None:
        self._callback = callback
        self._client = client
        self._process = process

    def __call__(self, _: Any, userdata: Any, message: Any) -> object:
        return self._process(self._callback, self._client, userdata, message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._callback, name)  # paho logs `__name__` of what raised


class _Filtered:
    """The client's callbacks by topic filter, wrapped as they are found."""

    def __init__(self, client: Any, process: Process) -> None:
        self._client = client
        self._process = process

    def iter_match(self, topic: str) -> Iterator[TracedCallback]:
        for callback in self._client._on_message_filtered.iter_match(topic):  # noqa: SLF001
            yield TracedCallback(callback, self._client, self._process)


class TracedDispatch:
    """The stand-in for a client, for the length of one message."""

    def __init__(self, client: Any, process: Process) -> None:
        object.__setattr__(self, "_motetrace", (client, process))

    @property
    def on_message(self) -> Any:
        """The client's callback for all topics, wrapped."""
        client, process = object.__getattribute__(self, "_motetrace")
        callback = client.on_message
        return TracedCallback(callback, client, process) if callback else callback

    @property
    def _on_message_filtered(self) -> _Filtered:
        return _Filtered(*object.__getattribute__(self, "_motetrace"))

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_motetrace")[0], name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(object.__getattribute__(self, "_motetrace")[0], name, value)
