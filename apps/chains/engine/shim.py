"""The header that carries a packet's identity between servers: Ethernet, then NSH with a fixed context (MD type 1).

    0                   1                   2                   3
    |Ver|O|U|    TTL    |   Length  |U|U|U|U|MD type|  next proto  |   RFC 8300, 2.2
    |               service path identifier         | service index|   path, operator that is next
    |     flags     |     branch    |             epoch            |   context, ours
    |                    packet id, upper 32 of 48                 |
    |    packet id, lower 16        |    classifier's time, upper 16 of 48, microseconds
    |              classifier's time, lower 32                     |

A *nil* stands for a dropped packet, so that nobody waits for it; its body is one byte, the index of the network
function that dropped it (255: unknown). Times are widened by who reads them, to the moment nearest to its own clock, so
clocks may differ by years.

Source: RFC 8300. Deviation: the service index names an operator instead of counting down; loops cannot arise since
operator tables have none.
"""

import struct
from enum import IntFlag
from typing import Final, NamedTuple

ETHER_TYPE: Final = 0x894F
MAC_BYTES: Final = 6
HEADER_BYTES: Final = 14 + 24
PATH_MAX: Final = (1 << 24) - 1
EPOCH_MAX: Final = (1 << 16) - 1
PACKET_ID_MAX: Final = (1 << 48) - 1
DROPPED_BY_UNKNOWN: Final = 255
_TIME_SPAN: Final = 1 << 48
# Version 0, TTL 63, length 6 words, MD type 1, next protocol Ethernet.
_BASE: Final = 0x0FC60103
_BASE_MASK: Final = 0xF03FFFFF  # the TTL may be anything
_SHIM = struct.Struct("!6s6sHIIBBHIHHI")
assert _SHIM.size == HEADER_BYTES


class ShimFlag(IntFlag):
    """What a frame is, beyond a whole packet."""

    NIL = 1
    HEADER_ONLY = 2
    TRACED = 4


class Shim(NamedTuple):
    """Identity of a packet on the wire; ``at_us`` epoch microseconds."""

    path: int
    operator: int
    epoch: int
    packet_id: int
    at_us: int
    branch: int = 0
    flags: int = 0


class Malformed(NamedTuple):
    """A frame that carries no shim of ours; ``kind`` is what a counter calls it."""

    kind: str


def shim_encode(target_mac: bytes, own_mac: bytes, shim: Shim, body: bytes) -> bytes:
    """Return the frame; ``body`` is the packet's own Ethernet frame, or a nil's one byte.

    Complexity: O(len(body)), about 1 us.
    """
    packet_id, at_us = shim.packet_id, shim.at_us % _TIME_SPAN
    return (
        _SHIM.pack(
            target_mac,
            own_mac,
            ETHER_TYPE,
            _BASE,
            shim.path << 8 | shim.operator,
            shim.flags,
            shim.branch,
            shim.epoch,
            packet_id >> 16,
            packet_id & 0xFFFF,
            at_us >> 32,
            at_us & 0xFFFFFFFF,
        )
        + body
    )


def shim_decode(frame: bytes, now_us: int) -> tuple[Shim, bytes] | Malformed:
    """Return identity and body of a frame, or what is wrong with it; never raises.

    Args:
        now_us: the reader's time, epoch microseconds, to widen the packet's with.

    >>> frame = shim_encode(bytes(6), bytes(6), Shim(7, 1, 3, 42, 1_000_000), b"packet")
    >>> shim_decode(frame, 1_500_000)
    (Shim(path=7, operator=1, epoch=3, packet_id=42, at_us=1000000, branch=0, flags=0), b'packet')
    """
    if len(frame) <= HEADER_BYTES:
        return Malformed("truncated")
    _, _, ether_type, base, path_operator, flags, branch, epoch, id_high, id_low, at_high, at_low = (
        _SHIM.unpack_from(frame)
    )
    if ether_type != ETHER_TYPE:
        return Malformed("ether_type")
    if base & _BASE_MASK != _BASE & _BASE_MASK:
        return Malformed("version")
    at_us = at_high << 32 | at_low
    at_us += (now_us - at_us + _TIME_SPAN // 2) // _TIME_SPAN * _TIME_SPAN
    shim = Shim(path_operator >> 8, path_operator & 0xFF, epoch, id_high << 16 | id_low, at_us, branch, flags)
    return shim, frame[HEADER_BYTES:]
