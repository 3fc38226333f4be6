"""legacy-0007: firmware that is not ours and stays as it is. It knows nothing of tracing, but numbers its messages."""

import station
from umqtt.simple2 import MQTTClient

client = MQTTClient(station.DEVICE, station.HOST, station.PORT)
client.connect()
topic = b"legacy/%s/up" % station.DEVICE.encode()


def publish(seq):
    return client.publish(topic, b'{"seq":%d,"temp":%.2f}' % (seq, station.temperature()), qos=1)


station.run(client, publish)
