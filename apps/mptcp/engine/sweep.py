"""T5 and T6 at 64 bit: which connections' intervals of data sequence numbers meet, by sort and sweep.

A connection has an interval per space, the union of its subflows'. All intervals lie on one circle of 2^64 numbers;
random initial numbers leave it almost empty, so whoever meets there belongs together. Intervals are widened by the
tolerance, sorted by their start and swept once: O(n log n), and the pairs are few.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.compiling import compiled

FORWARD_MAX: Final = (
    64  # intervals tried after each one: bounds the work where someone crowds a place on the circle
)
UNKNOWN, KNOWN_32, KNOWN_64 = 0, 1, 2


class Units(NamedTuple):
    """Connections as the sweep sees them: a row each.

    Args:
        head: int32, one of the connection's rows (its orientation: ``parity``).
        known: uint8[units, 2], width of each space, of the connection's sides; lo, hi: uint64[units, 2].
    """

    head: NDArray[np.int32]
    known: NDArray[np.uint8]
    lo: NDArray[np.uint64]
    hi: NDArray[np.uint64]


@compiled
def _gather(
    rows: Any, used: int, following: Any, parity: Any, head: Any, known: Any, lo: Any, hi: Any
) -> int:
    visited = np.zeros(used, np.uint8)
    count = 0
    for first in range(used):
        if rows[first].id < 0 or visited[first] != 0:
            continue
        head[count] = first
        known[count, 0] = UNKNOWN
        known[count, 1] = UNKNOWN
        row = first
        while True:
            visited[row] = 1
            for side in range(2):
                space = rows[row].space[side]
                if space.points == 0:
                    continue
                at = side ^ int(parity[row])
                width = KNOWN_64 if space.is_64 == 1 else KNOWN_32
                if width > known[count, at]:
                    known[count, at] = width
                    lo[count, at] = space.lo
                    hi[count, at] = space.hi
                elif width == known[count, at] and width == KNOWN_64:
                    if np.int64(space.lo - lo[count, at]) < 0:
                        lo[count, at] = space.lo
                    if np.int64(space.hi - hi[count, at]) > 0:
                        hi[count, at] = space.hi
            row = following[row]
            if row == first:
                break
        count += 1
    return count


def gather(rows: NDArray[Any], used: int, following: NDArray[np.int32], parity: NDArray[np.uint8]) -> Units:
    """Return all connections with the union of their members' intervals. Complexity: O(subflows)."""
    head = np.empty(used, np.int32)
    known = np.empty((used, 2), np.uint8)
    lo = np.zeros((used, 2), np.uint64)
    hi = np.zeros((used, 2), np.uint64)
    count = _gather(rows, used, following, parity, head, known, lo, hi)
    return Units(head[:count], known[:count], lo[:count], hi[:count])


@compiled
def _meet(owner: Any, start: Any, length: Any, order: Any, out: Any) -> int:
    """Write pairs (interval, interval) that overlap on the circle; returns how many there are, also beyond ``out``."""
    count, n = 0, len(order)
    for place in range(n):
        one = order[place]
        for step in range(1, min(n - 1, FORWARD_MAX) + 1):
            other = order[(place + step) % n]
            if start[other] - start[one] > length[one]:  # unsigned: the way forward on the circle
                break
            if owner[other] != owner[one]:
                if count < len(out):
                    out[count, 0] = one
                    out[count, 1] = other
                count += 1
    return count


def meeting_pairs(units: Units, tolerance_bytes: int) -> NDArray[np.int64]:
    """Return int64[pairs, 4]: unit, its space, unit, its space, for 64-bit intervals that meet within the tolerance.

    Complexity: O(n log n + pairs).
    """
    owner, side = np.nonzero(units.known == KNOWN_64)
    if len(owner) < 2:
        return np.zeros((0, 4), np.int64)
    start = units.lo[owner, side] - np.uint64(tolerance_bytes // 2)
    length = units.hi[owner, side] - units.lo[owner, side] + np.uint64(tolerance_bytes // 2 * 2)
    order = np.argsort(start)
    out = np.empty((len(owner) + 16, 2), np.int64)
    count = _meet(owner, start, length, order, out)
    if count > len(out):
        out = np.empty((count, 2), np.int64)
        _meet(owner, start, length, order, out)
    one, other = out[:count, 0], out[:count, 1]
    return np.stack((owner[one], side[one], owner[other], side[other]), axis=1)


@compiled
def interval_gap(lo_one: Any, hi_one: Any, lo_other: Any, hi_other: Any) -> Any:
    """Return the numbers between two intervals, 0 where they overlap."""
    ahead = np.int64(lo_other - hi_one)
    behind = np.int64(lo_one - hi_other)
    return max(np.int64(0), ahead, behind)


@compiled
def _judge(
    pairs: Any, known: Any, lo: Any, hi: Any, near: float, far: float, both: Any, gap: Any, chance: Any
) -> None:
    for k in range(len(pairs)):
        u, side_u, v, side_v = pairs[k, 0], pairs[k, 1], pairs[k, 2], pairs[k, 3]
        gap[k, 0], gap[k, 1] = np.nan, np.nan
        both[k] = 0
        chance[k] = 1.0
        spaces = 0
        for turn in range(2):
            su, sv = side_u ^ turn, side_v ^ turn
            if known[u, su] != KNOWN_64 or known[v, sv] != KNOWN_64:
                continue
            spaces += 1
            between = float(interval_gap(lo[u, su], hi[u, su], lo[v, sv], hi[v, sv]))
            gap[k, su] = between
            width = (
                float(hi[u, su] - lo[u, su]) + float(hi[v, sv] - lo[v, sv]) + 2.0 * max(between, near) + 1.0
            )
            chance[k] *= min(1.0, width / 2.0**64)
        most = max(0.0 if np.isnan(gap[k, 0]) else gap[k, 0], 0.0 if np.isnan(gap[k, 1]) else gap[k, 1])
        if spaces == 2 and most <= far:
            both[k] = 2
        elif spaces == 1 and most <= near:
            both[k] = 1


def judge(
    pairs: NDArray[np.int64], units: Units, near_bytes: float, far_bytes: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    """Return per pair: 0 refused, 1 one space (T6), 2 both spaces (T5); gaps by the first unit's spaces; chance."""
    verdict = np.zeros(len(pairs), np.uint8)
    gap = np.empty((len(pairs), 2))
    chance = np.empty(len(pairs))
    _judge(pairs, units.known, units.lo, units.hi, near_bytes, far_bytes, verdict, gap, chance)
    return verdict, gap, chance
