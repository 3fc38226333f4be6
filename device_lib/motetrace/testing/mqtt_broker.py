"""An MQTT broker in this process: it keeps what devices publish, and delivers what a test publishes."""

import json
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

_CONTEXT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|[0-9a-f]{10}-[0-9a-f]{8}-[0-9a-f]{2}(-.*)?")


@dataclass(frozen=True)
class Published:
    """One message as the broker got it."""

    topic: str
    payload: bytes
    user_properties: list[tuple[str, str]] = field(default_factory=list)
    qos: int = 0
    retain: bool = False
    dup: bool = False
    expiry_s: int | None = None

    @property
    def context(self) -> str | None:
        """The traceparent or seqref in a user property or a member of a JSON object; None: there is none.

        A binary trailer (the last 33 or 14 bytes of the payload) is not looked for.
        """
        found = dict(self.user_properties)
        if self.payload[:1] == b"{":
            try:
                found |= json.loads(self.payload)
            except ValueError:
                pass
        text = found.get("traceparent", found.get("seqref"))
        return text if isinstance(text, str) and _CONTEXT.fullmatch(text) else None

    @property
    def seq(self) -> int | None:
        """The message's number within its boot, from its context; the first is 1."""
        text = self.context
        if text is None:
            return None
        return int(text[13:21] if len(text) == 55 else text[11:19], 16)


class Mailbox:
    """One client's subscriptions, and what waits to be delivered to it."""

    def __init__(self) -> None:
        self.filters: set[str] = set()
        self.waiting: deque[Published] = deque()


class Broker:
    """Every client of motetrace.testing is connected to this one.

    Attributes:
        published: what clients published, in order; a test may empty it.
        reachable: False: connections break at their next use, and new ones are refused, until it is True again.
    """

    def __init__(self) -> None:
        self.published: list[Published] = []
        self.reachable = True
        self._mailboxes: list[Mailbox] = []

    def reset(self) -> None:
        """Be as new: nothing published, nobody connected, reachable."""
        self.published.clear()
        self._mailboxes.clear()
        self.reachable = True

    def deliver(
        self,
        topic: str,
        payload: bytes | str,
        user_properties: Iterable[tuple[str, str]] = (),
        *,
        retain: bool = False,
    ) -> int:
        """Publish a message to the devices; return how many of them have subscribed to its topic."""
        data = payload.encode() if isinstance(payload, str) else bytes(payload)
        message = Published(topic, data, list(user_properties), 0, retain)
        receivers = [mailbox for mailbox in self._mailboxes if any(_matches(f, topic) for f in mailbox.filters)]
        for mailbox in receivers:
            mailbox.waiting.append(message)
        return len(receivers)

    def connect(self) -> Mailbox:
        """For clients: a new connection.

        Raises:
            ConnectionRefusedError: the broker is not reachable.
        """
        if not self.reachable:
            raise ConnectionRefusedError(111, "the test made the broker unreachable")
        mailbox = Mailbox()
        self._mailboxes.append(mailbox)
        return mailbox

    def check(self, mailbox: Mailbox) -> None:
        """For clients: before each use of a connection.

        Raises:
            ConnectionResetError: the broker is not, or was not, reachable: the connection is gone.
        """
        if not self.reachable and mailbox in self._mailboxes:
            self._mailboxes.remove(mailbox)
        if mailbox not in self._mailboxes:
            raise ConnectionResetError(104, "the test made the broker unreachable")

    def disconnect(self, mailbox: Mailbox) -> None:
        """For clients: a connection's end."""
        if mailbox in self._mailboxes:
            self._mailboxes.remove(mailbox)


broker = Broker()


def _matches(pattern: str, topic: str) -> bool:
    wanted, there = pattern.split("/"), topic.split("/")
    for at, word in enumerate(wanted):
        if word == "#":
            return True
        if at >= len(there) or word not in ("+", there[at]):
            return False
    return len(wanted) == len(there)
