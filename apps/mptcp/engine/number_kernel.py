"""What a number space of a subflow learns from mappings and acknowledgements.

Numbers are unsigned 64 bits and compared by signed difference, so that they may wrap. A number of 32 bits is taken as
the one nearest to the highest so far; the first of 64 bits lifts all that came before.
"""

from typing import Any, Final

import numpy as np

from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.compiling import inlined
from apps.mptcp.engine.records import Has

OUTLIER_BYTES: Final = 1 << 38
OUTLIERS_BELIEVED: Final = 4
RING_STEP_US: Final = 1_000_000
NEVER_US: Final = -(1 << 62)

_RING = layout.RING
_ISN_A, _GUESS_A = layout.ISN_A, layout.GUESS_A
_DSN_64, _DATA_ACK_64 = int(Has.DSN_64), int(Has.DATA_ACK_64)


@inlined
def lift(space: Any, value: Any, is_64: Any) -> Any:
    """Return a number unwrapped beside those of its space; a first one of 64 bits lifts the others."""
    if space.points == 0:
        space.is_64 = np.uint8(1 if is_64 else 0)
        return value
    if is_64 and space.is_64 == 1:
        return value
    near = np.int64(np.int32(np.uint32(value) - np.uint32(space.hi)))
    if not is_64:
        return space.hi + np.uint64(near)
    shift = value - np.uint64(near) - space.hi
    space.lo += shift
    space.hi += shift
    space.data_lo += shift
    space.data_hi += shift
    space.fin += shift
    for index in range(_RING):
        space.ring_hi[index] += shift
    space.is_64 = np.uint8(1)
    return value


@inlined
def add_span(space: Any, first: Any, after: Any, at_us: Any, is_in_order: Any) -> bool:
    """Let a space learn unwrapped numbers; returns False for such as are too far away to believe.

    Numbers that are learned out of their order (``is_in_order``) take no place in the ring.
    """
    if space.points > 0:
        low, high = space.lo, space.hi
        above, below = np.int64(after - high), np.int64(low - first)
        if above <= OUTLIER_BYTES and below <= OUTLIER_BYTES and above >= -(1 << 62):
            # Chosen, not branched: which packets carry the numbers on is nothing a processor could guess.
            space.hi = after if above > 0 else high
            space.hi_us = at_us if above > 0 else space.hi_us
            space.lo = first if below > 0 else low
            space.first_us = min(space.first_us, at_us)
            space.last_us = max(space.last_us, at_us)
            space.outliers = np.uint8(0)
            space.points += np.uint32(1)
            # Below the highest: sent again, perhaps, and no word of how far the connection is now.
            if is_in_order and at_us - space.pushed_us >= RING_STEP_US and above >= 0:
                push(space, at_us)
            return True
        space.outliers += np.uint8(1)
        if space.outliers < OUTLIERS_BELIEVED:
            return False
        forget(space)
    space.lo = first
    space.hi = after
    space.first_us = at_us
    space.last_us = at_us
    space.hi_us = at_us
    space.points = np.uint32(1)
    if is_in_order:
        push(space, at_us)
    return True


@inlined
def forget(space: Any) -> None:
    """Drop all numbers of a space."""
    space.points = np.uint32(0)
    space.data_points = np.uint32(0)
    space.ring_count = np.uint8(0)
    space.ring_next = np.uint8(0)
    space.pushed_us = NEVER_US
    space.outliers = np.uint8(0)


@inlined
def push(space: Any, at_us: Any) -> None:
    """Keep (time, highest so far), for a while the last one."""
    place = np.int64(space.ring_next)
    space.ring_us[place] = at_us
    space.ring_hi[place] = space.hi
    space.pushed_us = at_us
    space.ring_next = np.uint8((place + 1) % _RING)
    if space.ring_count < _RING:
        space.ring_count = np.uint8(space.ring_count + 1)


@inlined
def exact_offset(row: Any, side: Any, seq: Any, ssn: Any, map_bytes: Any, payload: Any) -> Any:
    """Return how far into its mapping a packet is: segmentation offload repeats one mapping over many packets.

    Without SYN the initial sequence number is taken as the lowest that mappings allow.
    """
    start = seq - ssn
    if row.flags & np.uint32(_ISN_A << side) == 0:
        guess = np.uint32(_GUESS_A << side)
        if row.flags & guess == 0 or np.int32(start - row.isn[side]) < 0:
            row.isn[side] = start
            row.flags |= guess
    offset = np.int64(np.int32(start - row.isn[side]))
    return offset if offset >= 0 and offset + payload <= map_bytes else np.int64(0)


@inlined
def add_mapping(row: Any, side: Any, packet: Any) -> bool:
    """Let the sender's space learn a mapping; returns False for numbers too far away to believe."""
    space = row.space[side]
    payload, map_bytes = np.int64(packet.payload_bytes), np.int64(packet.map_bytes)
    length, offset = map_bytes, np.int64(0)
    if payload > 0 and map_bytes > 0:
        offset = exact_offset(row, side, packet.seq, packet.ssn, map_bytes, payload)
        length = min(payload, map_bytes - offset)
    dsn = lift(space, packet.dsn, (packet.has & np.uint32(_DSN_64)) != 0)
    first = dsn + np.uint64(offset)
    after = first + np.uint64(length)
    if not add_span(space, first, after, packet.at_us, True):
        return False
    if payload > 0 and map_bytes > 0:
        add_carried(space, first, after, np.uint64(packet.ssn) + np.uint64(offset), np.uint64(length))
    return True


@inlined
def add_carried(space: Any, first: Any, after: Any, ssn: Any, length: Any) -> None:
    """Let a space learn that a mapping's bytes were carried, with their subflow sequence number."""
    if space.data_points == 0:
        space.data_lo, space.data_hi = first, after
        space.ssn_lo, space.ssn_hi = ssn, ssn + length
    else:
        ssn_lo, ssn_hi, data_lo, data_hi = space.ssn_lo, space.ssn_hi, space.data_lo, space.data_hi
        ssn = ssn_hi + np.uint64(np.int64(np.int32(np.uint32(ssn) - np.uint32(ssn_hi))))
        space.ssn_lo = ssn if np.int64(ssn - ssn_lo) < 0 else ssn_lo
        space.ssn_hi = ssn + length if np.int64(ssn + length - ssn_hi) > 0 else ssn_hi
        space.data_lo = first if np.int64(first - data_lo) < 0 else data_lo
        space.data_hi = after if np.int64(after - data_hi) > 0 else data_hi
    space.data_points += np.uint32(1)


@inlined
def add_data_fin(row: Any, side: Any, packet: Any) -> bool:
    """Keep the number of a DATA_FIN; returns whether it is new."""
    space = row.space[side]
    number = lift(space, packet.dsn, (packet.has & np.uint32(_DSN_64)) != 0)
    length = np.int64(packet.map_bytes)
    if length > 1:
        number += np.uint64(length - 1)
    if space.has_fin == 1 and space.fin == number:
        return False
    space.fin = number
    space.has_fin = np.uint8(1)
    return True


@inlined
def add_ack(row: Any, side: Any, packet: Any) -> bool:
    """Let the other side's space learn a DATA_ACK."""
    space = row.space[1 - side]
    number = lift(space, packet.data_ack, (packet.has & np.uint32(_DATA_ACK_64)) != 0)
    if not add_span(space, number, number, packet.at_us, True):
        return False
    if space.has_fin == 1 and np.int64(number - space.fin) > 0:
        space.is_fin_acked = np.uint8(1)
    return True
