"""The two formats of capture files, each as an object that finds frames in the bytes at hand.

Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

import struct
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import container_kernel as kernel

INTERFACES_MAX: Final = 1024
# Magic -> whether times are nanoseconds, and bytes of a record's header.
_PCAP_MAGICS: Final = {0xA1B2C3D4: (False, 16), 0xA1B23C4D: (True, 16), 0xA1B2CD34: (False, 24)}
_SECTION_MAGIC: Final = 0x1A2B3C4D
_TICKS_MAX: Final = {10: 12, 2: 40}  # base -> exponent up to which ticks times 10^6 fit 64 bits
_OPTION_RESOLUTION, _OPTION_OFFSET = 9, 14


class Walk(Protocol):
    """Finds the frames of a file, piece by piece."""

    input_format: str
    state: NDArray[np.int64]

    @property
    def links(self) -> frozenset[int]:
        """Link-layer header types that frames of the next piece can have."""

    def advance(self, octets: NDArray[np.uint8], frames: NDArray[np.int64]) -> tuple[int, int]:
        """Find frames from ``state[POSITION]`` on; return why it stopped and how many."""


class PcapWalk:
    """Classic pcap: either byte order, micro- or nanoseconds, and the "modified" format."""

    input_format = "pcap"

    def __init__(self, is_little: bool, is_nano: bool, header: int, link: int) -> None:
        self.state = kernel.new_state()
        self.links = frozenset({link})
        self._arguments = (is_little, header, is_nano, link)

    @classmethod
    def by_head(cls, head: bytes) -> Self | None:
        """Read the 24 bytes of a file header; None: it is none."""
        for sign in "<>":
            magic, *_, link = struct.unpack(f"{sign}IHHiIII", head)
            if magic in _PCAP_MAGICS:
                is_nano, header = _PCAP_MAGICS[magic]
                walk = cls(sign == "<", is_nano, header, link & 0xFFFF)
                walk.state[kernel.POSITION] = len(head)
                return walk
        return None

    def advance(self, octets: NDArray[np.uint8], frames: NDArray[np.int64]) -> tuple[int, int]:
        """Find frames from ``state[POSITION]`` on; return why it stopped and how many."""
        return kernel.walk_pcap(octets, *self._arguments, frames, self.state)


class PcapngWalk:
    """pcapng: sections of either byte order, interfaces with their own link types and clocks."""

    input_format = "pcapng"

    def __init__(self) -> None:
        self.state = kernel.new_state()
        self._interfaces = np.zeros((INTERFACES_MAX, kernel.INTERFACE_FIELDS), np.int64)
        self._known = 0
        self._is_little = True

    @property
    def links(self) -> frozenset[int]:
        """Link-layer header types of this section's interfaces so far."""
        return frozenset(self._interfaces[: self._known, kernel.INTERFACE_LINK].tolist())

    def advance(self, octets: NDArray[np.uint8], frames: NDArray[np.int64]) -> tuple[int, int]:
        """Find frames from ``state[POSITION]`` on; return why it stopped and how many."""
        reason, count = kernel.walk_pcapng(
            octets, self._is_little, self._interfaces, self._known, frames, self.state
        )
        if reason == kernel.WANTS_BLOCK:
            reason = self._read_block(octets)
        return reason, count

    def _read_block(self, octets: NDArray[np.uint8]) -> int:
        """Read the section or interface block that the walk stopped at; return why to stop, or to go on."""
        start = int(self.state[kernel.POSITION])
        head = bytes(octets[start : start + 12])
        is_section = head[:4] == kernel.SECTION.to_bytes(4, "big")
        is_little = self._is_little
        if is_section:
            orders = {_SECTION_MAGIC.to_bytes(4, "little"): True, _SECTION_MAGIC.to_bytes(4, "big"): False}
            if head[8:] not in orders:
                return self._broken()
            is_little = orders[head[8:]]
        size = int.from_bytes(head[4:8], "little" if is_little else "big")
        if size < (28 if is_section else 20) or size & 3 or size > kernel.BLOCK_BYTES_MAX:
            return self._broken()
        if start + size > len(octets):
            return kernel.WANTS_MORE
        self.state[kernel.POSITION] = start + size
        if is_section:
            self._is_little, self._known = is_little, 0
        else:
            self._add_interface(bytes(octets[start : start + size]), "<" if is_little else ">")
        return kernel.WANTS_BLOCK

    def _broken(self) -> int:
        self.state[kernel.BAD_BLOCK] += 1
        return kernel.IS_BROKEN

    def _add_interface(self, block: bytes, sign: str) -> None:
        """Describe one more interface; those beyond the limit stay unknown, and so do their packets."""
        if self._known == INTERFACES_MAX:
            self.state[kernel.BAD_BLOCK] += 1
            return
        link, snaplen = struct.unpack_from(f"{sign}HxxI", block, 8)
        divisor, per_s, offset_s = 1, 1_000_000, 0
        for code, value in _options(block[16:-4], sign):
            if code == _OPTION_RESOLUTION and len(value) == 1:
                divisor, per_s = _clock(value[0])
            elif code == _OPTION_OFFSET and len(value) == 8:
                (offset_s,) = struct.unpack(f"{sign}q", value)
                offset_s = max(-kernel.SECONDS_MAX, min(kernel.SECONDS_MAX, offset_s))
        self._interfaces[self._known] = link, snaplen, divisor, per_s, offset_s
        self._known += 1


def _options(data: bytes, sign: str) -> list[tuple[int, bytes]]:
    """Return the options of a block up to the first that does not fit."""
    found = []
    position = 0
    while position + 4 <= len(data):
        code, size = struct.unpack_from(f"{sign}HH", data, position)
        if code == 0 or position + 4 + size > len(data):
            break
        found.append((code, data[position + 4 : position + 4 + size]))
        position += 4 + size + (-size) % 4
    return found


def _clock(resolution: int) -> tuple[int, int]:
    """Return what to divide ticks by first, and then ticks per second, of ``if_tsresol``.

    >>> _clock(6), _clock(9), _clock(0x80 + 10)
    ((1, 1000000), (1, 1000000000), (1, 1024))
    """
    base, exponent = (2, resolution & 0x7F) if resolution & 0x80 else (10, resolution)
    kept = min(exponent, _TICKS_MAX[base])
    return min(base ** (exponent - kept), 1 << 62), base**kept
