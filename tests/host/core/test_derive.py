"""Promises of core/messages/derived_ids.py. The oracle: a BLAKE2b of our own, written from RFC 7693."""

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.messages import derived_ids as derivation
from motetrace_host.core.messages.derived_ids import derive, derive_span_id

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "derive.json").read_text())
CASES, SPANS = VECTORS["cases"], VECTORS["spans"]
KEY = bytes(range(16))
NONCE = bytes.fromhex("3f2a9c01d4")

_IV = (
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
)  # fmt: skip
_SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4), (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13), (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11), (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5), (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)  # fmt: skip
_MIX = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip
_WORD = 2**64 - 1


def _rotate(word: int, bits: int) -> int:
    return (word >> bits | word << 64 - bits) & _WORD


def blake2b_rfc7693(data: bytes, digest_bytes: int, key: bytes, person: bytes) -> bytes:
    """BLAKE2b written from RFC 7693, slow and plain: what `derive` is checked against."""
    parameters = struct.pack("<BBBBIQBB14x16x16s", digest_bytes, len(key), 1, 1, 0, 0, 0, 0, person)
    state = [iv ^ word for iv, word in zip(_IV, struct.unpack("<8Q", parameters), strict=True)]
    if key:
        data = key.ljust(128, b"\0") + data
    blocks = [data[at : at + 128] for at in range(0, len(data), 128)] or [b""]
    done = 0
    for number, block in enumerate(blocks):
        done += len(block)
        words = struct.unpack("<16Q", block.ljust(128, b"\0"))
        v = [*state, *_IV]
        v[12] ^= done
        if number == len(blocks) - 1:
            v[14] ^= _WORD
        for step in range(12):
            order = _SIGMA[step % 10]
            for at, (a, b, c, d) in enumerate(_MIX):
                v[a] = (v[a] + v[b] + words[order[2 * at]]) & _WORD
                v[d] = _rotate(v[d] ^ v[a], 32)
                v[c] = (v[c] + v[d]) & _WORD
                v[b] = _rotate(v[b] ^ v[c], 24)
                v[a] = (v[a] + v[b] + words[order[2 * at + 1]]) & _WORD
                v[d] = _rotate(v[d] ^ v[a], 16)
                v[c] = (v[c] + v[d]) & _WORD
                v[b] = _rotate(v[b] ^ v[c], 63)
        state = [word ^ v[at] ^ v[at + 8] for at, word in enumerate(state)]
    return struct.pack("<8Q", *state)[:digest_bytes]


def test_the_oracle_gives_the_example_of_its_rfc() -> None:
    expected = (
        "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
        "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"
    )
    assert blake2b_rfc7693(b"abc", 64, b"", bytes(16)).hex() == expected


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_vector_of_a_seqref_is_derived(case: dict) -> None:
    message = (case["tenant"], case["device_id"], bytes.fromhex(case["boot_nonce"]), case["seq"])
    key = bytes.fromhex(case["key"])
    derived = derive(key, *message)
    assert (derived.trace_id.hex(), derived.span_id.hex()) == (case["trace_id"], case["span_id"])


@pytest.mark.parametrize("case", SPANS, ids=[case["name"] for case in SPANS])
def test_every_vector_of_a_span_the_host_makes_is_derived(case: dict) -> None:
    trace_id, parent_id = bytes.fromhex(case["trace_id"]), bytes.fromhex(case["parent_id"])
    assert derive_span_id(trace_id, parent_id, case["span_name"]).hex() == case["span_id"]


NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)


@given(
    st.binary(min_size=16, max_size=64), NAMES, NAMES.filter(bool),
    st.binary(min_size=5, max_size=5), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_derived_ids_are_those_of_the_oracle(key: bytes, tenant: str, device_id: str, nonce: bytes, seq: int) -> None:
    data = b""
    for part in (tenant.encode(), device_id.encode(), nonce, struct.pack(">I", seq)):
        data += bytes([len(part)]) + part
    digest = blake2b_rfc7693(data, 15, key, b"motetrace.seqref")
    assert derive(key, tenant, device_id, nonce, seq) == (nonce + struct.pack(">I", seq) + digest[:7], digest[7:])


def test_another_key_tenant_device_boot_or_seq_gives_other_ids() -> None:
    ids = {
        derive(KEY, "acme", "a", NONCE, 1),
        derive(KEY[:-1] + b"\xff", "acme", "a", NONCE, 1),
        derive(KEY, "acm", "ea", NONCE, 1),
        derive(KEY, "acme", "b", NONCE, 1),
        derive(KEY, "acme", "a", NONCE[:-1] + b"\xff", 1),
        derive(KEY, "acme", "a", NONCE, 2),
    }
    assert len({derived.trace_id[9:] for derived in ids}) == 6
    assert len({derived.span_id for derived in ids}) == 6


def test_the_random_part_of_derived_ids_is_spread_as_samplers_need_it() -> None:
    top_bits = [derive(KEY, "acme", "a", NONCE, seq).trace_id[9] >> 4 for seq in range(1, 3201)]
    counts = [top_bits.count(value) for value in range(16)]
    assert all(130 < count < 270 for count in counts)  # 200 each; 5 standard deviations of 14


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((b"x" * 15, "acme", "a", NONCE, 1), "key has 15 bytes; 16..64"),
        ((b"x" * 65, "acme", "a", NONCE, 1), "key has 65 bytes; 16..64"),
        ((KEY, "\u00e9" * 128, "a", NONCE, 1), "tenant has 256 bytes in UTF-8; at most 255"),
        ((KEY, "acme", "", NONCE, 1), "device_id has 0 bytes in UTF-8; 1..255"),
        ((KEY, "acme", "\u00e9" * 128, NONCE, 1), "device_id has 256 bytes in UTF-8; 1..255"),
        ((KEY, "acme", "a", NONCE[:4], 1), "boot_nonce has 4 bytes"),
        ((KEY, "acme", "a", NONCE, -1), "seq -1 is outside 0..4294967295"),
        ((KEY, "acme", "a", NONCE, 2**32), "seq 4294967296 is outside"),
    ],
)
def test_a_wrong_argument_is_refused_by_name_and_range(arguments: tuple, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        derive(*arguments)


def test_a_span_id_needs_whole_ids() -> None:
    with pytest.raises(ValueError, match="trace_id has 15 bytes"):
        derive_span_id(bytes(15), bytes(8), "x")
    with pytest.raises(ValueError, match="parent_id has 7 bytes"):
        derive_span_id(bytes(16), bytes(7), "x")


def test_the_one_forbidden_span_id_becomes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Zeros:
        def __init__(self, data: bytes, *, digest_size: int, **parameters: bytes) -> None:
            self.digest_size = digest_size

        def copy(self) -> "Zeros":
            return self

        def update(self, data: bytes) -> None:
            pass

        def digest(self) -> bytes:
            return bytes(self.digest_size)

    monkeypatch.setattr(derivation, "blake2b", Zeros)
    monkeypatch.setattr(derivation, "BEGUN_SPAN_ID", Zeros(b"", digest_size=8))
    assert derive_span_id(bytes(16), bytes(8), "x") == bytes(7) + b"\x01"
    assert derive(KEY, "acme", "a", NONCE, 1).span_id == bytes(7) + b"\x01"
