"""sensor-0042: MQTT 5, sends a seqref (33 bytes more per message, 41 with age); the host derives the rest."""

import station

from motetrace import Tracer
from motetrace.messages import birth
from motetrace.mqtt5 import MQTTClient

tracer = Tracer(mode="seqref")
client = MQTTClient(station.DEVICE, station.HOST, station.PORT, tracer=tracer)
client.connect()
client.plain(b"motetrace/%s/birth" % station.DEVICE.encode(), birth(tracer, "1.4.1"), retain=True, qos=1)
topic = b"devices/%s/telemetry" % station.DEVICE.encode()


def publish(n):
    tracer.mark()  # from here on the reading ages
    temp = station.temperature()
    return client.publish(topic, b'{"temp":%.2f}' % temp, qos=1)


station.run(client, publish, tracer)
