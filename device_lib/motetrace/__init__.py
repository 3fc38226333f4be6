"""Trace context for readings that leave a microcontroller: 55 or 22 bytes, no allocation per message.

`Tracer` makes the bytes; `mqtt5`, `json_member` put them on the wire; `incoming` continues somebody else's trace.
"""

from motetrace.tracer import Tracer

__version__ = "0.1.0"
__repo__ = "https://github.com/motetrace/motetrace.git"
