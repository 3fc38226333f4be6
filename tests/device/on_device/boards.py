"""Boards that boot with the same weak entropy share no ids: what tells them apart is mixed in."""

import sys

from interpreter import Module, deterministic, fresh, surrounded

BOARDS = 10000 if sys.implementation.name == "cpython" else 400


def same_random(n):
    return b"\x5a" * n


def board(unique_id, cause=1, ticks=123, urandom=same_random, **others):
    """The modules of a board whose clocks stand still and whose random numbers are always the same."""
    modules = {
        "machine": Module(unique_id=lambda: unique_id, reset_cause=lambda: cause),
        "os": Module(urandom=urandom),
        "time": Module(ticks_us=lambda: ticks, ticks_ms=lambda: ticks, ticks_diff=lambda a, b: a - b),
    }
    modules.update(others)
    return modules


def seeds(boards, hide):
    """The seed of each of `boards` boards that differ in unique_id only."""
    _, port = fresh(hide, **board(b""))
    for i in range(boards):
        modules = board(b"\xe6\x61\x64\x08" + i.to_bytes(4, "big"))
        port.machine = modules["machine"]  # where it is imported once; _port_other imports it at each call
        with surrounded(hide, **modules):
            yield bytes(port.seed(b""))


def share_nothing(boards, hide):
    Tracer, port = fresh()
    nonces = set()
    prefixes = set()
    trace_ids = set()
    for seed in seeds(boards, hide):
        deterministic(port, seed)
        t = Tracer()
        first = bytes(t.next())
        nonces.add(first[3:13])
        prefixes.add(first[36:44])
        trace_ids.update((first[3:35], bytes(t.next()[3:35])))
    assert len(nonces) == boards, boards - len(nonces)
    assert len(trace_ids) == 2 * boards
    assert len(prefixes) >= boards - 2  # 32 bits: of 10,000 boards two may agree (1 %), and their nonces still differ


def test_boards_that_differ_in_unique_id_only_share_no_ids():
    share_nothing(BOARDS, ())


def test_boards_without_sha256_that_differ_in_unique_id_only_share_no_ids():
    share_nothing(BOARDS // 10, ("hashlib", "uctypes"))


def one(**changes):
    unique_id = changes.pop("unique_id", b"same")
    extra = changes.pop("extra", b"")
    hide = changes.pop("hide", ())
    modules = board(unique_id, **changes)
    _, port = fresh(hide, **modules)
    with surrounded(hide, **modules):
        return bytes(port.seed(extra))


def test_everything_that_tells_two_boots_apart_changes_the_seed():
    for hide in ((), ("uctypes",), ("uctypes", "hashlib")):
        every = [
            one(hide=hide),
            one(hide=hide, unique_id=b"other"),
            one(hide=hide, cause=2),
            one(hide=hide, ticks=124),
            one(hide=hide, extra=b"noise"),
            one(hide=hide, urandom=lambda n: bytes(n)),
        ]
        assert len(set(every)) == len(every)
        assert one(hide=hide) == every[0]  # nothing else is in it: the differences above are what told them apart
        assert all(len(seed) == 32 for seed in every)


def test_a_circuitpython_board_is_told_apart_by_its_uid():
    def uid(text):
        cpu = Module(uid=text, reset_reason="POWER_ON")
        return one(hide=("machine", "uctypes"), microcontroller=Module(cpu=cpu))

    assert uid(b"one") != uid(b"two")


def test_a_pc_where_blinka_knows_no_board_still_boots():
    class Blinka:
        @property
        def cpu(self):
            raise NotImplementedError("Microcontroller not supported")

    assert one(hide=("machine", "uctypes"), microcontroller=Blinka())


def test_a_board_without_urandom_still_boots_and_is_told_apart():
    def refuse(n):
        raise NotImplementedError

    assert one(hide=("uctypes",), urandom=refuse) != one(hide=("uctypes",), urandom=refuse, unique_id=b"other")


def test_circuitpythons_sha256_is_taken_by_name():
    import hashlib

    class ByName(Module):
        def new(self, name, data):
            assert name == "sha256"
            return hashlib.sha256(data)

    assert one(hide=("uctypes",), hashlib=ByName()) == one(hide=("uctypes",))


def test_fold_spreads_a_change_of_any_byte_over_the_whole_seed():
    from motetrace._port_other import fold

    data = bytes(range(100))
    plain = fold(data)
    seen = {bytes(plain)}
    for at in range(100):
        changed = bytearray(data)
        changed[at] ^= 1
        other = fold(changed)
        seen.add(bytes(other))
        assert sum(a != b for a, b in zip(plain, other)) >= 24, at
    seen.update(bytes(fold(data[:n])) for n in range(100))
    assert len(seen) == 201


def test_ticks_of_circuitpython_wrap_at_2_to_the_29():
    modules = {"supervisor": Module(ticks_ms=lambda: 7), "time": Module()}
    _, port = fresh(("machine", "uctypes"), **modules)
    assert port.ticks_ms() == 7
    assert port.ticks_diff(3, (1 << 29) - 2) == 5
    assert port.ticks_diff(0, 5) == -5
