"""One message of a batch, and a span of its own for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import Link, SpanKind

from motetrace_host.core.wire.json_members import strip
from motetrace_host.functions.call import Item
from motetrace_host.otel.propagator import Carried
from motetrace_host.stages.incoming import Incoming
from motetrace_host.stages.stage import Stage, Value, readable
from motetrace_host.stages.transform import TransformStore


class FunctionRecord:
    """One message of a batch.

    Attributes:
        id: the `itemIdentifier` of a partial failure; "" when the platform gave none.
        message: in the shape that a stage reads.
        source: the platform's own record, as it came.
    """

    def __init__(self, item: Item, batch: Stage, name: str, attributes: Mapping[str, Value]) -> None:
        self.id = item.id
        self.message: Carried = item.message
        self.source: Any = item.source
        self._batch = batch
        self._name = name
        self._attributes = {key: value for key, value in attributes.items() if key != "messaging.batch.message_count"}

    @property
    def payload(self) -> bytes:
        """The message's bytes, base64 undone, without the tracing members in front."""
        return strip(self.message.payload)

    def transform_store(self, *, name: str | None = None, link_only: bool = False) -> TransformStore:
        """Make a `transform_store` span around the work on this message, for use in a `with`.

        It is a child of what the message carries and links to it and to the batch's span: the reading's trace goes on.
        An exception marks this span alone; what to report as failed stays the handler's to say.

        Args:
            name: function.name, 1..4096 characters; default the batch's.
            link_only: be a child of the batch's span instead, and link to the message.
        Raises:
            TypeError, ValueError: name is not a str of that length.
        """
        attributes = self._attributes | ({"messaging.message.id": readable(self.id)} if self.id else {})
        return RecordTransform(self.message, name or self._name, attributes, self._batch, link_only)


class RecordTransform(TransformStore):
    """A running `transform_store` span of one message of a batch."""

    def __init__(
        self, message: Carried, name: str, attributes: Mapping[str, Value], batch: Stage, link_only: bool
    ) -> None:
        super().__init__(message, name, None, SpanKind.INTERNAL, link_only, batch.tracer)
        self._given = attributes
        if link_only:
            self._link_only_parent = batch.span
        else:
            self._links = [Link(batch.span.get_span_context())]

    def _describe(self, incoming: Incoming) -> None:
        super()._describe(incoming)
        self._attributes |= self._given
