"""Shows: traced readings in LoRa-sized packets. 6 bytes of readings and 14 of trailer (a seqref, a check, a length, two
magic bytes) make 20; LoRaWAN's smallest payload has 51 in EU868 (US915's slowest rate with its 11 is too small).

Wants: any board with MicroPython, a LoRaWAN modem on UART 1 that takes AT+MSGHEX (LoRa-E5 and such), settings.py, and
    motetrace device install --with payload
The network server publishes the bytes to MQTT, on a topic where the host looks for trailers:
    motetrace run --trailer 'lora/{device_id}/up'
"""

import time
from binascii import hexlify
from struct import pack

import machine
import settings

from motetrace import Tracer
from motetrace.payload import Trailer

modem = machine.UART(1, 9600)
sensor = machine.ADC(machine.Pin(settings.SENSOR_PIN))
trailer = Trailer(Tracer("seqref"))

modem.write(b"AT+JOIN\r\n")
while True:
    reading = pack(">HHH", sensor.read_u16(), sensor.read_u16(), sensor.read_u16())
    modem.write(b'AT+MSGHEX="%s"\r\n' % hexlify(trailer.copy(reading)))
    time.sleep(settings.INTERVAL_S)
