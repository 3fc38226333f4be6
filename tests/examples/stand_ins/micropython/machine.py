"""A board's machine module on the Unix port, as thin as the examples allow; RTC memory is a file, deep sleep an end."""

# ruff: noqa: PTH123, RET503
import sys
import time

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5
_RTC = "rtc_memory.bin"


def _read(name):
    try:
        with open(name, "rb") as file:
            return file.read()
    except OSError:
        return b""


def unique_id():
    return b"\x24\x6f\x28\xae\x52\x10"


def reset_cause():
    return DEEPSLEEP_RESET if _read(_RTC) else PWRON_RESET


def deepsleep(ms):
    time.sleep_ms(ms)
    sys.exit(0)


class RTC:
    def memory(self, data=None):
        if data is None:
            return _read(_RTC)
        with open(_RTC, "wb") as file:
            file.write(data)


class Pin:
    OUT = 1

    def __init__(self, number, mode=0):
        self._value = 0

    def value(self, to=None):
        if to is None:
            return self._value
        self._value = to
        print("pin", to)


class ADC:
    read = 0

    def __init__(self, pin):
        pass

    def read_u16(self):
        ADC.read += 1
        return 4200 + ADC.read


class UART:
    def __init__(self, number, baudrate):
        pass

    def write(self, data):
        sys.stdout.write(data.decode())
        return len(data)
