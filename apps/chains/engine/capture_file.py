"""Capture files in the classic pcap format, Ethernet only.

Source: draft-ietf-opsawg-pcap (the format of libpcap 2.4).
"""

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from nfvportal.lib.errors import InvalidInputError

FRAME_BYTES_MAX: Final = 262_144
_MAGICS: Final = {0xA1B2C3D4: 1, 0xA1B23C4D: 1000}
_ETHERNET: Final = 1


def write_pcap(file: BinaryIO, packets: Iterable[tuple[int, bytes]]) -> int:
    """Write packets with their times (microseconds, at least 0) to an open file; return how many."""
    file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, FRAME_BYTES_MAX, _ETHERNET))
    count = 0
    for at_us, frame in packets:
        size = len(frame)
        seconds, micros = divmod(at_us, 1_000_000)
        file.write(struct.pack("<IIII", seconds & 0xFFFFFFFF, micros, size, size))
        file.write(frame)
        count += 1
    return count


def read_pcap(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield time (microseconds) and frame of each packet; either byte order, micro- or nanoseconds.

    Raises:
        InvalidInputError: ``pcap``: not such a file, not Ethernet, or broken; the packet's number is named.
    """
    head = file.read(24)
    order = next(
        (sign for sign in "<>" if len(head) == 24 and struct.unpack_from(f"{sign}I", head)[0] in _MAGICS),
        None,
    )
    if order is None:
        raise InvalidInputError("pcap", "must be a capture file in the classic pcap format")
    magic, *_, link = struct.unpack(f"{order}IHHiIII", head)
    if link & 0x0FFFFFFF != _ETHERNET:
        raise InvalidInputError("pcap", "must hold Ethernet frames (link type 1)")
    record = struct.Struct(f"{order}IIII")
    number = 0
    while head := file.read(16):
        number += 1
        if len(head) < 16:
            raise InvalidInputError("pcap", f"packet {number} is cut off")
        seconds, fraction, size, _ = record.unpack(head)
        if size > FRAME_BYTES_MAX:
            raise InvalidInputError(
                "pcap", f"packet {number} has {size} bytes, allowed are {FRAME_BYTES_MAX}"
            )
        frame = file.read(size)
        if len(frame) < size:
            raise InvalidInputError("pcap", f"packet {number} is cut off")
        yield seconds * 1_000_000 + fraction // _MAGICS[magic], frame
