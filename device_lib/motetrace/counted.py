"""Any client's publish(), with what became of it noted in a Tally; what the client raises goes on as it is."""


class Counted:
    """The client (a carrier's, or any other) with a publish() that counts; everything else is the client's own.

    A publish() that takes no seq (a payload left alone, a client without a carrier) is passed through; one that raises
    is then counted in `unnumbered`. While a publish() is under way, what it calls must not publish through this.

    Args:
        waits: its publish() at QoS 1 returns when the PUBACK is there: umqtt.simple, minimqtt. Otherwise it returns
            the packet id, and the application tells the tally's status().
    """

    def __init__(self, client, tally, waits=False):
        self.client = client
        self.tally = tally
        self.unnumbered = 0
        self._waits = waits
        self._before = bytearray(4)
        self._topic = self._msg = None

    def __getattr__(self, name):
        return getattr(self.client, name)

    def _numbered(self):
        # Whether seq is another than at the last call.
        b = self._before
        c = self.tally.tracer.block
        n = 4
        same = True
        while n:
            n -= 1
            if b[n] != c[5 + n]:
                b[n] = c[5 + n]
                same = False
        return not same

    def publish(self, topic, msg, retain=False, qos=0, dup=False):
        # The arguments wait in attributes: with them, a `try` and a call the frame would be put on the heap.
        self._topic = topic
        self._msg = msg
        self._retain = retain
        self._qos = qos
        self._dup = dup
        self._numbered()
        if qos and self._waits:
            self._since = self.tally.in_flight.now()
        self._send()
        return self._done(self._pid)

    def _send(self):
        try:
            if self._dup:
                self._pid = self.client.publish(self._topic, self._msg, self._retain, self._qos, True)
            else:
                self._pid = self.client.publish(self._topic, self._msg, self._retain, self._qos)
        except BaseException:
            self._raised()
            raise

    def _raised(self):
        self._topic = self._msg = None
        if self._numbered():
            self.tally.raised()
        elif not self._dup:  # a retry's seq is failed or in flight already
            self.unnumbered += 1

    def _done(self, pid):
        self._topic = self._msg = None
        if self._numbered() or self._dup:
            t = self.tally
            if self._waits or not self._qos:
                t.published(0, self._dup)
                if self._qos:
                    t.arrived(t.in_flight.after_ms(self._since))
            else:
                t.published(pid if isinstance(pid, int) else 0, self._dup)
        return pid
