"""The boot count: after a power cut at any byte of any boot it is the old or the new one, and none is given twice."""

from interpreter import Module, surrounded
from stores import Budget, Disk, Flash, Nvs, PowerCut, Rtc, TornBytes, TornWords

from motetrace import boot as stores
from motetrace.boot import NAMES, BootCount, Bytes, Nvm, RtcMemory, reset_cause
from motetrace.boot import Nvs as NvsStore


def in_bytes(power):
    memory = TornBytes(64, power)
    return lambda: stores.Slots(Bytes(memory), 8)


def in_bytes_of_ones(power):
    memory = TornBytes(16, power, 255)
    return lambda: stores.Slots(Bytes(memory))


def in_rtc(power):
    rtc = Rtc(power, b"application")
    return lambda: stores.Slots(RtcMemory(rtc), 16)


def in_words(power):
    mem = TornWords(power)
    return lambda: stores.Words(mem, 0x4005800C, 0x40058010)


def in_nvs(power):
    nvs = Nvs(power)
    return lambda: NvsStore(nvs)


def in_files(power, atomic=True):
    disk = Disk(power, atomic)

    def store():
        stores.open = disk.open  # for this module, open() is the fake's
        return stores.FileSlots()

    return store


def in_fat_files(power):
    return in_files(power, False)


def in_nvm(power):
    flash = Flash(64, power)
    Nvm(flash, 8, 48).begin()
    return lambda: Nvm(flash, 8, 48)


STORES = (in_bytes, in_bytes_of_ones, in_rtc, in_words, in_nvs, in_files, in_fat_files, in_nvm)


def test_each_boot_has_the_next_number_and_the_cause_of_the_one_before():
    for make in STORES:
        store = make(Budget())
        for n in range(1, 600):
            boot = BootCount(store, n % 8)
            assert boot.count == n and boot.fault is None, (make, n, boot.fault)
            assert boot.before == (None if n == 1 else (n - 1) % 8), (make, n, boot.before)


def writes(make, start):
    """How many bytes boot `start` writes."""
    power = Budget()
    store = begun(make, power, start)
    power.left = 1 << 29
    BootCount(store)
    return (1 << 29) - power.left


def begun(make, power, start):
    store = make(power)
    if start > 40:  # far away: as if so many boots had been
        for n in (start - 2, start - 1):
            s = store()
            s.load()
            s.save(n, 3)
    else:
        for n in range(1, start):
            assert BootCount(store, 3).count == n
    return store


def boots_of(make):
    far = (0x100, 0x101, 0x200, 0x10000, 0x20000, 0x20001)
    if make is in_nvm:
        return tuple(range(1, 40))
    if make is in_words:
        return (1, 2, 3, 4) + far + (0x3FFFE,)
    return (1, 2, 3, 4) + far + (0x1000000, 0x7FFFFFE)


def test_after_a_cut_at_any_byte_it_is_the_old_or_the_new_number_and_none_is_given_twice():
    for make in STORES:
        for start in boots_of(make):
            n = writes(make, start)
            assert n, make
            for cut in range(n):
                power = Budget()
                store = begun(make, power, start)
                erased = lost(store)
                power.left = cut
                try:
                    BootCount(store, 5)
                    raise AssertionError("no cut")
                except PowerCut:
                    pass
                power.left = None
                if make is in_nvm and lost(store) > erased and not kept(store):
                    # The erase of the only page there is: the number is gone, and nothing is made up for it.
                    assert BootCount(store).count is None
                    continue
                assert store().load()[0] in (start - 1, start), (make, start, cut)
                following = BootCount(store, 6)
                assert following.count in (start, start + 1), (make, start, cut)
                assert BootCount(store).before == 6


def lost(store):
    # How often an nvm was erased.
    s = store()
    return getattr(getattr(s, "_nvm", None), "erased", 0)


def kept(store):
    try:
        store().load()
        return True
    except OSError:
        return False


def test_cuts_again_and_again_never_give_a_number_twice():
    x = 11
    for make in STORES:
        if make is in_nvm:
            continue  # the erase: see above
        power = Budget()
        store = make(power)
        given = [0]
        for _ in range(400):
            x = (x * 1103 + 12345) % 65521
            power.left = x % 45 if x % 3 else None
            try:
                boot = BootCount(store)
                assert boot.count > given[-1]
                given.append(boot.count)
            except PowerCut:
                pass
        assert len(given) > 100


def test_nvm_erases_once_in_as_many_boots_as_it_has_bytes_for_them():
    flash = Flash(256, Budget())
    Nvm(flash).begin()
    for n in range(1, 2001):
        assert BootCount(lambda: Nvm(flash)).count == n
    assert flash.erased == 2000 // 249
    Nvm(flash, 0, 64).begin(77)
    assert BootCount(lambda: Nvm(flash, 0, 64)).count == 78


def test_nvm_counts_only_after_it_was_told_to_begin():
    flash = Flash(64, Budget())
    boot = BootCount(lambda: Nvm(flash, 0, 64))
    assert boot.count is None and "begin" in str(boot.fault) and flash.b == b"\xff" * 64


def test_one_byte_is_programmed_per_boot_in_nvm_and_one_file_written_in_a_file_system():
    power = Budget()
    flash = Flash(64, power)
    Nvm(flash, 0, 64).begin()
    power.left = 1
    assert BootCount(lambda: Nvm(flash, 0, 64)).count == 1 and power.left == 0
    disk = Disk(Budget(), True)
    stores.open = disk.open
    for n in range(1, 5):
        assert BootCount(stores.FileSlots).count == n and disk.written == n


def test_what_the_application_keeps_beside_it_stays():
    rtc = Rtc(Budget(), b"application")
    for n in (1, 2, 3):
        assert BootCount(lambda: stores.Slots(RtcMemory(rtc), 16)).count == n
        assert rtc.memory()[:11] == b"application" and len(rtc.memory()) <= 32
    memory = TornBytes(40, Budget(), 7)
    for n in (1, 2, 3):
        assert BootCount(lambda: stores.Slots(Bytes(memory), 10)).count == n
    assert memory[:10] == memory[26:36] == b"\x07" * 10


def test_foreign_content_is_not_a_number():
    for fill in range(256):
        assert stores.newest(bytes([fill]) * 16) == (0, 0)
    mem = TornWords(Budget())
    for w in (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x6AB73121, 0xB007C0D3, 0x3FFFFFFF):
        mem.words = {0: w, 1: w}
        assert BootCount(lambda: stores.Words(mem)).count == 1, hex(w)


def test_a_slot_with_any_bit_turned_over_is_no_slot():
    for n in (1, 0x12345, 0x3FFFFFFF):
        whole = stores.pack(n, 4)
        assert stores.newest(whole) == (n, 4)
        for bit in range(64):
            b = bytearray(whole)
            b[bit >> 3] ^= 1 << (bit & 7)
            assert stores.newest(b) == (0, 0)


class Refuses:
    def load(self):
        raise OSError(19)


class ReadOnly:
    def load(self):
        return 7, 2

    def save(self, n, cause):
        raise OSError(30)


def missing():
    import motetrace_no_such_module  # noqa: F401


def test_a_store_that_is_missing_or_refuses_leaves_the_count_none_and_never_raises():
    for store in (
        missing,
        Refuses(),
        Refuses,
        ReadOnly(),
        ReadOnly,
        None,
        lambda: None,
        NvsStore,
        RtcMemory,
        stores.scratch,
    ):
        boot = BootCount(store, 3)
        assert boot.count is None and boot.fault is not None
    assert BootCount(ReadOnly).before == 2


def test_a_number_that_does_not_fit_is_not_given():
    mem = TornWords(Budget())
    stores.Words(mem).save(0x3FFFF, 0)
    assert BootCount(lambda: stores.Words(mem)).count is None
    nvs = Nvs(Budget())
    NvsStore(nvs).save(0x7FFFFFF, 0)
    assert BootCount(lambda: NvsStore(nvs)).count is None
    memory = TornBytes(16, Budget())
    stores.Slots(Bytes(memory)).save(0x3FFFFFFF, 0)
    assert BootCount(lambda: stores.Slots(Bytes(memory))).count is None


def test_memory_that_does_not_keep_what_is_written_is_noticed():
    class Forgets(TornBytes):
        def __setitem__(self, i, data):
            pass

    assert BootCount(stores.Slots(Bytes(Forgets(16, Budget())))).count is None

    class Narrow(TornWords):
        def __setitem__(self, at, w):
            self.words[at] = w & 255

    assert BootCount(stores.Words(Narrow(Budget()))).count is None


def test_a_file_that_is_there_and_cannot_be_read_is_not_a_first_boot():
    disk = Disk(Budget(), True)
    stores.open = disk.open
    assert BootCount(stores.FileSlots).count == 1
    disk.broken = 5
    assert BootCount(stores.FileSlots).count is None
    disk.broken = None
    assert BootCount(stores.FileSlots).count == 2


def test_an_nvs_fault_that_is_not_absence_is_not_a_first_boot():
    class Broken(Nvs):
        def get_i32(self, key):
            raise OSError(-0x1108, "ESP_ERR_NVS_INVALID_STATE")

    assert BootCount(lambda: NvsStore(Broken(Budget()))).count is None


def test_the_scratch_words_are_those_of_the_chip():
    for name, at in (("Raspberry Pi Pico W with RP2040", 0x4005800C), ("Pico 2 W with RP2350", 0x400D800C)):
        mem = TornWords(Budget())
        with surrounded((), machine=Module(mem32=mem)):
            before = stores.sys
            stores.sys = Module(implementation=Module(_machine=name))
            try:
                assert BootCount(stores.scratch, 3).count == 1
                assert BootCount(stores.scratch, 3).count == 2
            finally:
                stores.sys = before
        assert sorted(mem.words) == [at, at + 4]


def test_the_reset_cause_has_one_name_on_all_boards():
    codes = {"PWRON_RESET": 1, "HARD_RESET": 2, "WDT_RESET": 3, "DEEPSLEEP_RESET": 4, "SOFT_RESET": 5}
    wanted = {"PWRON_RESET": "power_on", "HARD_RESET": "hard", "WDT_RESET": "watchdog", "SOFT_RESET": "soft"}
    wanted["DEEPSLEEP_RESET"] = "deep_sleep"
    for name in codes:
        with surrounded((), machine=Module(reset_cause=lambda: codes[name], **codes)):
            assert NAMES[reset_cause()] == wanted[name]
    with surrounded((), machine=Module(reset_cause=lambda: 99, **codes)):
        assert NAMES[reset_cause()] == "unknown"
    reasons = Module(
        POWER_ON=object(), WATCHDOG=object(), DEEP_SLEEP_ALARM=object(), BROWNOUT=object(), UNKNOWN=object()
    )
    for name, wanted in (
        ("POWER_ON", "power_on"),
        ("WATCHDOG", "watchdog"),
        ("BROWNOUT", "brownout"),
        ("UNKNOWN", "unknown"),
    ):
        cpu = Module(reset_reason=getattr(reasons, name))
        with surrounded(("machine",), microcontroller=Module(cpu=cpu, ResetReason=reasons)):
            assert NAMES[reset_cause()] == wanted
    with surrounded(("machine", "microcontroller")):
        assert reset_cause() == 0
