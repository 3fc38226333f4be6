"""Context as a user property of an MQTT 5 PUBLISH; the payload is not copied."""

from struct import pack_into

from motetrace.publish import Publish


class UserProperty(Publish):
    """Publishes through an MQTT 5 client; its `tracer` is a Tracer, an Incoming, or None for no context at all.

    MQTTClient has one of its own. A second one over the same client and an Incoming sends answers to commands.
    """

    def __init__(self, client, tracer, expiry=0):
        # Property length, message expiry, and a user property up to its value, whose length is written each time.
        lead = b"\x00\x02" + expiry.to_bytes(4, "big") if expiry else b"\x00"
        if tracer:
            lead += b"\x26\x00%s\x00\x00" % (b"\x0btraceparent" if tracer.mode[0] == "t" else b"\x06seqref")
        super().__init__(client, tracer, lead)

    def bare(self, b, at):
        b[at] = 0
        return at + 1

    def close(self, b, end):
        t = self.tracer
        if t:
            if t.tracestate:
                pack_into("15s12s", b, end, b"\x26\x00\x0atracestate\x00\x0c", t.tracestate)
                end += 27
            b[self._at + len(self.lead) - 1] = self.size
        b[self._at] = end - self._at - 1  # at most 5 + 71 + 27: one byte
        return end
