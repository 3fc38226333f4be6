"""Publishes of several tasks at a time: each fails, waits and is acknowledged under the seq that it took."""

import json

from clock import Clock

from motetrace import Tracer
from motetrace.messages import CountedAsync, Stats


class Broken(Exception):
    pass


class Pause:
    """Something to await: the task goes on when it is sent something."""

    def __await__(self):
        yield

    __iter__ = __await__


class Client:
    """Takes a seq at once, as mqtt_as's adapter does, and then waits for the network."""

    def __init__(self, tracer):
        self.tracer = tracer
        self.seen = []

    def publish(self, topic, msg, *more):
        if topic != b"bare":
            self.tracer.next()
        self.seen.append((topic, msg) + more)
        return self._send(msg)

    async def _send(self, msg):
        await Pause()
        if msg == b"broken":
            raise Broken(7)
        return "answer"


def made():
    clock = Clock()
    t = Tracer(clock=clock)
    s = Stats(t, clock=clock)
    return clock, s, CountedAsync(Client(t), s)


def said(stats):
    return json.loads(bytes(stats.build()).decode())


def begin(task):
    task.send(None)
    return task


def end(task):
    """What it returns or raises."""
    try:
        task.send(None)
    except StopIteration as e:
        return e.value
    except Broken as e:
        return e
    raise AssertionError("it waits still")


def test_tasks_that_overlap_are_told_apart():
    clock, s, client = made()
    tasks = [begin(client.publish(b"t", m, False, 1)) for m in (b"a", b"broken", b"c", b"broken")]
    message = said(s)
    assert (message["seq"], message["pending"], message["acked"], message["failed"]) == (4, 4, 0, [])
    clock.now += 30
    assert end(tasks[2]) == "answer"
    clock.now += 10
    assert end(tasks[1]).args == (7,)
    assert end(tasks[0]) == "answer"
    message = said(s)
    assert (message["pending"], message["acked"], message["failed"], message["rtt_ms"]) == (1, 2, [[2, 2]], 30)
    end(tasks[3])
    message = said(s)
    assert (message["pending"], message["failed"]) == (0, [[2, 2], [4, 4]])


def test_a_task_that_is_cancelled_is_a_failure():
    clock, s, client = made()
    begin(client.publish(b"t", b"a", False, 1)).close()
    message = said(s)
    assert (message["pending"], message["failed"]) == (0, [[1, 1]])


def test_at_qos_0_nothing_is_acknowledged_and_what_took_no_seq_is_nobodys():
    clock, s, client = made()
    assert end(begin(client.publish(b"t", b"a"))) == "answer"
    assert end(begin(client.publish(b"bare", b"a", False, 1))) == "answer"
    end(begin(client.publish(b"bare", b"broken", False, 1)))
    message = said(s)
    assert (message["seq"], message["acked"], message["failed"], message["pending"]) == (1, 0, [], 0)


def test_properties_are_passed_only_when_there_are_some():
    clock, s, client = made()
    end(begin(client.publish(b"t", b"a", True, 1)))
    end(begin(client.publish(b"t", b"a", qos=1, properties={1: 2})))
    assert client.seen == [(b"t", b"a", True, 1), (b"t", b"a", False, 1, {1: 2})]
