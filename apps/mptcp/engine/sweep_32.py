"""Candidates at 32 bit: connections whose recent numbers meet in both spaces at once.

At 32 bit the circle is full of chance: range overlap alone has a precision of .24 with 200 connections. So what meets
here is only worth a closer look (``alignment``), and must meet in both spaces even for that.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.compiling import compiled
from apps.mptcp.engine.sweep import KNOWN_32, KNOWN_64, Units

FORWARD_MAX: Final = 8192
WIDEN_S: Final = 4.0
WIDEN_BYTES: Final = 65_536.0  # a request more, or the number that DATA_FIN takes
UNPACED_BYTES: Final = 3_000_000.0  # where single samples show no rate
WIDEST_BYTES: Final = 1 << 31


@compiled
def _recent(rows: Any, following: Any, parity: Any, head: Any, lo: Any, length: Any) -> None:
    for u in range(len(head)):
        for side in range(2):
            is_begun, low, high, reference, rate = False, 0.0, 0.0, np.uint32(0), -1.0
            row = head[u]
            while True:
                space = rows[row].space[side ^ int(parity[row])]
                count = np.int64(space.ring_count)
                for k in range(count + 1 if space.points > 0 else 0):
                    number = np.uint32(space.hi if k == count else space.ring_hi[k])
                    if not is_begun:
                        is_begun, reference = True, number
                    apart = float(np.int32(number - reference))
                    low, high = min(low, apart), max(high, apart)
                if space.last_us > space.first_us:
                    span = max(0.5, float(space.last_us - space.first_us) * 1e-6)
                    rate = max(rate, float(np.int64(space.hi - space.lo)) / span)
                row = following[row]
                if row == head[u]:
                    break
            wider = WIDEN_S * rate + WIDEN_BYTES if rate >= 0 else UNPACED_BYTES
            width = high - low + 2.0 * wider
            length[u, side] = -1.0 if not is_begun else min(width, 2.0 * WIDEST_BYTES - 1.0)
            lo[u, side] = np.uint32(np.int64(reference) + np.int64(low - wider))


@compiled
def _overlap(lo_one: Any, length_one: Any, lo_other: Any, length_other: Any) -> bool:
    return bool(
        float(np.uint32(lo_other - lo_one)) <= length_one
        or float(np.uint32(lo_one - lo_other)) <= length_other
    )


@compiled
def _candidates(unit: Any, side: Any, order: Any, lo: Any, length: Any, known: Any, out: Any) -> int:
    count, n = 0, len(order)
    for place in range(n):
        one = order[place]
        u, su = unit[one], side[one]
        for step in range(1, min(n - 1, FORWARD_MAX) + 1):
            other = order[(place + step) % n]
            v, sv = unit[other], side[other]
            if float(np.uint32(lo[v, sv] - lo[u, su])) > length[u, su]:
                break
            if u == v or length[u, 1 - su] < 0 or length[v, 1 - sv] < 0:
                continue
            is_wide = min(known[u, 0], known[u, 1]) == KNOWN_64 and min(known[v, 0], known[v, 1]) == KNOWN_64
            if is_wide or not _overlap(lo[u, 1 - su], length[u, 1 - su], lo[v, 1 - sv], length[v, 1 - sv]):
                continue
            if count < len(out):
                out[count, 0], out[count, 1], out[count, 2] = u, v, su ^ sv
            count += 1
    return count


def candidates(
    rows: NDArray[Any], units: Units, following: NDArray[np.int32], parity: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Return int64[pairs, 3]: unit, unit, flip, where recent numbers meet in both spaces at 32 bit.

    Complexity: O(n log n + pairs that meet in one space).
    """
    if not (units.known == KNOWN_32).any():
        return np.zeros((0, 3), np.int64)
    lo = np.zeros(units.lo.shape, np.uint32)
    length = np.empty(units.lo.shape)
    _recent(rows, following, parity, units.head, lo, length)
    place = np.flatnonzero((length >= 0) & (length < WIDEST_BYTES))
    unit, side = place >> 1, place & 1
    order = np.argsort(lo[unit, side])
    out = np.empty((4 * len(unit) + 16, 3), np.int64)
    count = _candidates(unit, side, order, lo, length, units.known, out)
    if count > len(out):
        out = np.empty((count, 3), np.int64)
        _candidates(unit, side, order, lo, length, units.known, out)
    return np.unique(out[:count], axis=0)
