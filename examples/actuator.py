"""Shows: a relay that obeys commands and answers. The answer continues the command's trace, so that one trace holds the
button, the command, the relay and the answer; what the device says on its own begins traces as ever.

Wants: a board with Wi-Fi and MicroPython (ESP32, Pico W, Pico 2 W), umqtt.simple2, settings.py and wifi.py, and
    motetrace device install --with mqtt5,messages,incoming
"""

import machine
import settings
import wifi

from motetrace import Tracer
from motetrace.incoming import Incoming
from motetrace.messages import birth
from motetrace.mqtt5 import MQTTClient, UserProperty

device = settings.DEVICE.encode()
relay = machine.Pin(settings.RELAY_PIN, machine.Pin.OUT)
tracer = Tracer()
incoming = Incoming(tracer)
client = MQTTClient(settings.DEVICE, settings.BROKER, settings.PORT, tracer=tracer)
answers = UserProperty(client, incoming)


def on_command(topic, msg, retained, dup):
    incoming.read(client.traceparent or b"")  # a command without a context gets an answer with a new trace
    relay.value(1 if msg == b"on" else 0)
    answers.publish(b"devices/%s/answer" % device, b'{"relay":%d}' % relay.value(), qos=1)


wifi.connect()
client.set_callback(on_command)
client.connect()
client.plain(b"motetrace/%s/birth" % device, birth(tracer, "1.4.2"), retain=True, qos=1)
client.subscribe(b"devices/%s/command" % device, 1)
while True:
    client.wait_msg()
