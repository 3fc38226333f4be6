"""Shows: a sensor over MQTT 5; the context is a user property, the payload stays as it was. A lost connection is made
again, and the reading that was on its way is sent once more with the number it had.

Wants: a board with Wi-Fi and MicroPython (ESP32, Pico W, Pico 2 W), umqtt.simple2, settings.py and wifi.py, and
    motetrace device install --with mqtt5,messages
"""

import time

import machine
import settings
import wifi
from umqtt.simple2 import MQTTException

from motetrace import Tracer
from motetrace.messages import birth
from motetrace.mqtt5 import MQTTClient

sensor = machine.ADC(machine.Pin(settings.SENSOR_PIN))
device = settings.DEVICE.encode()
topic = b"devices/%s/telemetry" % device
tracer = Tracer()
client = MQTTClient(settings.DEVICE, settings.BROKER, settings.PORT, tracer=tracer, expiry=3600)


def connect():
    client.connect()
    message = birth(tracer, "1.4.2", {"deployment_site": "cold room 2"}, expiry_s=3600)
    client.plain(b"motetrace/%s/birth" % device, message, retain=True, qos=1)


def deliver(payload):
    again = False
    while True:
        try:
            return client.publish(topic, payload, qos=1, dup=again)
        except (OSError, MQTTException):
            again = True
        try:
            connect()
        except (OSError, MQTTException):
            time.sleep(0.5)


wifi.connect()
connect()
while True:
    tracer.mark()
    deliver(b'{"light":%d}' % sensor.read_u16())
    try:
        client.check_msg()
    except (OSError, MQTTException):
        pass  # the next deliver() connects again
    time.sleep(settings.INTERVAL_S)
