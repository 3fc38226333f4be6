"""Sessions with a device on which a client is set up: `c` publishes, `t` is its tracer, `statuses` what it was told."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.device.session import Session

COMMON = """
from time import ticks_add, ticks_diff, ticks_ms
from micropython import mem_total
from motetrace import Tracer, _port
from umqtt.simple2 import MQTTClient as Simple2, MQTTException
statuses = []
arrived = []
def until(condition, ms=10000):
    end = ticks_add(ticks_ms(), ms)
    while not condition():
        if ticks_diff(end, ticks_ms()) <= 0:
            raise OSError("not within %d ms" % ms)
        c.check_msg()
def failure(step):
    try:
        step()
    except Exception as e:
        return type(e).__name__, [a if isinstance(a, int) else repr(a) for a in e.args]
    return None
"""
MAKE = {
    "mqtt5": """
from motetrace.mqtt5 import MQTTClient
t = Tracer({mode!r})
c = MQTTClient("device", {host!r}, {port}, tracer=t, socket_timeout={socket_timeout}, {options})
def on_message(topic, msg, retained, dup):
    arrived.append((topic, msg, retained, dup, c.user_properties, c.traceparent))
""",
    "json": """
from motetrace.simple2 import JsonMember
t = Tracer({mode!r})
c = JsonMember(Simple2("device", {host!r}, {port}, socket_timeout={socket_timeout}, {options}), t)
def on_message(topic, msg, retained, dup):
    arrived.append((topic, msg, retained, dup))
""",
}
CALLBACKS = """
c.set_callback(on_message)
c.set_callback_status(lambda pid, status: statuses.append([pid, status]))
"""


@contextmanager
def client(
    interpreter: str,
    carrier: str,
    host: str,
    port: int,
    *,
    mode: str = "traceparent",
    socket_timeout: float = 5,
    options: str = "",
    connect: bool = True,
) -> Iterator[Session]:
    """A session with a client of a carrier, `mqtt5` or `json`; `options` are further arguments of its constructor."""
    with Session(interpreter, "-X", "heapsize=64m") as device:
        device.run(COMMON)
        make = MAKE[carrier].format(mode=mode, host=host, port=port, socket_timeout=socket_timeout, options=options)
        device.run(make + CALLBACKS)
        if connect:
            device.run("c.connect()")
        yield device
