"""The header between servers: what goes in comes out, and no bytes break the reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.chains.engine.shim import (
    EPOCH_MAX,
    HEADER_BYTES,
    PACKET_ID_MAX,
    PATH_MAX,
    Malformed,
    Shim,
    shim_decode,
    shim_encode,
)

NOW_US = 1_800_000_000_000_000
YEAR_US = 365 * 86_400_000_000
SHIMS = st.builds(
    Shim,
    path=st.integers(0, PATH_MAX),
    operator=st.integers(0, 255),
    epoch=st.integers(0, EPOCH_MAX),
    packet_id=st.integers(0, PACKET_ID_MAX),
    at_us=st.integers(NOW_US - YEAR_US, NOW_US + YEAR_US),
    branch=st.integers(0, 255),
    flags=st.integers(0, 255),
)


@given(SHIMS, st.binary(min_size=1, max_size=100), st.integers(-3 * YEAR_US, 3 * YEAR_US))
def test_identity_and_body_survive_whatever_the_clocks_say(shim: Shim, body: bytes, skew_us: int) -> None:
    frame = shim_encode(b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2", shim, body)
    assert len(frame) == HEADER_BYTES + len(body)
    assert frame[:14] == b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x89\x4f"
    assert shim_decode(frame, shim.at_us + skew_us) == (shim, body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_shim_or_malformed(frame: bytes) -> None:
    found = shim_decode(frame, NOW_US)
    assert isinstance(found, Malformed) or len(found[1]) == len(frame) - HEADER_BYTES


@given(SHIMS, st.integers(0, 12 * 8 - 1))
def test_a_flipped_bit_of_the_fixed_part_is_refused_or_is_the_ttl(shim: Shim, bit: int) -> None:
    frame = bytearray(shim_encode(bytes(6), bytes(6), shim, b"x"))
    # Bytes 12 to 17 say what it is; the others identify the packet.
    at = 12 + bit // 16
    frame[at] ^= 1 << bit % 8
    found = shim_decode(bytes(frame), shim.at_us)
    ttl_bits = {14: 0x0F, 15: 0xC0}
    if ttl_bits.get(at, 0) & 1 << bit % 8:
        assert not isinstance(found, Malformed)
    else:
        assert isinstance(found, Malformed)


@pytest.mark.parametrize("size", [0, 1, 14, HEADER_BYTES - 1, HEADER_BYTES])
def test_too_short_is_truncated(size: int) -> None:
    frame = shim_encode(bytes(6), bytes(6), Shim(1, 1, 1, 1, NOW_US), b"x")
    assert shim_decode(frame[:size], NOW_US) == Malformed("truncated")
