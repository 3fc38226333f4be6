"""What is done with a context that comes in, by topic: how much of it is believed.

From all to nothing, each policy believes what the next one does and something more:

| policy | ids | sampled flag | number (boot nonce, seq) | tracestate | baggage |
|---|---|---|---|---|---|
| `continue` | the sender's | honoured | counted | passed on | passed on |
| `resample` | the sender's | the host decides | counted | passed on | passed on |
| `link` | the host's, linked to the sender's | the host decides | counted | in the link | dropped |
| `off` | the host's | the host decides | not read | dropped | dropped |

Why a number is counted although its trace is not continued: a sender that may not choose our trace-ids still numbers
the messages it sent, and false numbers can only make its own device look as if it lost some. Why not under `off`: a
number that is made up would be a loss that never was, and a sender that is believed in nothing may make one up.
Source: docs/trust.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from motetrace_host.core.mqtt.topics import TopicFilter


class TrustPolicy(IntEnum):
    """What is done with the context that comes on a topic; the numbers are stored (`record.RecordExtra.policy`)."""

    CONTINUE = 0
    LINK = 1
    RESAMPLE = 2
    OFF = 3

    @property
    def word(self) -> str:
        """As in `--trust` and the attribute `trace.trust`."""
        return self.name.lower()


class TrustRules:
    """The rules of `--trust` in the order they were given: the first whose filter matches a topic counts."""

    def __init__(self, rules: Sequence[tuple[TopicFilter, TrustPolicy]] = ()) -> None:
        self._rules = tuple(rules)

    def policy(self, topic: str) -> TrustPolicy:
        """The policy of a topic as received; `continue` where no rule matches."""
        return next((policy for topic_filter, policy in self._rules if topic_filter.match(topic)), TrustPolicy.CONTINUE)
