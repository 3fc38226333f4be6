"""Every client as an application uses it, behind one interface, so that one suite can hold them all to one contract.

A driver has: connect(), publish(topic, msg, retain, qos) as the client has it, deliver(topic, msg, retain), which does
what a careful application does at QoS 1 until the broker has the message, whatever happens meanwhile, subscribe(topic),
turn() to take in what came, `got` with the arguments of the user's callback, `tracer`, left_alone(), narrow(), which
makes the socket's send buffer as small as it gets, and plain, a client of the same kind without us.
"""

import time

from motetrace import Tracer

LIMIT_S = 60
SOL_SOCKET, SO_SNDBUF = 1, 7


class Driver:
    def __init__(self, host, port, carrier, mode):
        self.address = host, port
        self.tracer = Tracer(mode)
        self.got = []
        self.sent_again = 0
        self.carrier = None
        if carrier == "member":
            from motetrace.payload import Member

            self.carrier = Member(self.tracer)
        elif carrier == "trailer":
            from motetrace.payload import Trailer

            self.carrier = Trailer(self.tracer)
        self.make(host, port, carrier)

    def connect(self):
        self.client.connect()

    def publish(self, topic, msg, retain=False, qos=0):
        return self.client.publish(topic, msg, retain, qos)

    def subscribe(self, topic):
        self.client.subscribe(topic)

    def on_message(self, *args):
        self.got.append([a for a in args if a is not self.client])

    def settle(self):
        """Wait until nothing is unacknowledged; for clients whose calls return before."""

    def left_alone(self):
        return self.carrier.left_alone

    def reconnect(self):
        end = time.time() + LIMIT_S
        while True:
            try:
                return self.connect()
            except Exception:
                if time.time() > end:
                    raise
                time.sleep(0.02)

    def until(self, condition):
        end = time.time() + LIMIT_S
        while not condition():
            if time.time() > end:
                raise OSError("nothing came within %d s" % LIMIT_S)
            self.turn()

    def until_got(self, n):
        self.until(lambda: len(self.got) >= n)


class Simple(Driver):
    def make(self, host, port, carrier):
        from umqtt.simple import MQTTClient as Plain

        from motetrace.simple import MQTTClient

        self.client = MQTTClient(b"traced", host, port, carrier=self.carrier)
        self.plain = Plain(b"plain", host, port)
        self.client.set_callback(self.on_message)

    def turn(self):
        self.client.check_msg()

    def narrow(self):
        self.client.sock.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)

    def deliver(self, topic, msg, retain=False):
        while True:
            try:
                return self.client.publish(topic, msg, retain, 1)
            except Exception:
                self.sent_again += 1
                self.reconnect()
                self.carrier.again = True


class Robust(Driver):
    def make(self, host, port, carrier):
        from umqtt.robust import MQTTClient as Plain

        from motetrace.robust import MQTTClient

        self.client = MQTTClient(b"traced", host, port, carrier=self.carrier)
        self.client.DELAY = 0.02
        self.client.log = self.log
        self.plain = Plain(b"plain", host, port)
        self.client.set_callback(self.on_message)

    def log(self, in_reconnect, error):
        self.sent_again += not in_reconnect

    def turn(self):
        self.client.check_msg()

    def narrow(self):
        self.client.sock.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)

    def deliver(self, topic, msg, retain=False):
        self.client.publish(topic, msg, retain, 1)


class Simple2(Driver):
    def make(self, host, port, carrier):
        from umqtt.simple2 import MQTTClient as Plain

        limits = {"socket_timeout": 5, "message_timeout": 1}
        self.plain = Plain(b"plain", host, port, **limits)
        inner = Plain(b"traced", host, port, **limits)
        if carrier == "property":
            from motetrace.mqtt5 import MQTTClient

            self.client = MQTTClient(b"traced", host, port, tracer=self.tracer, **limits)
        elif carrier == "member":
            from motetrace.simple2 import JsonMember

            self.client = JsonMember(inner, self.tracer)
        else:
            from motetrace.simple2 import BinaryTrailer

            self.client = BinaryTrailer(inner, self.tracer)
        self.statuses = {}
        self.client.set_callback(self.on_message)
        self.client.set_callback_status(self.on_status)

    def settle(self):
        self.until(lambda: not self.client.rcv_pids)

    def on_status(self, pid, status):
        self.statuses[pid] = status

    def left_alone(self):
        return self.client.left_alone

    def turn(self):
        self.client.check_msg()

    def narrow(self):
        self.client.sock.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)

    def deliver(self, topic, msg, retain=False):
        dup = False
        while True:
            try:
                pid = self.client.publish(topic, msg, retain, 1, dup)
                self.statuses.pop(pid, None)
                self.until(lambda: pid in self.statuses)
                if self.statuses[pid] == 1:
                    return
            except Exception:
                self.reconnect()
            dup = True
            self.sent_again += 1


class Robust2(Driver):
    def make(self, host, port, carrier):
        from umqtt.robust2 import MQTTClient as Plain

        from motetrace.robust2 import MQTTClient

        self.plain = Plain(b"plain", host, port)
        self.client = MQTTClient(b"traced", host, port, socket_timeout=2, message_timeout=1, carrier=self.carrier)
        self.client.set_callback(self.on_message)

    def connect(self):
        self.client.connect(False)
        if self.client.is_conn_issue():
            raise self.client.conn_issue[0]

    def turn(self):
        self.client.check_msg()

    def narrow(self):
        self.client.sock.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)

    def settle(self):
        """What robust2's own documentation puts into the main loop."""
        end = time.time() + LIMIT_S
        while self.client.is_conn_issue() or self.client.things_to_do():
            if time.time() > end:
                raise OSError("not settled within %d s" % LIMIT_S)
            if self.client.is_conn_issue():
                self.client.reconnect()
                time.sleep(0.02)
            else:
                self.client.send_queue()
                self.client.check_msg()

    def deliver(self, topic, msg, retain=False):
        self.client.publish(topic, msg, retain, 1)
        self.settle()


class MqttAs(Driver):
    def make(self, host, port, carrier):
        import asyncio

        import mqtt_as

        from motetrace.mqtt_as import MQTTClient

        self.loop = asyncio.get_event_loop()
        self.sleep = asyncio.sleep
        c = dict(mqtt_as.config)
        c.update(client_id=b"traced", server=host, port=port, response_time=1, subs_cb=self.on_message)
        c["mqttv5"] = carrier == "property"
        tracer = self.tracer if carrier == "property" else None
        self.client = MQTTClient(c, tracer=tracer, carrier=self.carrier)
        c = dict(c)
        c["client_id"] = b"plain"
        self.plain = mqtt_as.MQTTClient(c)

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def connect(self):
        if not self.client.isconnected():
            self.run(self.client.connect())

    def publish(self, topic, msg, retain=False, qos=0):
        self.run(self.client.publish(topic, msg, retain, qos))

    def deliver(self, topic, msg, retain=False):
        self.run(self.client.publish(topic, msg, retain, 1))
        self.sent_again = self.client.REPUB_COUNT

    def subscribe(self, topic):
        self.run(self.client.subscribe(topic))

    async def wait(self):
        await self.sleep(0.005)

    def turn(self):
        self.run(self.wait())

    def narrow(self):
        self.client._sock.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)

    def left_alone(self):
        return self.carrier.left_alone


class MiniMqtt(Driver):
    def make(self, host, port, carrier):
        import socket

        from adafruit_minimqtt.adafruit_minimqtt import MQTT as Plain

        from motetrace.minimqtt import MQTT

        limits = {"broker": host, "port": port, "socket_pool": socket, "recv_timeout": 2, "connect_retries": 1}
        self.plain = Plain(client_id="plain", **limits)
        self.client = MQTT(client_id="traced", carrier=self.carrier, **limits)
        self.client.on_message = self.on_message

    def turn(self):
        self.client.loop(1)

    def narrow(self):
        self.client._sock.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)

    def reconnect(self):
        try:
            self.client.disconnect()
        except Exception:
            pass
        Driver.reconnect(self)

    def deliver(self, topic, msg, retain=False):
        while True:
            try:
                return self.client.publish(topic, msg, retain, 1)
            except Exception:
                self.sent_again += 1
                self.reconnect()
                self.carrier.again = True


DRIVERS = {
    "simple": Simple,
    "robust": Robust,
    "simple2": Simple2,
    "robust2": Robust2,
    "mqtt_as": MqttAs,
    "minimqtt": MiniMqtt,
}
