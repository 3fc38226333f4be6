"""Shows: a sensor over MQTT 3.1.1 with the client as it is; the context is the first member of the JSON payload.

Wants: a board with Wi-Fi and MicroPython (ESP32, Pico W, Pico 2 W), umqtt.simple2, settings.py and wifi.py, and
    motetrace device install --with json,messages
"""

import time

import machine
import settings
import wifi
from umqtt.simple2 import MQTTClient

from motetrace import Tracer
from motetrace.messages import birth
from motetrace.simple2 import JsonMember

sensor = machine.ADC(machine.Pin(settings.SENSOR_PIN))
device = settings.DEVICE.encode()
tracer = Tracer()
client = JsonMember(MQTTClient(settings.DEVICE, settings.BROKER, settings.PORT), tracer)

wifi.connect()
client.connect()
client.plain(b"motetrace/%s/birth" % device, birth(tracer, "1.4.2"), retain=True, qos=1)
while True:
    tracer.mark()  # from here on the reading ages
    light = sensor.read_u16()
    client.publish(b"devices/%s/telemetry" % device, b'{"light":%d}' % light, qos=1)
    client.check_msg()
    time.sleep(settings.INTERVAL_S)
