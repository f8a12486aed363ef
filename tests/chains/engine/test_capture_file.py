"""Capture files: what is written is read, in every dialect of the format; what is broken is refused by name."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.chains.engine.capture_file import FRAME_BYTES_MAX, read_pcap, write_pcap
from nfvportal.lib.errors import InvalidInputError


@given(st.lists(st.tuples(st.integers(0, 2**32 * 10**6 - 1), st.binary(max_size=80)), max_size=10))
def test_what_is_written_is_read(packets: list[tuple[int, bytes]]) -> None:
    file = io.BytesIO()
    assert write_pcap(file, packets) == len(packets)
    file.seek(0)
    assert list(read_pcap(file)) == packets


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "fraction"), [(0xA1B2C3D4, 7), (0xA1B23C4D, 7999)])
def test_both_byte_orders_and_both_clocks(order: str, magic: int, fraction: int) -> None:
    file = io.BytesIO(
        struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
        + struct.pack(f"{order}IIII", 3, fraction, 2, 2)
        + b"ab"
    )
    assert list(read_pcap(file)) == [(3_000_007, b"ab")]


HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (b"", "classic pcap"),
        (b"\x0a\x0d\x0d\x0a" + bytes(20), "classic pcap"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101), "Ethernet"),
        (HEAD + b"123", "packet 1 is cut off"),
        (HEAD + struct.pack("<IIII", 0, 0, 5, 5) + b"1234", "packet 1 is cut off"),
        (HEAD + struct.pack("<IIII", 0, 0, FRAME_BYTES_MAX + 1, 5), "packet 1 has"),
    ],
)
def test_what_is_broken_is_refused(data: bytes, limit: str) -> None:
    with pytest.raises(InvalidInputError, match=limit) as caught:
        list(read_pcap(io.BytesIO(data)))
    assert caught.value.field == "pcap"
