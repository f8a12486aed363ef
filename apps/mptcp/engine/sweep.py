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
REFUSED, ONE_SPACE, BOTH_SPACES, FROM_KEY = 0, 1, 2, 3


class Units(NamedTuple):
    """Connections as the sweep sees them: a row each.

    Args:
        head: int32, one of the connection's rows.
        known: uint8[units, 2], width of each space, of the connection's sides; lo, hi: uint64[units, 2].
        start: uint64[units, 2], the first number by a key, where ``has_start``.
    """

    head: NDArray[np.int32]
    known: NDArray[np.uint8]
    lo: NDArray[np.uint64]
    hi: NDArray[np.uint64]
    has_start: NDArray[np.uint8]
    start: NDArray[np.uint64]


@compiled
def _gather(rows: Any, used: int, following: Any, parity: Any, head: Any, known: Any, lo: Any, hi: Any, has_start: Any,
            start: Any, visited: Any) -> int:  # fmt: skip
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
                at = side ^ int(parity[row])
                if space.has_start == 1:
                    has_start[count, at] = 1
                    start[count, at] = space.start
                if space.points == 0:
                    continue
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
    has_start = np.zeros((used, 2), np.uint8)
    start = np.zeros((used, 2), np.uint64)
    count = _gather(
        rows, used, following, parity, head, known, lo, hi, has_start, start, np.zeros(used, np.uint8)
    )
    return Units(head[:count], known[:count], lo[:count], hi[:count], has_start[:count], start[:count])


@compiled
def _meet(place: Any, lo: Any, hi: Any, start: Any, wider: Any, order: Any, out: Any) -> int:
    """Write pairs of intervals that overlap on the circle; returns how many there are, also beyond ``out``.

    Args:
        place: of each interval, twice its unit and its space.
        lo, hi: by place; start: lo less half of ``wider``, which is added to each length.
    """
    count, n = 0, len(order)
    for k in range(n):
        one = place[order[k]]
        length = hi[one] - lo[one] + wider
        for step in range(1, min(n - 1, FORWARD_MAX) + 1):
            following = order[(k + step) % n]
            if start[following] - start[order[k]] > length:  # unsigned: the way forward on the circle
                break
            other = place[following]
            if other >> 1 != one >> 1:
                if count < len(out):
                    out[count, 0], out[count, 1] = one >> 1, one & 1
                    out[count, 2], out[count, 3] = other >> 1, other & 1
                count += 1
    return count


def meeting_pairs(units: Units, tolerance_bytes: int) -> NDArray[np.int32]:
    """Return int32[pairs, 4]: unit, its space, unit, its space, for 64-bit intervals that meet within the tolerance.

    Complexity: O(n log n + pairs).
    """
    place = np.flatnonzero(units.known.reshape(-1) == KNOWN_64).astype(np.int32)
    if len(place) < 2:
        return np.zeros((0, 4), np.int32)
    lo, hi = units.lo.reshape(-1), units.hi.reshape(-1)
    half = np.uint64(tolerance_bytes // 2)
    start = lo[place]
    start -= half
    order = np.argsort(start).astype(np.int32)
    wider = np.uint64(2) * half
    out = np.empty((len(place) + 16, 4), np.int32)  # takes memory only where something is written
    count = _meet(place, lo, hi, start, wider, order, out)
    if count > len(out):
        out = np.empty((count, 4), np.int32)
        _meet(place, lo, hi, start, wider, order, out)
    return out[:count]


@compiled
def interval_gap(lo_one: Any, hi_one: Any, lo_other: Any, hi_other: Any) -> Any:
    """Return the numbers between two intervals, 0 where they overlap."""
    ahead = np.int64(lo_other - hi_one)
    behind = np.int64(lo_one - hi_other)
    return max(np.int64(0), ahead, behind)


@compiled
def _follows(units: Any, u: Any, su: Any, v: Any, sv: Any, bound: Any) -> bool:
    """Return whether v's numbers begin where u's key says that the space begins (T3)."""
    if units.has_start[u, su] == 0:
        return False
    return bool(0 <= np.int64(units.lo[v, sv] - units.start[u, su]) <= bound)


@compiled
def _judge(pairs: Any, units: Any, near: float, far: float, start_bytes: int, verdict: Any, gap: Any,
           chance: Any) -> None:  # fmt: skip
    known, lo, hi = units.known, units.lo, units.hi
    for k in range(len(pairs)):
        u, side_u, v, side_v = pairs[k, 0], pairs[k, 1], pairs[k, 2], pairs[k, 3]
        gap[k, 0], gap[k, 1], chance[k], verdict[k] = np.nan, np.nan, 1.0, REFUSED
        spaces, most, follows = 0, 0.0, False
        for turn in range(2):
            su, sv = side_u ^ turn, side_v ^ turn
            if known[u, su] != KNOWN_64 or known[v, sv] != KNOWN_64:
                continue
            spaces += 1
            between = float(interval_gap(lo[u, su], hi[u, su], lo[v, sv], hi[v, sv]))
            gap[k, su] = between
            most = max(most, between)
            width = (
                float(hi[u, su] - lo[u, su]) + float(hi[v, sv] - lo[v, sv]) + 2.0 * max(between, near) + 1.0
            )
            chance[k] *= min(1.0, width / 2.0**64)
            follows = (
                follows
                or _follows(units, u, su, v, sv, start_bytes)
                or _follows(units, v, sv, u, su, start_bytes)
            )
        if follows and most <= far:
            verdict[k] = FROM_KEY
            chance[k] = float(start_bytes) / 2.0**64
        elif spaces == 2 and most <= far:
            verdict[k] = BOTH_SPACES
        elif spaces == 1 and most <= near:
            verdict[k] = ONE_SPACE


def judge(
    pairs: NDArray[np.int32], units: Units, near_bytes: float, far_bytes: float, start_bytes: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    """Return verdict, gaps by the first unit's spaces (NaN: not compared) and chance of each pair.

    Args:
        near_bytes: tolerance where one space alone is known; far_bytes: where both are.
        start_bytes: how far after the initial number of a known key a first number may be (B of T3).
    """
    verdict = np.zeros(len(pairs), np.uint8)
    gap = np.empty((len(pairs), 2))
    chance = np.empty(len(pairs))
    _judge(pairs, units, near_bytes, far_bytes, start_bytes, verdict, gap, chance)
    return verdict, gap, chance
