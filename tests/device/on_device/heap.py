"""No bytes of heap per message: counted by micropython.mem_total(), which only ever grows, at every counter value."""

import gc

from interpreter import at_seq, fresh
from micropython import mem_total
from sockets import Client, Null, connected
from umqtt.simple2 import MQTTClient as Simple2

from motetrace import Tracer
from motetrace.incoming import Incoming
from motetrace.mqtt5 import MQTTClient
from motetrace.simple2 import JsonMember

INTERPRETERS = ("micropython64", "micropython32")

EDGES = (0x100, 0x10000, 0x1000000, 0x40000000, 0x80000000)
STARTS = [0] + [edge - 4 for edge in EDGES] + [0xFFFFFFF7]  # and each goes on for 8: to 0xffffffff, not beyond
COMMAND = b" 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 "


def spent(step):
    """The bytes that step() takes from the heap; a first call, outside the count, loads what is loaded once."""
    step()
    gc.collect()
    empty = mem_total()
    empty = mem_total() - empty
    before = mem_total()
    step()
    return mem_total() - before - empty


def nothing():
    pass


def test_the_measure_sees_what_is_taken_and_given_back():
    assert spent(nothing) == 0
    assert spent(lambda: bytes(100)) >= 100
    shift = 80
    assert spent(lambda: 1 << shift) > 0


def everywhere(tracer, step):
    for start in STARTS:
        step()
        at_seq(tracer, start)
        before = mem_total()
        step()
        step()
        step()
        step()
        step()
        step()
        step()
        step()
        used = mem_total() - before
        assert used == 0, (hex(start), used)
        assert tracer.seq() == start + 8, hex(start)


MODES = ("traceparent", "seqref")


def test_next_takes_nothing_at_any_counter_value():
    for mode in MODES:
        t = Tracer(mode)
        everywhere(t, t.next)


def test_next_with_a_threshold_takes_nothing_at_any_counter_value():
    for mode in MODES:
        for threshold in (1, 32768, 65535, 65536):
            t = Tracer(mode, threshold)
            everywhere(t, t.next)


def test_mark_and_next_take_nothing_at_any_counter_value():
    for mode in MODES:
        t = Tracer(mode)

        def step():
            t.mark()
            t.next()

        everywhere(t, step)


def test_a_mark_now_and_then_takes_nothing():
    for mode in MODES:
        t = Tracer(mode)

        def step():
            t.mark()
            t.next()
            t.next()

        assert spent(step) == 0


def test_the_wrap_to_a_new_nonce_takes_nothing():
    for mode in MODES:
        for threshold in (0, 32768):
            t = Tracer(mode, threshold)
            nonce = bytes(t.block[:5])
            at_seq(t, 0xFFFFFFFC)
            before = mem_total()
            t.next()
            t.next()
            t.next()
            t.next()
            t.next()
            used = mem_total() - before
            assert used == 0, used
            assert t.seq() == 2 and bytes(t.block[:5]) != nonce


def test_every_one_of_the_first_70000_messages_takes_nothing():
    for mode in MODES:
        t = Tracer(mode, 32768)
        n = 0
        before = mem_total()
        while n < 70000:
            t.next()
            n += 1
        used = mem_total() - before
        assert used == 0, used


def test_without_uctypes_or_framebuf_next_takes_nothing_either():
    from interpreter import surrounded

    for hide in (("uctypes",), ("framebuf",), ("uctypes", "framebuf")):
        for mode in MODES:
            Tracer, _ = fresh(hide)
            with surrounded(hide):
                t = Tracer(mode, 32768)
            everywhere(t, t.next)


def test_on_sfc16_next_takes_nothing():
    from interpreter import surrounded

    with surrounded(("cryptolib",)):
        Tracer, _ = fresh()
        t = Tracer(threshold=32768)
    assert t.source == "sfc16"
    everywhere(t, t.next)


def test_reading_a_traceparent_and_answering_takes_nothing_at_any_counter_value():
    for mode in MODES:
        t = Tracer(mode)
        incoming = Incoming(t)
        for text in (COMMAND, bytearray(COMMAND), memoryview(COMMAND), COMMAND[:40], b"ff" + COMMAND[3:], b"zz" * 40):

            def step():
                incoming.read(text)
                incoming.next()

            everywhere(t, step)


def clients(mode):
    """Both carriers, each over a socket that takes everything."""
    t = Tracer(mode)
    five = MQTTClient("device", "127.0.0.1", tracer=t, expiry=60)
    yield t, five, five
    t = Tracer(mode)
    plain = Simple2("device", "127.0.0.1")
    yield t, plain, JsonMember(plain, t)


def test_a_whole_publish_takes_nothing_at_qos_0_at_any_counter_value():
    for mode in MODES:
        for t, inner, client in clients(mode):
            inner.sock = Null()
            for payload in (b'{"t":21.5}', bytearray(b"{}"), memoryview(b' {"t" : 1 } '), b"not an object", b""):

                def step():
                    client.publish(b"devices/d/telemetry", payload)

                if client is inner or payload[:1] != b"n" and len(payload):
                    everywhere(t, step)
                else:
                    assert spent(step) == 0


def test_a_publish_with_age_dup_and_retain_takes_nothing():
    for mode in MODES:
        for t, inner, client in clients(mode):
            inner.sock = Null()

            def step():
                t.mark()
                client.publish(b"devices/d/telemetry", b'{"t":21.5}', True)
                client.publish(b"devices/d/telemetry", b'{"t":21.5}', True, 0, True)

            assert spent(step) == 0


def test_a_publish_at_qos_1_takes_what_the_clients_own_table_takes_and_no_more():
    # rcv_pids is simple2's: a dict of packet ids. An id that is already in it costs nothing.
    for mode in MODES:
        for _, inner, client in clients(mode):
            inner.sock = Null()
            inner.rcv_pids = {n: 0 for n in range(1, 6)}

            def step():
                client.publish(b"devices/d/telemetry", b'{"t":21.5}', False, 1)

            assert spent(step) == 0


def test_a_publish_through_a_real_socket_takes_nothing_and_arrives_whole():
    for mode in MODES:
        for number, (t, inner, client) in enumerate(clients(mode)):
            near, far, writable = connected_anywhere(number)
            inner.sock = near
            inner.poller_w = writable

            def step():
                t.mark()
                client.publish(b"devices/d/telemetry", b'{"t":21.5}')

            assert spent(step) == 0
            inner.sock = None
            near.close()
            arrived = b""
            while True:
                data = far.read(4096)
                if not data:
                    break
                arrived += data
            far.close()
            assert arrived.count(b"devices/d/telemetry") == 2 and arrived.count(b'"t":21.5}') == 2
            assert arrived.count(b"%08x" % 1) and arrived.count(b"%08x" % 2)


def connected_anywhere(number):
    # MicroPython's socket has no getsockname: the port cannot be asked for after binding to 0, so it is drawn.
    from os import urandom

    for _ in range(50):
        draw = urandom(2)
        try:
            return connected(20000 + ((draw[0] << 8 | draw[1]) & 0x3FFF))
        except OSError:
            pass
    raise OSError("no free port in 50 tries")


def test_what_the_plain_client_takes_is_seen_by_the_same_measure():
    plain = Simple2("device", "127.0.0.1")

    class Taking(Client):
        pass

    plain._sock_timeout = Taking()._sock_timeout
    plain.poller_w = "poller_w"
    plain.sock = Null()
    plain.sock.write = lambda b, n=-1: len(b) if n < 0 else n

    def step():
        plain.publish(b"devices/d/telemetry", b'{"t":21.5}')

    assert spent(step) > 100
