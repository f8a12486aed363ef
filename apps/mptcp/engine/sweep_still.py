"""Candidates by a 32-bit number of a direction that stands still: the idle one of a one-way transfer.

A host that was sent no data answers with the 32-bit number at which that direction stands, on all subflows the same,
for as long as the connection lives. A subflow of which only such an answer was sampled shows nothing else. The law
is that of all intervals, (La + Lb + 2 delta) / 2^32 for a stranger; where lengths are a few bytes it is as good as a
token. No time is looked at, and the one byte of tolerance is the number that DATA_FIN takes.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.compiling import compiled
from apps.mptcp.engine.sweep import KNOWN_32, Units

FORWARD_MAX: Final = 64  # as in ``sweep``
STILL_BYTES: Final = 4096.0  # a direction that moved by more is left to its movement in time
TOLERANCE_BYTES: Final = 1.0


@compiled
def _ranges(rows: Any, following: Any, parity: Any, head: Any, lo: Any, length: Any) -> None:
    """Write the range of numbers of each connection's spaces, modulo 2^32; a length below 0 is unknown."""
    for u in range(len(head)):
        for side in range(2):
            is_begun, low, high, reference = False, 0.0, 0.0, np.uint32(0)
            row = head[u]
            while True:
                space = rows[row].space[side ^ int(parity[row])]
                if space.points > 0:
                    if not is_begun:
                        is_begun, reference = True, np.uint32(space.lo)
                    apart = float(np.int32(np.uint32(space.lo) - reference))
                    low = min(low, apart)
                    high = max(high, apart + float(np.int64(space.hi - space.lo)))
                row = following[row]
                if row == head[u]:
                    break
            length[u, side] = high - low if is_begun else -1.0
            lo[u, side] = np.uint32(np.int64(reference) + np.int64(low))


@compiled
def _meet(place: Any, lo: Any, length: Any, known: Any, order: Any, out: Any) -> int:
    """Write pairs (place, place) whose ranges meet, one of them of 32 bits; returns how many, also beyond ``out``."""
    count, n = 0, len(order)
    for k in range(n):
        one = place[order[k]]
        for step in range(1, min(n - 1, FORWARD_MAX) + 1):
            other = place[order[(k + step) % n]]
            if float(np.uint32(lo[other] - lo[one])) > length[one] + TOLERANCE_BYTES:
                break
            if other >> 1 != one >> 1 and min(known[one], known[other]) == KNOWN_32:
                if count < len(out):
                    out[count, 0], out[count, 1] = one, other
                count += 1
    return count


def candidates(
    rows: NDArray[Any], units: Units, following: NDArray[np.int32], parity: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return int64[pairs, 4]: unit, its space, unit, its space, that stand at one number; and a stranger's chance.

    Complexity: O(n log n + pairs).
    """
    if not (units.known == KNOWN_32).any():
        return np.empty((0, 4), np.int64), np.empty(0)
    lo, length = np.zeros(units.lo.shape, np.uint32), np.empty(units.lo.shape)
    _ranges(rows, following, parity, units.head, lo, length)
    place = np.flatnonzero((length.reshape(-1) >= 0) & (length.reshape(-1) <= STILL_BYTES)).astype(np.int32)
    order = np.argsort(lo.reshape(-1)[place]).astype(np.int32)
    sides = (lo.reshape(-1), length.reshape(-1), units.known.reshape(-1))
    found = np.empty((len(place) + 16, 2), np.int32)
    count = _meet(place, *sides, order, found)
    if count > len(found):
        found = np.empty((count, 2), np.int32)
        _meet(place, *sides, order, found)
    found = found[:count]
    width = length.reshape(-1)[found].sum(axis=1) + 2.0 * TOLERANCE_BYTES + 1.0
    pairs = np.stack((found[:, 0] >> 1, found[:, 0] & 1, found[:, 1] >> 1, found[:, 1] & 1), axis=1)
    return pairs.astype(np.int64), width / 2.0**32
