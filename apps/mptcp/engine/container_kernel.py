"""Where the frames of a capture file lie: the walks over classic pcap and pcapng, in one compiled file.

A walk stops before what is not there yet (the caller comes back with more bytes), before a block that only the caller
can read, and for good where the file is broken: without the length of one record the next cannot be found.

Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.compiling import compiled, inlined
from apps.mptcp.engine.frame_kernel import CAPTURED, LINK, SIZE, START, TIME
from apps.mptcp.engine.octets_kernel import u8

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]

FRAME_BYTES_MAX: Final = 262_144
BLOCK_BYTES_MAX: Final = 524_288
# A record and its frame are never shorter than this many bytes where the frame is read at all.
SPACING_MIN: Final = 16

# Why a walk stopped.
WANTS_MORE, WANTS_BLOCK, IS_BROKEN = range(3)
# Fields of the walk's state.
POSITION, SKIP, LAST_US, BAD_BLOCK, UNKNOWN_INTERFACE, OTHER_BLOCKS, LOWEST_US, HIGHEST_US = range(8)
STATE_FIELDS: Final = 8
# Columns of an interface.
INTERFACE_LINK, INTERFACE_SNAPLEN, TICK_DIVISOR, TICKS_PER_S, OFFSET_S = range(5)
INTERFACE_FIELDS: Final = 5

SECTION, INTERFACE, PACKET, SIMPLE, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
TIME_NONE: Final = (1 << 63) - 1
SECONDS_MAX: Final = 1 << 42  # 139 000 years; keeps microseconds within 63 bits


@inlined
def le16(b: Octets, p: int) -> int:
    """Return two bytes, the low one first."""
    return u8(b, p) | u8(b, p + 1) << 8


@inlined
def word(b: Octets, p: int, is_little: bool) -> int:
    """Return four bytes in the file's order."""
    if is_little:
        return le16(b, p) | le16(b, p + 2) << 16
    return u8(b, p) << 24 | u8(b, p + 1) << 16 | u8(b, p + 2) << 8 | u8(b, p + 3)


def new_state() -> Integers:
    """Return the state of a walk that has seen nothing: no lowest nor highest time yet."""
    state = np.zeros(STATE_FIELDS, np.int64)
    state[LOWEST_US], state[HIGHEST_US] = TIME_NONE, -TIME_NONE
    return state


@compiled
def walk_pcap(
    b: Octets, is_little: bool, header: int, is_nano: bool, link: int, frames: Integers, state: Integers
) -> tuple[int, int]:
    """Find the records of a classic pcap from ``state[POSITION]`` on.

    Args:
        header: bytes of a record's header, 16 or 24 (the "modified" format).
        frames: int64[capacity, FRAME_FIELDS], filled; the walk also stops when it is full.

    Returns:
        Why it stopped, and how many frames were found.
    """
    p = state[POSITION]
    count = 0
    reason = WANTS_MORE
    lowest, highest = state[LOWEST_US], state[HIGHEST_US]
    while p + header <= b.shape[0] and count < frames.shape[0]:
        captured = word(b, p + 8, is_little)
        if captured > FRAME_BYTES_MAX:
            state[BAD_BLOCK] += 1
            reason = IS_BROKEN
            break
        if p + header + captured > b.shape[0]:
            break
        frames[count, START] = p + header
        frames[count, CAPTURED] = captured
        frames[count, SIZE] = word(b, p + 12, is_little)
        frames[count, LINK] = link
        fraction = word(b, p + 4, is_little)
        if is_nano:
            fraction //= 1000  # by a constant: any other division takes longer than the rest of the record
        at_us = word(b, p, is_little) * 1_000_000 + fraction
        frames[count, TIME] = at_us
        lowest = min(lowest, at_us)
        highest = max(highest, at_us)
        count += 1
        p += header + captured
    state[POSITION] = p
    state[LOWEST_US] = lowest
    state[HIGHEST_US] = highest
    return reason, count


@inlined
def ticks_to_us(high: int, low: int, divisor: int, per_s: int, offset_s: int) -> int:
    """Return microseconds of a time in ticks; what would not fit stays at the largest time."""
    ticks = (np.uint64(high) << np.uint64(32) | np.uint64(low)) // np.uint64(divisor)
    seconds = np.int64(min(ticks // np.uint64(per_s), np.uint64(SECONDS_MAX)))
    rest = ticks % np.uint64(per_s) * np.uint64(1_000_000) // np.uint64(per_s)
    return int((seconds + offset_s) * 1_000_000 + np.int64(rest))


@inlined
def packet_block(
    b: Octets, p: int, kind: int, size: int, is_little: bool, interfaces: Integers, known: int,
    frames: Integers, count: int, state: Integers,
) -> int:  # fmt: skip
    """Read one whole block with a packet into row ``count``; return how many frames it gave, 0 or 1."""
    data = 12 if kind == SIMPLE else 28
    if size < data + 4:
        state[BAD_BLOCK] += 1
        return 0
    interface = 0
    if kind == ENHANCED:
        interface = word(b, p + 8, is_little)
    elif kind == PACKET:
        interface = le16(b, p + 8) if is_little else word(b, p + 8, False) >> 16
    if interface >= known:
        state[UNKNOWN_INTERFACE] += 1
        return 0
    if kind == SIMPLE:
        original = word(b, p + 8, is_little)
        captured = min(original, size - data - 4)
        if interfaces[interface, INTERFACE_SNAPLEN]:
            captured = min(captured, interfaces[interface, INTERFACE_SNAPLEN])
    else:
        captured = word(b, p + 20, is_little)
        original = word(b, p + 24, is_little)
        state[LAST_US] = ticks_to_us(
            word(b, p + 12, is_little), word(b, p + 16, is_little), interfaces[interface, TICK_DIVISOR],
            interfaces[interface, TICKS_PER_S], interfaces[interface, OFFSET_S],
        )  # fmt: skip
    if captured > size - data - 4:
        state[BAD_BLOCK] += 1
        return 0
    frames[count, START] = p + data
    frames[count, CAPTURED] = captured
    frames[count, SIZE] = original
    frames[count, LINK] = interfaces[interface, INTERFACE_LINK]
    frames[count, TIME] = state[LAST_US]  # a simple block has no time: that of the packet before
    state[LOWEST_US] = min(state[LOWEST_US], state[LAST_US])
    state[HIGHEST_US] = max(state[HIGHEST_US], state[LAST_US])
    return 1


@compiled
def walk_pcapng(
    b: Octets, is_little: bool, interfaces: Integers, known: int, frames: Integers, state: Integers
) -> tuple[int, int]:
    """Find the packets of a pcapng section from ``state[POSITION]`` on, up to a section or interface block.

    A block of more than ``BLOCK_BYTES_MAX`` is never held: ``state[SKIP]`` bytes of it are still to come.

    Args:
        interfaces: int64[interfaces, INTERFACE_FIELDS], of which ``known`` are described.
        frames: int64[capacity, FRAME_FIELDS], filled; the walk also stops when it is full.

    Returns:
        Why it stopped, and how many frames were found.
    """
    p = state[POSITION]
    count = 0
    reason = WANTS_MORE
    while p + 12 <= b.shape[0] and count < frames.shape[0]:
        kind = word(b, p, is_little)
        if kind == SECTION:
            reason = WANTS_BLOCK
            break
        size = word(b, p + 4, is_little)
        if size < 12 or size & 3:
            state[BAD_BLOCK] += 1
            reason = IS_BROKEN
            break
        is_packet = kind in (ENHANCED, SIMPLE, PACKET)
        if size > BLOCK_BYTES_MAX:
            state[BAD_BLOCK if is_packet or kind == INTERFACE else OTHER_BLOCKS] += 1
            have = min(size, b.shape[0] - p)
            state[SKIP] = size - have
            p += have
            continue
        if p + size > b.shape[0]:
            break
        if kind == INTERFACE:
            reason = WANTS_BLOCK
            break
        if word(b, p + size - 4, is_little) != size:
            state[BAD_BLOCK] += 1
        elif is_packet:
            count += packet_block(b, p, kind, size, is_little, interfaces, known, frames, count, state)
        else:
            state[OTHER_BLOCKS] += 1
        p += size
    state[POSITION] = p
    return reason, count
