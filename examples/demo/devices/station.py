"""What every sensor of the demo shares and no firmware needs: settings, a simulated sensor, and a report of progress.

    micropython sensor_0041.py HOST PORT DEVICE_ID READINGS INTERVAL_MS

READINGS 0 goes on until the process is stopped. Each line of output tells the first seq of a reading, and how many
readings were published and acknowledged.
"""

import json
import sys
from time import sleep_ms, ticks_add, ticks_diff, ticks_ms

HOST = sys.argv[1]
PORT = int(sys.argv[2])
DEVICE = sys.argv[3]
READINGS = int(sys.argv[4])
INTERVAL_MS = int(sys.argv[5])
ACK_TIMEOUT_MS = 10_000

first_seq = 1
sent = 0
acked = 0
waiting = set()


def temperature():
    """A cold room around 3.8 degrees Celsius, whose door opens now and then; smoothing takes the sensor a moment."""
    sleep_ms(12 + sent % 10)
    return 3.62 + 0.01 * (sent * 7 % 41) + (0.3 if sent % 10 > 7 else 0.0)


def on_status(pid, status):
    """For set_callback_status: counts the readings that the broker acknowledged."""
    global acked
    if pid in waiting:
        waiting.remove(pid)
        acked += status == 1


def report():
    print(json.dumps({"first_seq": first_seq, "sent": sent, "acked": acked}))


def serve(client, due):
    """Take in acknowledgements until a time, in ticks."""
    while ticks_diff(due, ticks_ms()) > 0:
        client.check_msg()
        sleep_ms(2)


def run(client, publish, tracer=None):
    """Call `publish(n)`, which returns the packet id, at every interval; then wait for the last acknowledgement."""
    global first_seq, sent
    if tracer:
        first_seq = tracer.seq() + 1
    client.set_callback_status(on_status)
    due = ticks_ms()
    while not READINGS or sent < READINGS:
        sent += 1
        waiting.add(publish(sent))
        report()
        due = ticks_add(due, INTERVAL_MS)
        serve(client, due)
        report()
    end = ticks_add(due, ACK_TIMEOUT_MS)
    while waiting and ticks_diff(end, ticks_ms()) > 0:
        serve(client, ticks_add(ticks_ms(), 10))
    report()
    client.disconnect()
