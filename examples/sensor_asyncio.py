"""Shows: a sensor in an asyncio application with mqtt_as in MQTT 5 mode; retries and outages are mqtt_as's business,
and a reading keeps its number through them.

Wants: a board with Wi-Fi and MicroPython (ESP32, Pico W, Pico 2 W), mqtt_as 0.8, settings.py, and
    motetrace device install --with mqtt_as,messages
"""

import asyncio

import machine
import settings
from mqtt_as import MQTTClient as Plain
from mqtt_as import config

from motetrace import Tracer
from motetrace.messages import birth
from motetrace.mqtt_as import MQTTClient

config["ssid"], config["wifi_pw"] = settings.WIFI
config["server"] = settings.BROKER
config["port"] = settings.PORT
config["client_id"] = settings.DEVICE.encode()
config["mqttv5"] = True  # without it mqtt_as drops user properties, and says nothing
config["queue_len"] = 1

tracer = Tracer()


async def main():
    client = MQTTClient(config, tracer)
    await client.connect()
    # mqtt_as's own publish: a birth message is no reading and takes no number.
    await Plain.publish(client, "motetrace/%s/birth" % settings.DEVICE, birth(tracer, "1.4.2"), True, 1)
    sensor = machine.ADC(machine.Pin(settings.SENSOR_PIN))
    while True:
        tracer.mark()
        light = b'{"light":%d}' % sensor.read_u16()
        await client.publish("devices/%s/telemetry" % settings.DEVICE, light, qos=1)
        await asyncio.sleep(settings.INTERVAL_S)


asyncio.run(main())
