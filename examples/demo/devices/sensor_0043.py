"""sensor-0043: MQTT 3.1.1 by umqtt.simple2 as it is; the traceparent is the first member of the JSON payload."""

import station
from umqtt.simple2 import MQTTClient

from motetrace import Tracer
from motetrace.messages import birth
from motetrace.simple2 import JsonMember

tracer = Tracer()
client = MQTTClient(station.DEVICE, station.HOST, station.PORT)
client.connect()
client.publish(b"motetrace/%s/birth" % station.DEVICE.encode(), birth(tracer, "1.4.1"), retain=True, qos=1)
traced = JsonMember(client, tracer)
topic = b"devices/%s/telemetry" % station.DEVICE.encode()


def publish(n):
    tracer.mark()  # from here on the reading ages
    temp = station.temperature()
    return traced.publish(topic, b'{"temp":%.2f}' % temp, qos=1)


station.run(client, publish, tracer)
