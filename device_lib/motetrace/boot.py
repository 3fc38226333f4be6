"""What outlives a reset: why this board booted, how often, and the age of a reading over a deep sleep."""

import sys

from motetrace import _port

NAMES = ("unknown", "power_on", "hard", "watchdog", "deep_sleep", "soft", "brownout", "debug")
_MACHINE = ("", "PWRON_RESET", "HARD_RESET", "WDT_RESET", "DEEPSLEEP_RESET", "SOFT_RESET")
_CIRCUIT = ("", "POWER_ON", "RESET_PIN", "WATCHDOG", "DEEP_SLEEP_ALARM", "SOFTWARE", "BROWNOUT", "RESCUE_DEBUG")


def reset_cause():
    """Return an index of NAMES; 0 where the board has no reset cause. rp2 calls its own machine.reset() "watchdog"."""
    try:
        import machine as m

        cause = m.reset_cause()
        names = _MACHINE
    except (ImportError, AttributeError):
        try:
            import microcontroller as m

            cause = m.cpu.reset_reason
            m = m.ResetReason
            names = _CIRCUIT
        except (ImportError, AttributeError):
            return 0
    for i in range(1, len(names)):
        if getattr(m, names[i], None) == cause:
            return i
    return 0


# A slot: "m", the number (4 bytes, big-endian, below 2**30), the reset cause, CRC-16/CCITT of these six.


def _crc(b, at):
    c = 0xFFFF
    for i in range(at, at + 6):
        c ^= b[i] << 8
        for _ in range(8):
            c = (c << 1 ^ 0x1021) & 0xFFFF if c & 0x8000 else c << 1
    return c


def pack(n, cause):
    """Return the 8 bytes of a slot.

    Raises:
        ValueError: n is not in 0..2**30-1.
    """
    if not 0 <= n <= 0x3FFFFFFF:
        raise ValueError("number in a slot: 0..2**30-1")
    b = bytearray(8)
    b[0] = 109
    for i in range(4):
        b[1 + i] = n >> 24 - 8 * i & 255
    b[5] = cause & 255
    n = _crc(b, 0)
    b[6] = n >> 8
    b[7] = n & 255
    return b


def newest(b):
    """Return (number, cause) of the slot in b with the largest number; (0, 0) when none of them is whole."""
    n = cause = 0
    for i in range(0, len(b) - 7, 8):
        if b[i] == 109 and b[i + 1] < 64 and b[i + 6] << 8 | b[i + 7] == _crc(b, i):
            m = b[i + 1] << 24 | b[i + 2] << 16 | b[i + 3] << 8 | b[i + 4]
            if m > n:
                n = m
                cause = b[i + 5]
    return n, cause


class Slots:
    """A store for BootCount in 16 bytes of a memory with read(at, n) and write(at, data): RtcMemory or Bytes."""

    def __init__(self, memory, at=0):
        self._memory = memory
        self._at = at

    def load(self):
        return newest(self._memory.read(self._at, 16))

    def save(self, n, cause):
        self._memory.write(self._at + 8 * (n & 1), pack(n, cause))
        if self.load() != (n, cause):
            raise OSError("not kept")


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


# A word: count (18 bits), reset cause (3), check (9): below 2**30, as a small int on a board has to be. A store of a
# word is not torn by a reset; the two words are written in turn all the same, for what else may be on these buses.


def _check(n, cause):
    return n * 181 + (n >> 9) * 77 + cause * 91 + 299 & 511


def _read(w):
    # (count, cause), or (0, 0) when w is not one of ours.
    n = w & 0x3FFFF
    cause = w >> 18 & 7
    return (n, cause) if w >> 21 == _check(n, cause) else (0, 0)


class Words:
    """A store for BootCount in words a and b of mem; it ends at 262143 boots, then count stays None.

    Args:
        mem: machine.mem32 (a and b are addresses), or machine.mem_backup() (indices).
    """

    def __init__(self, mem, a=0, b=1):
        self._mem = mem
        self._at = (a, b)

    def load(self):
        return max(_read(self._mem[self._at[0]]), _read(self._mem[self._at[1]]))

    def save(self, n, cause):
        if n > 0x3FFFF:
            raise ValueError("more than 262143 boots")
        self._mem[self._at[n & 1]] = _check(n, cause & 7) << 21 | (cause & 7) << 18 | n
        if self.load() != (n, cause):
            raise OSError("not kept")


def scratch():
    """Return the store in watchdog scratch words 0 and 1 of an rp2 board; the SDK's own are from 4 on.

    Raises:
        ImportError, OSError: this is not an rp2 board.
    """
    from machine import mem32

    name = getattr(sys.implementation, "_machine", "")
    if "RP2" not in name:
        raise OSError("not rp2")
    a = 0x400D800C if "RP2350" in name else 0x4005800C
    return Words(mem32, a, a + 4)


class Nvs:
    """A store for BootCount; also machine-wide: every program on the board that uses it counts on.

    Args:
        nvs: esp32.NVS(namespace), by default of the namespace "motetrace".
    """

    def __init__(self, nvs=None):
        if nvs is None:
            from esp32 import NVS

            nvs = NVS("motetrace")
        self._nvs = nvs

    def load(self):
        try:
            v = self._nvs.get_i32("boot")
        except OSError as e:
            if e.args[0] != -0x1102:  # ESP_ERR_NVS_NOT_FOUND; anything else is not a first boot
                raise
            v = 0
        return v & 0x7FFFFFF, v >> 27 & 7

    def save(self, n, cause):
        if n > 0x7FFFFFF:
            raise ValueError("more than 2**27-1 boots")
        self._nvs.set_i32("boot", (cause & 7) << 27 | n)
        self._nvs.commit()


class FileSlots:
    """A store for BootCount in `path` + "0" and `path` + "1", 8 bytes each; one of them is written at each boot.

    Two files, because a file system may lose the whole of the file that it was writing when power went.
    """

    def __init__(self, path="motetrace_boot"):
        self._path = path

    def load(self):
        found = b""
        for i in "01":
            try:
                with open(self._path + i, "rb") as f:
                    b = f.read(8)
            except OSError as e:
                if e.args[0] != 2:  # ENOENT; a file that is there and cannot be read may hold the newest number
                    raise
                b = b""
            found += b + bytes(8 - len(b))
        return newest(found)

    def save(self, n, cause):
        with open(self._path + "01"[n & 1], "wb") as f:
            f.write(pack(n, cause))


class Nvm:
    """A store for BootCount that spends one 0xFF byte per boot and erases once in `size` - 8 boots only.

    A slot with the number of boots so far, then a byte for each boot since. A power cut leaves the old or the new
    number; one inside the erase leaves none, and none is what is then reported: `begin()` starts again, by hand.

    Args:
        nvm: microcontroller.nvm, or any bytearray.  at, size: the part to use; the larger, the rarer the erase.
    """

    def __init__(self, nvm=None, at=0, size=256):
        if nvm is None:
            from microcontroller import nvm
        self._nvm = nvm
        self._at = at
        self._size = size

    def begin(self, n=0, c=0):
        """Count from n on. To be called once for each board, from the REPL."""
        self._nvm[self._at : self._at + self._size] = bytes(pack(n, c)) + b"\xff" * (self._size - 8)

    def load(self):
        b = bytes(self._nvm[self._at : self._at + self._size])
        if pack(*newest(b[:8])) != b[:8]:
            raise OSError("no count here: begin()")
        n = self._n = b.find(b"\xff", 8)
        if n < 0:
            n = self._n = len(b)
        c = b[n - 1] if n > 8 else b[5]
        return newest(b[:8])[0] + n - 8, c & 7 if c >> 4 == c & 15 else 0

    def save(self, n, cause):
        c = (cause & 7) * 17  # twice, so that a torn one is not taken for another
        if self._n == self._size:
            self.begin(n, c)
        else:
            self._nvm[self._at + self._n] = c


class BootCount:
    """The number of this boot, or None when it cannot be kept; never raises.

    Args:
        store: with load() -> (number, cause) and save(number, cause), or a function or class that returns one:
            `Nvs`, `scratch`, `FileSlots`, `Nvm`, or a `Slots` over a memory: RtcMemory or Bytes.
        cause: reset_cause(), kept with the number.
    Attributes:
        count: 1.., never a number that an earlier boot was given, while the store lives.
        before: the cause kept by the boot before; None when there was none.
        fault: why count is None: what the store raised.
    """

    def __init__(self, store, cause=0):
        self.count = self.before = self.fault = None
        try:
            if callable(store):
                store = store()
            n, before = store.load()
            if n:
                self.before = before
            store.save(n + 1, cause)
            self.count = n + 1
        except Exception as e:  # ImportError, OSError, ValueError, whatever a port has: the application goes on
            self.fault = e


class Asleep:
    """A clock for Tracer(clock=...) of a device that reads, sleeps, wakes by a reset and then publishes.

        before:  asleep = Asleep(RtcMemory());  asleep.keep(reading_ticks, sleep_ms);  machine.deepsleep(sleep_ms)
        after:   asleep = Asleep(RtcMemory());  tracer = Tracer(clock=asleep);  if asleep.woke(tracer): publish

    The age is as good as the sleep is long: a device that is woken before its time says too much.

    Args:
        memory: with read(at, n) and write(at, data): RtcMemory or Bytes.
        at: where its 8 bytes begin, after those of the boot count.
    """

    def __init__(self, memory, at=16, clock=_port):
        self._memory = memory
        self._at = at
        self._clock = clock
        self._more_ms = 0
        self.ticks_ms = clock.ticks_ms

    def ticks_diff(self, a, b):
        """The clock's own, and once, after woke(), what went before."""
        ms = self._clock.ticks_diff(a, b) + self._more_ms
        self._more_ms = 0
        return ms

    def keep(self, reading_ticks, sleep_ms):
        """Keep the age that a reading taken at reading_ticks will have after sleep_ms.

        Returns:
            False when the memory refuses; never raises.
        """
        ms = self._clock.ticks_diff(self._clock.ticks_ms(), reading_ticks)
        if not 0 <= ms + sleep_ms <= 0xFFFFFFF:
            ms = 0xFFFFFFF - sleep_ms
        try:
            self._memory.write(self._at, pack(ms + sleep_ms, 0))
            return True
        except Exception:
            return False

    def woke(self, tracer):
        """Mark the reading that was kept, if there is one: the next context carries its age since then.

        Returns:
            Whether there was one; it is there once only, and never after power was gone.
        """
        try:
            ms, _ = newest(self._memory.read(self._at, 8))
            self._memory.write(self._at, bytes(8))
        except Exception:
            return False
        if not ms:
            return False
        tracer.mark()
        self._more_ms = ms + self._clock.ticks_ms()  # ticks begin at 0 when the device wakes
        return True
