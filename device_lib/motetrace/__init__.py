"""Trace context for readings that leave a microcontroller: 55 or 22 bytes, no allocation per message.

The core: `tracer` makes the bytes; `_port` is what differs between interpreters (on others `_port_other`).
umqtt.simple2: `mqtt5` (MQTT 5), `simple2` (as it is, JSON member or trailer); both write packets by `publish`.
Other clients: `simple`, `robust`, `robust2`, `mqtt_as`, `minimqtt`, by what `payload` puts into a payload or buffer.
Answers to commands: `incoming`.  Birth and stats messages: `messages`.  Sampling on request: `sampling`.
What outlives a reset, boot count and deep sleep: `boot`.
"""

from motetrace.tracer import Tracer

__version__ = "0.1.0"
__repo__ = "https://github.com/motetrace/motetrace.git"
