"""Shows: a sensor on CircuitPython with adafruit_minimqtt; the context is the first member of the JSON payload.

Wants: a Pico W or an ESP32-S3 with CircuitPython 9 or later, `circup install adafruit_minimqtt`, and
    motetrace device install --board circuitpython-pico-w --with minimqtt,payload,messages
In settings.toml: CIRCUITPY_WIFI_SSID, CIRCUITPY_WIFI_PASSWORD, MQTT_BROKER, MQTT_PORT, DEVICE, INTERVAL_S
"""

import os
import time

import microcontroller
import socketpool
import wifi

from motetrace import Tracer
from motetrace.messages import birth
from motetrace.minimqtt import MQTT
from motetrace.payload import Member

wifi.radio.connect(os.getenv("CIRCUITPY_WIFI_SSID"), os.getenv("CIRCUITPY_WIFI_PASSWORD"))
device = os.getenv("DEVICE")
tracer = Tracer()
member = Member(tracer)
client = MQTT(
    broker=os.getenv("MQTT_BROKER"),
    port=int(os.getenv("MQTT_PORT")),
    client_id=device,
    socket_pool=socketpool.SocketPool(wifi.radio),
)
client.connect()
client.publish("motetrace/%s/birth" % device, birth(tracer, "1.4.2"), True, 1)
client.carrier = member  # from here on every message carries a context
while True:
    tracer.mark()
    client.publish("devices/%s/telemetry" % device, '{"temp":%.1f}' % microcontroller.cpu.temperature, qos=1)
    client.loop(1)
    time.sleep(float(os.getenv("INTERVAL_S")))
