"""mqtt_as's publish(), with what became of it noted in a Tally; what the client raises goes on as it is."""


class CountedAsync:
    """The client (`mqtt_as.MQTTClient` of this package) with a publish() that counts; everything else is its own.

    Any number of tasks may publish at a time: the client takes a message's seq when its publish() is called, before
    anything is awaited. It returns when the PUBACK is there; until then the message is pending, also through an outage.
    """

    def __init__(self, client, tally):
        self.client = client
        self.tally = tally

    def __getattr__(self, name):
        return getattr(self.client, name)

    async def publish(self, topic, msg, retain=False, qos=0, properties=None):
        t = self.tally
        since = t.in_flight.now()
        before = bytes(t.tracer.block[5:9])
        if properties:
            sending = self.client.publish(topic, msg, retain, qos, properties)
        else:
            sending = self.client.publish(topic, msg, retain, qos)
        seq = bytes(t.tracer.block[5:9])
        if seq == before:
            return await sending
        t.count += 1
        t.in_flight.pending += 1
        try:
            answer = await sending
        except BaseException:
            t.failed.add(seq)
            raise
        finally:
            t.in_flight.pending -= 1
        if qos:
            t.arrived(t.in_flight.after_ms(since))
        return answer
