"""Memory that outlives a reset but not a power cut, behind one face: read(at, n) and write(at, data)."""


class RtcMemory:
    """machine.RTC().memory() of esp32: 2048 bytes, shared with the application, whose bytes are left as they are."""

    def __init__(self, rtc=None):
        if rtc is None:
            from machine import RTC

            rtc = RTC()
        self._rtc = rtc

    def read(self, at, n):
        b = bytes(self._rtc.memory())[at : at + n]
        return b + bytes(n - len(b))

    def write(self, at, data):
        b = bytes(self._rtc.memory())
        b += bytes(max(0, at + len(data) - len(b)))
        self._rtc.memory(b[:at] + bytes(data) + b[at + len(data) :])


class Bytes:
    """A bytearray that survives: CircuitPython's alarm.sleep_memory, or machine.mem_backup() where that is in bytes."""

    def __init__(self, view):
        self._view = view

    def read(self, at, n):
        return bytes(self._view[at : at + n])

    def write(self, at, data):
        self._view[at : at + len(data)] = bytes(data)
