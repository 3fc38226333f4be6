"""Trace context for readings that leave a microcontroller: 55 or 22 bytes, no allocation per message.

The core: `tracer` makes the bytes; `_port` knows the interpreter (else `_port_other`, `pairs`, `sfc16`).
On the wire: `publish`, `user_property`, `json_member`, `binary_trailer`; `carrier`, `member`, `trailer`; `binary`.
Clients: `mqtt5`, `simple`, `robust2`, `mqtt_as`, `minimqtt`.  Commands: `incoming`, `command`.
Once per boot: `birth`, `reset_cause`, `boot_count` in `nvs`, `file_slots`, `nvm`, or `slots` of `memory`, or `words`.
Now and then: `stats` (`counted`, `counted_async`, `tally`, `in_flight`, `ranges`, `every`).  Deep sleep: `asleep`.
On demand: `sampling` (`desired`, `sampling_state`, `countdown`, `flat_json`, `json_number`).
They share `json_buffer`, `json_text`, `ticks`.
"""

from motetrace.tracer import Tracer

__version__ = "0.1.0"
__repo__ = "https://github.com/motetrace/motetrace.git"
