"""Unit tests of firmware on a PC: stand-ins for what CPython lacks, and a record of what the firmware published.

    from motetrace import testing

    testing.install()                    # once, before the firmware is imported
    import station                       # your firmware, unchanged

    testing.reset()                      # before each test
    client = station.connect()
    testing.ticks.step(250)              # milliseconds pass for the firmware
    station.publish_reading(client)
    testing.broker.published[0]          # topic, payload, user_properties, qos, retain, dup, expiry_s; context, seq
    testing.broker.deliver("devices/station/command", b"on")    # what the next check_msg() hands to the callback
    testing.broker.reachable = False     # connections break, new ones are refused

After install() these can be imported: `umqtt.simple`, `umqtt.robust`, `umqtt.simple2`, `umqtt.robust2`, `mqtt_as` and
`adafruit_minimqtt`, and so every module of this package. All of them are connected to `broker` without a network,
whatever address they are given. `time` has MicroPython's ticks_ms, ticks_us, ticks_add, ticks_diff, sleep_ms and
sleep_us, `asyncio` its sleep_ms; sleeping steps `ticks` and returns at once. Clients never wait: where the real one
would wait for a message for ever, wait_msg() returns None; where umqtt.robust would try for ever to reconnect, it
raises the error of its fifth attempt.

Not stood in for: what only your board has (`machine`, `network`, drivers; hand those in, or put your own into
sys.modules), time.sleep(), Wi-Fi, TLS, Wills, sessions that outlive a connection. This folder is not for the board:
`motetrace device install` and mip leave it out.
Source: docs/your-firmware.md.
"""

import asyncio
import struct
import sys
import time
from types import ModuleType

from motetrace import _port
from motetrace.testing.clock import Ticks, ticks
from motetrace.testing.mqtt_broker import Broker, Published, broker

__all__ = ["Broker", "Published", "Ticks", "broker", "install", "reset", "ticks"]


def install() -> None:
    """Put the stand-ins into their places for the rest of this process; a second call changes nothing."""
    for name in ("ticks_ms", "ticks_us", "ticks_add", "ticks_diff", "sleep_ms", "sleep_us"):
        setattr(time, name, getattr(ticks, name))
    _port.ticks_ms = ticks.ticks_ms
    _port.ticks_diff = ticks.ticks_diff
    asyncio.sleep_ms = ticks.sleep_ms_async  # type: ignore[attr-defined]

    from motetrace.testing import asyncio_client, minimqtt_client, network, umqtt_simple, umqtt_simple2

    clients = {
        "simple": umqtt_simple.Simple,
        "robust": umqtt_simple.Robust,
        "simple2": umqtt_simple2.Simple2,
        "robust2": umqtt_simple2.Robust2,
    }
    inside: dict[str, ModuleType] = {}
    for name, client in clients.items():
        inside[name] = _module(f"umqtt.{name}", MQTTClient=client, MQTTException=umqtt_simple.MQTTException)
    _module("umqtt", __path__=[], **inside)
    _module("mqtt_as", MQTTClient=asyncio_client.MQTTClient, config=asyncio_client.CONFIG)
    inner = _module(
        "adafruit_minimqtt.adafruit_minimqtt",
        MQTT=minimqtt_client.MQTT,
        MMQTTException=minimqtt_client.MMQTTException,
    )
    _module("adafruit_minimqtt", __path__=[], adafruit_minimqtt=inner)

    # MicroPython's struct takes any buffer for "55s", CPython's bytes only.
    from motetrace import mqtt5, payload, publish, simple2

    for user in (mqtt5, payload, publish, simple2):
        user.pack_into = _pack_into  # type: ignore[attr-defined]
    mqtt5.socket = mqtt5.select = network  # type: ignore[attr-defined]  # all that it uses of a network


def reset() -> None:
    """Forget what was published, subscribed and delivered, have the broker reachable, and ticks at 0."""
    broker.reset()
    ticks.reset()


def _module(name: str, **contents: object) -> ModuleType:
    module = ModuleType(name, "A stand-in: motetrace.testing.")
    vars(module).update(contents)
    sys.modules[name] = module
    return module


def _pack_into(form: str, buffer: bytearray, at: int, *values: bytes | bytearray | memoryview) -> None:
    struct.pack_into(form, buffer, at, *map(bytes, values))
