"""sensor-0044: firmware 1.4.2-rc1, which has a bug: from the second reading on it sends the temperature as a text.

Nothing on the way minds, until the database does. The trace shows the database's words beside device and firmware.
"""

import station

from motetrace import Tracer
from motetrace.messages import birth
from motetrace.mqtt5 import MQTTClient

tracer = Tracer(mode="seqref")
client = MQTTClient(station.DEVICE, station.HOST, station.PORT, tracer=tracer)
client.connect()
client.plain(b"motetrace/%s/birth" % station.DEVICE.encode(), birth(tracer, "1.4.2-rc1"), retain=True, qos=1)
topic = b"devices/%s/telemetry" % station.DEVICE.encode()


def publish(n):
    tracer.mark()  # from here on the reading ages
    temp = station.temperature()
    template = b'{"temp":%.2f}' if n == 1 else b'{"temp":"%.2f"}'  # the bug
    return client.publish(topic, template % temp, qos=1)


station.run(client, publish, tracer)
