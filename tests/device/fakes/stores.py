"""Stand-ins for what survives a reset on a board; each stops the program after so many bytes, as a power cut does."""


class PowerCut(BaseException):
    """Nobody on the board catches it."""


class Budget:
    """How many more bytes are written before power goes; None: it stays."""

    def __init__(self):
        self.left = None

    def spend(self):
        if self.left is not None:
            if not self.left:
                raise PowerCut
            self.left -= 1


class TornBytes:
    """A bytearray whose slice assignment can stop anywhere."""

    def __init__(self, n, power, fill=0):
        self.b = bytearray(bytes([fill]) * n)
        self.power = power

    def __getitem__(self, i):
        return bytes(self.b[i]) if isinstance(i, slice) else self.b[i]

    def __len__(self):
        return len(self.b)

    def __setitem__(self, i, data):
        if isinstance(i, slice):
            for n, c in zip(range(*bounds(i, len(self.b))), data):
                self.power.spend()
                self.b[n] = c
        else:
            self.power.spend()
            self.b[i] = data


def bounds(i, n):
    return (i.start or 0, n if i.stop is None else i.stop)


class Flash(TornBytes):
    """microcontroller.nvm of an RP2040: to change a byte that is not 0xFF it erases all and writes anew."""

    def __init__(self, n, power):
        TornBytes.__init__(self, n, power, 255)
        self.erased = 0

    def __setitem__(self, i, data):
        if isinstance(i, slice):
            first, last = bounds(i, len(self.b))
        else:
            first, last, data = i, i + 1, bytes([data])
        new = bytearray(self.b)
        new[first:last] = data
        if self.b[first:last] != b"\xff" * (last - first):
            self.power.spend()  # the erase itself
            self.erased += 1
            for n in range(len(self.b)):
                self.b[n] = 255
        for n in range(len(new)):
            if new[n] != self.b[n]:
                self.power.spend()
                self.b[n] = new[n]


class Rtc:
    """machine.RTC() of esp32, its memory() as a whole, copied byte by byte."""

    def __init__(self, power, content=b""):
        self.b = bytearray(2048)
        self.b[: len(content)] = content
        self.n = len(content)
        self.power = power

    def memory(self, data=None):
        if data is None:
            return bytes(self.b[: self.n])
        if len(data) > 2048:
            raise ValueError("buffer too long")
        for i, c in enumerate(data):
            self.power.spend()
            self.b[i] = c
        self.n = len(data)


class TornWords:
    """32-bit words; torn more finely than a store of a word can be on a board: little-endian, byte by byte."""

    def __init__(self, power):
        self.words = {}
        self.power = power

    def __getitem__(self, at):
        w = self.words.get(at, 0)
        return w - (1 << 32) if w >> 31 else w  # machine.mem32 gives signed ones on some ports

    def __setitem__(self, at, w):
        assert 0 <= w < 1 << 30, w
        old = self.words.get(at, 0)
        for n in (8, 16, 24, 32):
            self.power.spend()
            mask = (1 << n) - 1
            self.words[at] = w & mask | old & ~mask


class Nvs:
    """esp32.NVS: entries of 32 bytes are appended; one that is not whole does not count. Kept at commit()."""

    def __init__(self, power):
        self.values = {}
        self.power = power
        self.commits = 0

    def get_i32(self, key):
        if key not in self.values:
            raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
        return self.values[key]

    def set_i32(self, key, value):
        assert -(1 << 31) <= value < 1 << 31 and len(key) <= 15
        for _ in range(32):
            self.power.spend()
        self.values[key] = value

    def commit(self):
        self.power.spend()
        self.commits += 1


class Disk:
    """A file system behind open(): `atomic` as littlefs (at close), otherwise as FAT (emptied at once, then bytes)."""

    def __init__(self, power, atomic):
        self.files = {}
        self.power = power
        self.atomic = atomic
        self.written = 0
        self.broken = None

    def open(self, path, mode):
        if self.broken:
            raise OSError(self.broken)
        if mode == "rb" and path not in self.files:
            raise OSError(2)
        return File(self, path, mode)


class File:
    def __init__(self, disk, path, mode):
        self._disk = disk
        self._path = path
        self._new = bytearray() if mode == "wb" else None
        if mode == "wb" and not disk.atomic:
            disk.power.spend()
            disk.files[path] = b""

    def __enter__(self):
        return self

    def read(self, n):
        return bytes(self._disk.files[self._path][:n])

    def write(self, data):
        self._disk.written += 1
        for c in bytes(data):
            self._disk.power.spend()
            self._new.append(c)
            if not self._disk.atomic:
                self._disk.files[self._path] = bytes(self._new)

    def __exit__(self, kind, *_):
        if self._new is not None and kind is None:
            self._disk.power.spend()
            self._disk.files[self._path] = bytes(self._new)
