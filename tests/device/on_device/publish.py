"""The packets of both carriers, byte by byte, over a socket that takes what it likes."""

from clock import Clock
from interpreter import at_seq
from packets import TOPIC, Five, length, packet, pair, written
from sockets import Client
from umqtt.simple2 import MQTTException

from motetrace import Tracer
from motetrace.mqtt5 import UserProperty
from motetrace.publish import send
from motetrace.simple2 import JsonMember

INTERPRETERS = ("micropython64", "micropython32")


def test_an_mqtt_5_publish_without_a_tracer_has_no_properties():
    c = Five()
    c.publish(TOPIC, b"payload")
    assert written(c) == packet(0x30, TOPIC, b"\x00payload")
    c = Five(expiry=3600)
    c.publish(TOPIC, b"payload", retain=True)
    assert written(c) == packet(0x31, TOPIC, b"\x05\x02\x00\x00\x0e\x10payload")


def test_every_shape_of_an_mqtt_5_publish():
    for mode in ("traceparent", "seqref"):
        for expiry in (0, 1, 0xFFFFFFFF):
            for qos in (0, 1):
                for retain in (False, True):
                    clock = Clock()
                    t = Tracer(mode, clock=clock)
                    c = Five(t, expiry)
                    for number, age in enumerate((None, 500, None, 70000)):
                        if age is not None:
                            t.mark()
                            clock.now += age
                        pid = c.publish(TOPIC, b'{"t":1}', retain, qos)
                        p = b"\x02" + expiry.to_bytes(4, "big") if expiry else b""
                        p += pair(mode.encode(), bytes((t._long if mode == "seqref" and age is not None else t._short)))
                        if mode == "traceparent" and age is not None:
                            p += pair(b"tracestate", b"mt=a:%07x" % age)
                        assert pid == (number + 1 if qos else None)
                        expected = packet(0x30 | qos << 1 | retain, TOPIC, length(len(p)) + p + b'{"t":1}', pid)
                        assert written(c) == expected
                        assert t.seq() == number + 1


def test_every_shape_of_a_json_publish():
    payloads = (
        (b'{"t":1}', b'"t":1}'),
        (b"{}", b"}"),
        (b"{ \r\n\t}", b" \r\n\t}"),
        (b' \n{ "t" : 1 }\t ', b' "t" : 1 }\t '),
        (b'{"a":{}}', b'"a":{}}'),
    )
    for mode in ("traceparent", "seqref"):
        for payload, rest in payloads:
            for kind in (bytes, bytearray, memoryview):
                for qos in (0, 1):
                    clock = Clock()
                    t = Tracer(mode, clock=clock)
                    inner = Client()
                    c = JsonMember(inner, t)
                    for number, age in enumerate((None, 500, None)):
                        if age is not None:
                            t.mark()
                            clock.now += age
                        pid = c.publish(TOPIC, kind(payload), False, qos)
                        value = bytes(t._long if mode == "seqref" and age is not None else t._short)
                        members = b'{"%s":"%s"' % (mode.encode(), value)
                        if mode == "traceparent" and age is not None:
                            members += b',"tracestate":"mt=a:%07x"' % age
                        comma = b"" if rest.strip() == b"}" else b","
                        expected = packet(0x30 | qos << 1, TOPIC, members + comma + rest, pid)
                        assert written(inner) == expected, (payload, members)
                        assert pid == (number + 1 if qos else None)
                    assert c.left_alone == 0


def test_what_is_no_json_object_is_sent_as_it_is_and_counted():
    t = Tracer()
    inner = Client()
    c = JsonMember(inner, t)
    alone = (
        b"",
        b"{",
        b"}",
        b"[]",
        b"[{}]",
        b'"text"',
        b"1",
        b" ",
        b" { ",
        b"{} x",
        b"x {}",
        b"\xef\xbb\xbf{}",
        b"\x00{}",
    )
    for number, payload in enumerate(alone):
        for qos in (0, 1):
            pid = c.publish(TOPIC, payload, False, qos)
            assert written(inner) == packet(0x30 | qos << 1, TOPIC, payload, pid), payload
        assert c.left_alone == 2 * (number + 1)
    assert t.seq() == 0
    c.publish(TOPIC, b"{}")
    assert t.seq() == 1


def test_a_plain_publish_carries_nothing_and_takes_no_seq():
    for text in ('{"v":1}', b'{"v":1}', ""):
        for retain in (False, True):
            for qos in (0, 1):
                t = Tracer()
                plain = text.encode() if isinstance(text, str) else text
                c = Five(t, 60)
                pid = c.plain(TOPIC, text, retain, qos)
                assert written(c) == packet(0x30 | qos << 1 | retain, TOPIC, b"\x00" + plain, pid)
                c.publish(TOPIC, text, retain, qos)
                assert b"%08x" % 1 in written(c)
                inner = Client()
                pid = JsonMember(inner, t).plain(TOPIC, text, retain, qos)
                assert written(inner) == packet(0x30 | qos << 1 | retain, TOPIC, plain, pid)
                assert t.seq() == 1


def test_text_is_sent_as_utf_8_with_its_length_in_bytes():
    topic = "ger\xe4te/\u6e29\u5ea6/\U0001f321"
    text = '{"ort":"K\xfchlhaus \U0001f9ca"}'
    c = Five(Tracer("seqref"))
    c.publish(topic, text)
    assert written(c)[2:].startswith(len(topic.encode()).to_bytes(2, "big") + topic.encode())
    inner = Client()
    t = Tracer("seqref")
    JsonMember(inner, t).publish(topic, text)
    expected = packet(0x30, topic.encode(), b'{"seqref":"%s",' % bytes(t._short) + text.encode()[1:])
    assert written(inner) == expected


def test_remaining_length_grows_with_the_payload_through_all_its_sizes():
    c = Five()
    for n in (0, 1, 127, 128, 16383, 16384, 2097151, 2097152):
        payload = bytes(n - 3 - len(TOPIC)) if n > 30 else bytes(n)
        c.publish(TOPIC, payload)
        data = written(c)
        assert data == packet(0x30, TOPIC, b"\x00" + payload)


def sizes(*pattern):
    while True:
        for n in pattern:
            yield n


def test_partial_writes_of_every_size_give_the_same_bytes():
    for make in (lambda takes: Five(Tracer(), 60, takes), None):
        for pattern in ((1,), (2, 3), (None, 1), (7, None, None, 50), (0, 5), (100000,)):
            t = Tracer()
            if make:
                c = make(sizes(*pattern))
                inner = c
                t = c._publish.tracer
            else:
                inner = Client(sizes(*pattern))
                c = JsonMember(inner, t)
            payload = b'{"t":"%s"}' % (b"x" * 300)
            c.publish(TOPIC, payload, False, 1)
            data = written(inner)
            assert data.startswith(b"\x32") and data.endswith(payload[1:])
            assert data.count(bytes(t._short)) == 1
            body = len(data) - 3
            assert data[1:3] == length(body)
            fake = inner.fake if make else inner
            assert (fake.waits > 0) == (None in pattern or 0 in pattern)


def test_a_socket_that_takes_nothing_any_more_raises_and_seq_goes_on():
    class Full(Client):
        def _sock_timeout(self, poller, seconds):
            raise MQTTException(30)

    inner = Full(sizes(10, None))
    t = Tracer()
    c = JsonMember(inner, t)
    try:
        c.publish(TOPIC, b'{"t":1}')
    except MQTTException as e:
        assert e.args[0] == 30
    else:
        raise AssertionError("no exception")
    inner.sock = Client().sock
    c.publish(TOPIC, b'{"t":1}')
    assert t.seq() == 2 and b"%08x" % 2 in written(inner)


def test_a_client_that_is_not_connected_says_so():
    inner = Client()
    inner.sock = None
    for call in (lambda: JsonMember(inner, Tracer()).publish(TOPIC, b"{}"), lambda: send(inner, b"x", 0, 1)):
        try:
            call()
        except MQTTException as e:
            assert e.args[0] == 28
        else:
            raise AssertionError("no exception")


def test_topic_and_qos_may_change_at_every_message():
    t = Tracer("seqref")
    c = Five(t)
    for n, topic in enumerate((b"a", b"a/much/longer/topic", "a", bytearray(b"b"), memoryview(b"cc"), b"a")):
        for qos in (0, 1, 1, 0):
            pid = c.publish(topic, b"{}", False, qos)
            plain = topic.encode() if isinstance(topic, str) else bytes(topic)
            expected = packet(0x30 | qos << 1, plain, b"\x21" + pair(b"seqref", bytes(t._short)) + b"{}", pid)
            assert written(c) == expected, n


def test_the_payload_and_the_topic_are_not_changed_or_kept():
    t = Tracer()
    inner = Client()
    c = JsonMember(inner, t)
    topic = bytearray(TOPIC)
    payload = bytearray(b'{"t":1}')
    c.publish(topic, payload)
    assert topic == TOPIC and payload == b'{"t":1}'
    topic[0] = 68
    c.publish(topic, payload)
    assert b"Devices" in written(inner)


def test_seq_at_the_end_of_its_range_goes_through_the_carriers():
    t = Tracer()
    c = Five(t)
    at_seq(t, 0xFFFFFFFE)
    for text in (b"ffffffff", b"00000001"):
        c.publish(TOPIC, b"")
        assert written(c).count(text) >= 2


def test_everything_else_of_a_wrapped_client_is_the_clients_own():
    inner = Client()
    c = JsonMember(inner, Tracer())
    assert c.rcv_pids is inner.rcv_pids and c.socket_timeout == 5
    try:
        c.no_such_thing
    except AttributeError:
        pass
    else:
        raise AssertionError("no exception")


def property_carrier(inner, tracer):
    return UserProperty(inner, tracer)


def member_carrier(inner, tracer):
    return JsonMember(inner, tracer)


def test_a_packet_that_stops_in_the_middle_ends_the_connection():
    for carrier in (property_carrier, member_carrier):
        inner = Client(iter((40, None)))

        def never(poller, seconds):
            raise MQTTException(30)

        inner._sock_timeout = never
        sock = inner.sock
        c = carrier(inner, Tracer())
        try:
            c.publish(b"t/1", b'{"a":1}')
            assert False, "it was published"
        except MQTTException as e:
            assert e.args[0] == 30
        assert inner.sock is None and len(sock.written) == 40
        try:
            c.publish(b"t/1", b'{"a":2}')
            assert False, "it was published"
        except MQTTException as e:
            assert e.args[0] == 28
        assert len(sock.written) == 40


def test_a_qos_that_the_client_does_not_speak_is_refused_and_nothing_is_sent():
    for carrier in (property_carrier, member_carrier):
        inner = Client()
        c = carrier(inner, Tracer())
        c.publish(b"t", b"{}")
        sent = len(inner.sock.written)
        for qos in (2, 3):
            try:
                c.publish(b"t", b"{}", False, qos)
                assert False, qos
            except ValueError:
                pass
        assert len(inner.sock.written) == sent


def test_a_retry_after_a_plain_message_on_the_topic_is_whole():
    inner = Client()
    c = property_carrier(inner, Tracer())
    c.publish(b"t", b"x", False, 1)
    c.plain(b"t", b"y", False, 1)
    before = len(inner.sock.written)
    c.publish(b"t", b"x", False, 1, True)
    again = bytes(inner.sock.written[before:])
    assert again[:7] == b"\x3a\x4e\x00\x01t\x00\x03" and again[7] == 71 and len(again) == 80, again
