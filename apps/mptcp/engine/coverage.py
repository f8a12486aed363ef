"""T8, conservation: the bytes that a connection's subflows carried against how far its number went.

1 means that all subflows were seen; .6 that others carry the rest. More than 1 is ordinary up to 1.3: senders repeat
on one subflow what another is slow to acknowledge (measured: 1.00 to 1.30, median 1.13, over links with queues of
400 ms). Two connections taken for one carry 2. So a suspicion needs 1.5, not the 1.05 of the brief, and a connection
that soft evidence holds together: tokens and keys are not mistaken. Of k
samples that fall evenly into a span, the outermost show (k - 1) / (k + 1) of it on average: sum and whole are each
corrected by that. It tells of completeness, never of identity.
"""

from typing import Any, Final

import numpy as np

from apps.mptcp.engine.compiling import compiled, inlined

SUSPICIOUS: Final = 1.5
DEVIATIONS: Final = 3.0  # standard deviations of the estimate that a suspicion must exceed
SAMPLES_MIN: Final = 4  # per subflow: below, the correction is more than the figure


@inlined
def conservation(rows: Any, following: Any, parity: Any, first: Any, side: Any, out: Any) -> None:
    """Write (share carried, its standard deviation) of a connection's direction ``side``; NaN: unknown.

    Args:
        first: one of the connection's rows.
    """
    carried, variance = 0.0, 0.0
    samples: Any = 0
    fewest: Any = SAMPLES_MIN
    low, high = 0.0, 0.0
    is_begun, is_64, origin = False, True, np.uint64(0)
    out[0], out[1] = np.nan, np.nan
    row = first
    while True:
        space = rows[row].space[side ^ int(parity[row])]
        count = np.int64(space.data_points)
        if count > 0:
            fewest = min(fewest, count)
            samples += count
            if count > 1:
                span = float(np.int64(space.ssn_hi - space.ssn_lo)) * float(count + 1) / float(count - 1)
                carried += span
                variance += 2.0 * (span / float(count)) ** 2
            if not is_begun:
                is_begun, is_64, origin = True, space.is_64 == 1, space.data_lo
            apart = float(np.int64(space.data_lo - origin))
            if not is_64 or space.is_64 == 0:
                apart = float(np.int32(np.uint32(space.data_lo) - np.uint32(origin)))
            low = min(low, apart)
            high = max(high, apart + float(np.int64(space.data_hi - space.data_lo)))
        row = following[row]
        if row == first:
            break
    if fewest >= SAMPLES_MIN and samples > 1 and high > low:
        whole = (high - low) * float(samples + 1) / float(samples - 1)
        out[0] = carried / whole
        out[1] = np.sqrt(variance) / whole


@compiled
def shares(rows: Any, following: Any, parity: Any, oldest: Any, pair: Any, out: Any) -> None:
    """Write float64[connections, 2]: the share of bytes seen per direction, a to b of the row given first.

    Args:
        oldest: a row of each connection.
        pair: float64[2] to work in.
    """
    for k in range(len(oldest)):
        row = oldest[k]
        for side in range(2):
            conservation(rows, following, parity, row, side ^ int(parity[row]), pair)
            out[k, side] = pair[0]


@compiled
def find_surplus(rows: Any, used: int, following: Any, parity: Any, is_soft: Any, part: int, parts: int, out: Any,
                 found: Any) -> int:  # fmt: skip
    """Write rows whose connections carry clearly more than there is; returns how many. ``out`` is to work in.

    Only connections of every ``parts``-th row are tried, so that each second costs little, and only rows with
    ``is_soft``.
    """
    count = 0
    for row in range(part, used, parts):
        if is_soft[row] == 0 or rows[row].id < 0 or following[row] == row or count == len(found):
            continue
        for side in range(2):
            conservation(rows, following, parity, row, side, out)
            if out[0] > SUSPICIOUS + DEVIATIONS * out[1] and count < len(found):
                found[count] = row
                count += 1
                break
    return count
