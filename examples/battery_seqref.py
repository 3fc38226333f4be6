"""Shows: a node that sleeps deeply between readings. It publishes what it read before it slept, in 33 bytes more than
the reading (a seqref and the age, which goes on counting through the sleep), reads anew, and sleeps again.

Wants: an ESP32 of any kind (RTC memory outlives its deep sleep), umqtt.simple2, settings.py and wifi.py, and
    motetrace device install --with mqtt5,messages,boot
"""

from struct import pack, unpack

import machine
import settings
import wifi

from motetrace import Tracer
from motetrace.boot import NAMES, Asleep, BootCount, RtcMemory, Slots, reset_cause
from motetrace.messages import birth
from motetrace.mqtt5 import MQTTClient

memory = RtcMemory()  # bytes 0..15: boot count, 16..23: age of the reading, 24..25: the reading
boot = BootCount(Slots(memory)).count
asleep = Asleep(memory)
tracer = Tracer("seqref", clock=asleep)
device = settings.DEVICE.encode()


def publish(moisture):
    client = MQTTClient(settings.DEVICE, settings.BROKER, settings.PORT, tracer=tracer)
    wifi.connect()
    client.connect()
    client.publish(b"devices/%s/telemetry" % device, b'{"moisture":%d}' % moisture, qos=1)
    client.plain(b"motetrace/%s/birth" % device, birth(tracer, "2.0.1", reset=NAMES[reset_cause()], boot=boot), True, 1)
    while client.rcv_pids:  # until the broker has both
        client.check_msg()
    client.disconnect()


if asleep.woke(tracer):
    try:
        publish(unpack(">H", memory.read(24, 2))[0])
    except OSError:
        pass  # no network: this reading is lost, the battery is not
began = asleep.ticks_ms()
memory.write(24, pack(">H", machine.ADC(machine.Pin(settings.SENSOR_PIN)).read_u16()))
sleep_ms = int(settings.INTERVAL_S * 1000)
asleep.keep(began, sleep_ms)
machine.deepsleep(sleep_ms)
