"""T7 and the veto: do two subflows' numbers move together in time?

A connection's number never falls, and no subflow trails another by more than a lag. So a number seen at time t lies
between what any sibling showed before t - lag and after t + lag. That bracket needs no rate and no model of the
traffic; where one side is open, as beside the first or last sample, the measured rate bounds it.

Seen from one subflow, all brackets together allow the other's numbers to be shifted by so many bytes and still fit;
their share of the circle is the chance of a stranger with the same times and rates, and 0 must be among them. A
number far outside is a veto: these two are no siblings.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.compiling import compiled

UNKNOWN, HOLDS, OUTSIDE, VETO = 0, 1, 2, 3
VETO_BYTES_64: Final = 64_000_000
VETO_BYTES_32: Final = 500_000
SLACK: Final = 0.5  # of a lag's bytes: paths that trail a little more than they should
OPEN_BYTES: Final = 16_384.0  # a request or its answer more, where no sample says that there was none
UNPACED_BYTES: Final = 65_536.0  # the same where no rate is known
UNPACED_BPS: Final = 250_000.0  # bytes per second, where single samples show no rate
POINTS_MAX: Final = layout.RING + 1
MEMBERS_MAX: Final = 8

_RING = layout.RING
_KEY_A, _MIRRORED = layout.KEY_A, layout.MIRRORED


Work = tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.float64]]


def work_space() -> Work:
    """Return arrays that the compiled functions write on; they allocate none themselves."""
    return np.empty((2, POINTS_MAX), np.int64), np.empty((2, POINTS_MAX), np.uint64), np.empty(8)


@compiled
def copy_points(space: Any, at: Any, value: Any) -> Any:
    """Write a space's (time, highest so far) by time; returns how many."""
    count = np.int64(space.ring_count)
    first = np.int64(space.ring_next) + _RING - count
    for k in range(count):
        place = (first + k) % _RING
        at[k] = space.ring_us[place]
        value[k] = space.ring_hi[place]
    if space.points > 0 and (count == 0 or space.hi_us > at[count - 1]):
        at[count] = space.hi_us
        value[count] = space.hi
        count += 1
    return count


@compiled
def pace(at: Any, value: Any, count: Any) -> Any:
    """Return (bytes per second, most bytes between two points); a rate below 0 is unknown."""
    if count < 2 or at[count - 1] == at[0]:
        return -1.0, 0.0
    most = 0.0
    for k in range(1, count):
        most = max(most, float(np.int64(value[k] - value[k - 1])))
    span = float(at[count - 1] - at[0]) * 1e-6
    return float(np.int64(value[count - 1] - value[0])) / max(span, 0.5), most


@compiled
def difference(one: Any, other: Any, is_64: bool) -> Any:
    """Return one - other, signed, on the circle of the narrower of the two."""
    if is_64:
        return float(np.int64(one - other))
    return float(np.int32(np.uint32(one) - np.uint32(other)))


@compiled
def bracket(at: Any, value: Any, count: Any, when: Any, lag_us: Any, rate: Any, burst: Any) -> Any:
    """Return (reference number, lowest and highest number a sibling may show at ``when``, relative to it).

    The reference is the bracket's lower end, or its upper one where the lower is open.
    """
    below, above = -1, -1
    for k in range(count):
        if at[k] <= when - lag_us:
            below = k
        elif above < 0 and at[k] >= when + lag_us:
            above = k
    if below >= 0 and above >= 0:
        return value[below], 0.0, float(np.int64(value[above] - value[below]))
    if below >= 0:
        ahead = float(when + lag_us - at[below]) * 1e-6
        return value[below], 0.0, 2.0 * rate * ahead + burst + OPEN_BYTES
    if above >= 0:
        behind = float(at[above] - when + lag_us) * 1e-6
        return value[above], -(2.0 * rate * behind + burst + OPEN_BYTES), 0.0
    middle = count // 2
    around = 2.0 * rate * (2.0 * float(lag_us) * 1e-6) + burst + OPEN_BYTES
    return value[middle], -around, around


@compiled
def place(at: Any, value: Any, count: Any, when: Any, number: Any, lag_us: Any, rate: Any, burst: Any,
          is_64: bool) -> Any:  # fmt: skip
    """Return (lowest, highest) shift that brings a number seen at ``when`` into its bracket; 0 between: it is in."""
    reference, low, high = bracket(at, value, count, when, lag_us, rate, burst)
    apart = difference(number, reference, is_64)
    return low - apart, high - apart


@compiled
def is_veto(low: Any, high: Any, lag_us: Any, rate: Any, burst: Any, is_64: bool) -> bool:
    """Return whether a number is so far out of its bracket that no stall of a sibling explains it."""
    outside = max(0.0, low, -high)
    lag_s = float(lag_us) * 1e-6
    if is_64:  # strangers are rare: long stalls are the likelier reason
        return bool(outside > VETO_BYTES_64 + 20.0 * rate * lag_s + 2.0 * (high - low) + burst)
    return bool(outside > VETO_BYTES_32 + rate * lag_s + 0.5 * (high - low))


@compiled
def align_spaces(
    one: Any, other: Any, lag_us: Any, rate: Any, burst: Any, work_at: Any, work_value: Any
) -> Any:
    """Return (state, bytes a stranger would have to hit, widest miss) of two subflows' views of one space."""
    if one.points == 0 or other.points == 0:
        return UNKNOWN, 0.0, 0.0
    is_64 = one.is_64 == 1 and other.is_64 == 1
    count_one = copy_points(one, work_at[0], work_value[0])
    count_other = copy_points(other, work_at[1], work_value[1])
    slack = SLACK * rate * float(lag_us) * 1e-6
    lowest, highest, miss = -(2.0**63), 2.0**63, 0.0
    for turn in range(2):
        mine, theirs = turn, 1 - turn
        count_mine = count_one if turn == 0 else count_other
        count_theirs = count_other if turn == 0 else count_one
        for k in range(count_theirs):
            low, high = place(
                work_at[mine], work_value[mine], count_mine, work_at[theirs, k], work_value[theirs, k],
                lag_us, rate, burst, is_64,
            )  # fmt: skip
            if is_veto(low, high, lag_us, rate, burst, is_64):
                return VETO, 0.0, max(low, -high)
            miss = max(miss, low, -high)
            if turn == 1:
                low, high = -high, -low
            lowest, highest = max(lowest, low - slack), min(highest, high + slack)
    state = HOLDS if lowest <= 0.0 <= highest else OUTSIDE
    return state, max(0.0, highest - lowest), miss


@compiled
def keys_differ(one: Any, other: Any, flip: Any) -> bool:
    """Return whether both keys of one host are known, and differ."""
    if (one.flags | other.flags) & np.uint32(_MIRRORED) != 0:
        return False
    for side in range(2):
        mate = side ^ flip
        has_both = one.flags & np.uint32(_KEY_A << side) != 0 and other.flags & np.uint32(_KEY_A << mate) != 0
        if has_both and one.key[side] != other.key[mate]:
            return True
    return False


@compiled
def align(one: Any, other: Any, flip: Any, faced: Any, lag_us: Any, work_at: Any, work_value: Any,
          out: Any) -> Any:  # fmt: skip
    """Return the state of two subflows; ``out`` takes chance, misses in one's spaces (NaN: unknown), spaces known.

    ``out[4:6]`` and ``out[6:8]`` hold rates and bursts by the connection's sides; ``faced`` turns one's to them.
    """
    out[0], out[1], out[2], out[3] = 1.0, np.nan, np.nan, 0.0
    if keys_differ(one, other, flip):
        return VETO
    worst = UNKNOWN
    for side in range(2):
        a, b = one.space[side], other.space[side ^ flip]
        rate, burst = out[4 + (side ^ faced)], out[6 + (side ^ faced)]
        state, width, miss = align_spaces(a, b, lag_us, rate, burst, work_at, work_value)
        if state == UNKNOWN:
            continue
        worst = max(worst, state)
        size = 2.0**64 if a.is_64 == 1 and b.is_64 == 1 else 2.0**32
        out[0] *= min(1.0, (width + 1.0) / size)
        out[1 + side] = miss
        out[3] += 1.0
    return worst


@compiled
def fastest(rows: Any, following: Any, parity: Any, first: int, side: int, rate: Any, burst: Any, work_at: Any,
            work_value: Any) -> Any:  # fmt: skip
    """Return the highest rate and burst that a connection's members show in one space, not below those given."""
    row = first
    for _ in range(MEMBERS_MAX):
        space = rows[row].space[side ^ int(parity[row])]
        found, most = pace(work_at, work_value, copy_points(space, work_at, work_value))
        rate, burst = max(rate, found), max(burst, most)
        row = following[row]
        if row == first:
            break
    return rate, burst


@compiled
def align_connections(rows: Any, following: Any, parity: Any, i: int, j: int, flip: int, lag_us: int, out: Any,
                      work_at: Any, work_value: Any, trial: Any) -> int:  # fmt: skip
    """Test all pairs of members of two connections (of 8 each at most); the worst state of a pair decides.

    ``out`` is as of ``align`` for the pair that says most; ``out[4], out[5]`` are its rows, -1 where none holds.

    Args:
        flip: whether side 0 of ``i``'s connection is side 1 of ``j``'s.
    """
    for side in range(2):
        rate, burst = fastest(rows, following, parity, i, side, -1.0, 0.0, work_at[0], work_value[0])
        rate, burst = fastest(rows, following, parity, j, side ^ flip, rate, burst, work_at[0], work_value[0])
        trial[4 + side] = rate if rate >= 0 else UNPACED_BPS
        trial[6 + side] = burst if rate >= 0 else UNPACED_BYTES
    best = UNKNOWN
    out[0], out[1], out[2], out[3] = 1.0, np.nan, np.nan, 0.0
    out[4], out[5] = -1.0, -1.0
    p = i
    for _ in range(MEMBERS_MAX):
        q = j
        for _ in range(MEMBERS_MAX):
            turn = int(parity[p]) ^ int(parity[q]) ^ flip
            state = align(rows[p], rows[q], turn, int(parity[p]), lag_us, work_at, work_value, trial)
            if state == VETO:
                return VETO
            if state == HOLDS and (out[4] < 0 or trial[0] < out[0]):
                for k in range(4):
                    out[k] = trial[k]
                out[4], out[5] = p, q
            best = max(best, state)
            q = following[q]
            if q == j:
                break
        p = following[p]
        if p == i:
            break
    return best


@compiled
def align_patiently(rows: Any, following: Any, parity: Any, i: int, j: int, flip: int, lag_us: int, out: Any,
                    work_at: Any, work_value: Any, trial: Any) -> int:  # fmt: skip
    """Test two connections with a third of the lag, which says more, then with all of it; as ``align_connections``.

    Two tries double the chance of a stranger.
    """
    state = align_connections(
        rows, following, parity, i, j, flip, lag_us // 3, out, work_at, work_value, trial
    )
    if state != HOLDS:
        state = align_connections(
            rows, following, parity, i, j, flip, lag_us, out, work_at, work_value, trial
        )
    out[0] = min(1.0, 2.0 * out[0])
    return state


@compiled
def align_pairs(rows: Any, following: Any, parity: Any, pairs: Any, lag_us: int, state: Any, out: Any, work_at: Any,
                work_value: Any, trial: Any) -> None:  # fmt: skip
    """Test many pairs of connections, int64[pairs, 3] of row, row, flip; ``out`` is float64[pairs, 6]."""
    for k in range(len(pairs)):
        state[k] = align_patiently(
            rows, following, parity, pairs[k, 0], pairs[k, 1], pairs[k, 2], lag_us, out[k],
            work_at, work_value, trial,
        )  # fmt: skip


@compiled
def take_without_veto(rows: Any, following: Any, parity: Any, ends: Any, lag_us: int, grown: Any, is_taken: Any,
                      out: Any, work_at: Any, work_value: Any, trial: Any) -> None:  # fmt: skip
    """Take pairs of connections in order, int32[pairs, 3] of row, row, flip, but those that a veto keeps apart.

    Each connection is taken once: ``grown`` marks its row.
    """
    for k in range(len(ends)):
        i, j = ends[k, 0], ends[k, 1]
        if grown[i] != 0 or grown[j] != 0:
            continue
        state = align_connections(
            rows, following, parity, i, j, ends[k, 2], lag_us, out, work_at, work_value, trial
        )
        if state != VETO:
            grown[i] = 1
            grown[j] = 1
            is_taken[k] = 1


@compiled
def align_rows(rows: Any, following: Any, parity: Any, i: int, j: int, lag_us: int, out: Any, work_at: Any,
               work_value: Any) -> Any:  # fmt: skip
    """Test two subflows of one connection, at its rates; ``out`` is as of ``align``."""
    for side in range(2):
        rate, burst = fastest(rows, following, parity, i, side, -1.0, 0.0, work_at[0], work_value[0])
        out[4 + side] = rate if rate >= 0 else UNPACED_BPS
        out[6 + side] = burst if rate >= 0 else UNPACED_BYTES
    flip = int(parity[i]) ^ int(parity[j])
    return align(rows[i], rows[j], flip, int(parity[i]), lag_us, work_at, work_value, out)


@compiled
def shows_both(row: Any) -> bool:
    """Return whether a subflow showed numbers of both spaces."""
    return bool(row.space[0].points > 0 and row.space[1].points > 0)


@compiled
def find_stronger(rows: Any, following: Any, parity: Any, edges: Any, count: int, kinds: Any, lag_us: int,
                  found: Any, out: Any, work_at: Any, work_value: Any, trial: Any) -> int:  # fmt: skip
    """Write edges of two kinds whose rows meet in both spaces by now; returns how many.

    ``out`` takes chance and misses, as of ``align``.
    """
    written = 0
    for k in range(count):
        edge = edges[k]
        if edge.is_dead != 0 or edge.is_inherited != 0 or (edge.kind != kinds[0] and edge.kind != kinds[1]):
            continue
        i, j = edge.i, edge.j
        if not shows_both(rows[i]) or not shows_both(rows[j]):
            continue
        if align_rows(rows, following, parity, i, j, lag_us, trial, work_at, work_value) == HOLDS:
            found[written] = k
            out[written, 0], out[written, 1], out[written, 2] = trial[0], trial[1], trial[2]
            written += 1
    return written


@compiled
def is_near(mine: Any, theirs: Any, both_64: bool) -> bool:
    """Return whether a space's highest number is so near all that a sibling showed that none can be a veto.

    A bracket starts at one of the points shown and reaches away from it: whoever is within the least miss that
    counts as a veto of the first and last point is within it of all between.
    """
    oldest = theirs.hi
    if theirs.ring_count > 0:
        oldest = theirs.ring_hi[(np.int64(theirs.ring_next) + _RING - np.int64(theirs.ring_count)) % _RING]
    bound = VETO_BYTES_64 if both_64 else VETO_BYTES_32
    if theirs.hi - oldest > np.uint64(bound):
        return False
    return bool(
        abs(difference(mine.hi, theirs.hi, both_64)) <= bound
        and abs(difference(mine.hi, oldest, both_64)) <= bound
    )


@compiled
def find_vetoes(rows: Any, used: int, following: Any, parity: Any, is_soft: Any, since_us: int, lag_us: int,
                found: Any, work_at: Any, work_value: Any) -> int:  # fmt: skip
    """Write pairs of rows of one connection whose numbers moved apart since ``since_us``; returns how many.

    Only the newest point of each is tried: older ones were when they were new. Connections without soft links
    (``is_soft`` by row) are left alone.
    """
    count = 0
    for p in range(used):
        if rows[p].id < 0 or is_soft[p] == 0 or rows[p].touched_us <= since_us or following[p] == p:
            continue
        q = following[p]
        for _ in range(MEMBERS_MAX):
            if q == p:
                break
            flip = int(parity[p]) ^ int(parity[q])
            is_apart = keys_differ(rows[p], rows[q], flip)
            for side in range(2):
                mine, theirs = rows[p].space[side], rows[q].space[side ^ flip]
                if mine.points == 0 or theirs.points == 0 or is_apart:
                    continue
                both_64 = mine.is_64 == 1 and theirs.is_64 == 1
                if is_near(mine, theirs, both_64):
                    continue
                size = copy_points(mine, work_at[0], work_value[0])
                rate_mine, burst_mine = pace(work_at[0], work_value[0], size)
                size = copy_points(theirs, work_at[0], work_value[0])
                rate, burst = pace(work_at[0], work_value[0], size)
                rate, burst = max(rate_mine, rate), max(burst_mine, burst)
                if rate < 0:
                    rate, burst = UNPACED_BPS, UNPACED_BYTES
                low, high = place(
                    work_at[0], work_value[0], size, mine.hi_us, mine.hi, lag_us, rate, burst, both_64
                )
                is_apart = is_veto(low, high, lag_us, rate, burst, both_64)
            if is_apart and count < len(found):
                found[count, 0], found[count, 1] = p, q
                count += 1
            q = following[q]
    return count
