"""Tracer and ciphers against tests/vectors/tracer.json, with whatever this interpreter has, lacks, or is given."""

import sys

import aes128
import sfc16_reference
import vectors
from clock import Clock
from interpreter import CIPHER, Module, at_seq, deterministic, fresh, surrounded

VECTORS = vectors.load("tracer.json")


def unhex(text):
    return bytes(int(text[i : i + 2], 16) for i in range(0, len(text), 2))


def make(case, surroundings, clock):
    hide, modules = surroundings
    Tracer, port = fresh(hide, **modules)
    deterministic(port, unhex(case["seed"]))
    with surrounded(hide, **modules):
        t = Tracer(case["mode"], case["threshold"], clock=clock)
    return t


def painter_of(t):
    """What writes the random digits, or None in mode seqref."""
    if t._paint is None:
        return None
    return "framebuf" if hasattr(t._palette, "pixel") else "pairs"


def follows_the_vectors(surroundings, painter):
    for case in VECTORS["tracer"]:
        clock = Clock(62)
        t = make(case, surroundings, clock)
        assert t.source == "aes"
        assert painter_of(t) in (None, painter)
        if case["after_seq"]:
            at_seq(t, case["after_seq"])
        for message in case["messages"]:
            if "age_ms" in message:
                t.mark()
                clock.now += message["age_ms"]
            context = bytes(t.next()).decode()
            assert context == message["context"], (case["name"], context, message)
            state = t.tracestate and bytes(t.tracestate).decode()
            assert state == message.get("tracestate"), (case["name"], state, message)


OWN = "framebuf" if sys.implementation.name == "micropython" else "pairs"


def test_the_interpreters_own_modules_give_the_golden_contexts():
    follows_the_vectors(((), CIPHER), OWN)


def test_a_build_without_uctypes_gives_the_golden_contexts():
    follows_the_vectors((("uctypes",), CIPHER), OWN)


def test_a_build_without_framebuf_gives_the_golden_contexts():
    follows_the_vectors((("framebuf",), CIPHER), "pairs")


def test_a_build_without_a_shared_view_of_bytes_and_pairs_gives_the_golden_contexts():
    modules = dict(CIPHER)
    modules["sys"] = Module(byteorder="big", implementation=sys.implementation)
    follows_the_vectors((("framebuf",), modules), "pairs")


def test_pairs_are_stored_at_once_only_where_memory_has_them_in_the_digits_order():
    for byteorder in ("little", "big"):
        with surrounded((), sys=Module(byteorder=byteorder)):
            fresh()

            from motetrace import _port_other

            made = _port_other.Pairs(bytearray(36), bytes(16), b"0123456789abcdef")
        shared = byteorder == "little" and hasattr(memoryview, "cast")
        assert made.blit is (_port_other.by_pairs if shared else _port_other.by_digits)


def test_a_board_with_aesio_gives_the_golden_contexts():
    follows_the_vectors((("cryptolib",), {"aesio": aes128}), OWN)


def test_aes_is_the_published_one():
    _, port = fresh((), **CIPHER)
    for case in VECTORS["aes"]:
        key, plain, cipher = unhex(case["key"]), unhex(case["plain"]), unhex(case["cipher"])
        assert aes128.aes(key, 1).encrypt(plain) == cipher
        with surrounded((), **CIPHER):
            name, encrypt = port.cipher(key)
        out = bytearray(16)
        encrypt(plain, out)
        assert name == "aes" and bytes(out) == cipher


def test_without_a_cipher_sfc16_is_used_and_says_so():
    for mode in ("traceparent", "seqref"):
        with surrounded(("cryptolib",)):
            Tracer, _ = fresh()
            t = Tracer(mode)
        assert t.source == "sfc16"
        seen = {bytes(t.next()) for _ in range(500)}
        assert len(seen) == 500


def test_sfc16_gives_the_golden_blocks_and_follows_the_reference():
    from motetrace._port_other import Sfc16

    out = bytearray(16)
    for case in VECTORS["sfc16"]:
        key = unhex(case["key"])
        generator = Sfc16(key)
        reference = sfc16_reference.blocks(key)
        for block in case["blocks"]:
            generator.fill(None, out)
            assert bytes(out) == unhex(block) == next(reference)
        for _ in range(300):
            generator.fill(None, out)
            assert bytes(out) == next(reference)


def test_a_tracer_on_sfc16_takes_its_blocks_in_order():
    seed = bytes(range(40, 72))
    with surrounded(("cryptolib",)):
        Tracer, port = fresh()
        deterministic(port, seed)
        t = Tracer()
    blocks = sfc16_reference.blocks(seed[:16])
    boot = next(blocks)
    pair = next(blocks)
    for seq in range(1, 10):
        if seq % 2 == 0:
            pair = next(blocks)
        part = pair[8:15] if seq % 2 else pair[:7]
        whole = b"00-" + hexed(boot[:5]) + b"%08x" % seq + hexed(part) + b"-" + hexed(boot[5:9]) + b"%08x-03" % seq
        assert bytes(t.next()) == whole


def hexed(data):
    return b"".join(b"%02x" % x for x in data)
