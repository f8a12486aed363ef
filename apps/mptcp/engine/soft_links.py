"""Soft evidence T3 and T5 to T7: tried again and sought anew at each sweep.

First the veto: siblings whose numbers moved apart twice in a row lose the weakest soft edge between them. Then the
search: 64-bit intervals by sort and sweep, 32-bit numbers by their movement in time, each candidate against all
members of the connection. A connection that grew may meet more, so the search repeats until it finds no more.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import alignment, sweep, sweep_32, sweep_still
from apps.mptcp.engine.crowd import Crowd
from apps.mptcp.engine.domain import Domain
from apps.mptcp.engine.evidence import CODE, FIRST_SOFT, mark_soft
from apps.mptcp.engine.values import EvidenceKind

ROUNDS_MAX: Final = 32
STRIKES_CUT: Final = 2
VETOES_MAX: Final = 4096
FALSE_EXPECTED: Final = 1e-4
START_BYTES: Final = 8_000_000  # B of T3
STILL_SHARE: Final = 0.1  # one space alone must be ten times as sure as both
STILL_MAX: Final = 16_384  # pairs tried in a round: bounds the work where many stand at one number
STRONG_32: Final = 1e-6  # below, both spaces at 32 bit are as good as at 64: it may block

ONE_SPACED: Final = np.array([CODE[EvidenceKind.ONE_SPACE_64], CODE[EvidenceKind.EQUAL_32]], np.uint8)
# Verdict of the sweep -> code of its evidence; nobody asks for that of a refusal.
CODE_OF: Final = np.zeros(4, np.uint8)
CODE_OF[sweep.ONE_SPACE] = CODE[EvidenceKind.ONE_SPACE_64]
CODE_OF[sweep.BOTH_SPACES] = CODE[EvidenceKind.BOTH_SPACES]
CODE_OF[sweep.FROM_KEY] = CODE[EvidenceKind.IDSN]


def sweep_all(domain: Domain, since_us: int) -> None:
    """Try soft links again, and seek new ones. Complexity: O(n log n) over subflows, where 32-bit numbers are few."""
    cut_vetoed(domain, since_us)
    for _ in range(ROUNDS_MAX):
        units = _gather(domain)
        links = seek_64(domain, units)
        joined = len(links.ends)
        if joined:
            del units  # a first sweep over a million subflows finds nearly as many links: room for them
            take_64(domain, links)
            units = _gather(domain)
        del links
        joined += seek_32(domain, units)
        # Weaker evidence is asked for only when stronger has nothing more to say.
        if not joined and not seek_still(domain, units):
            break
    strengthen(domain, len(units.head))


def _gather(domain: Domain) -> sweep.Units:
    table, groups = domain.table, domain.groups
    return sweep.gather(table.rows, table.used, groups.following, groups.parity)


def cut_vetoed(domain: Domain, since_us: int) -> None:
    """Cut the weakest soft edge between siblings that moved apart."""
    groups, table = domain.groups, domain.table
    is_soft = np.zeros(table.used, np.uint8)
    if not mark_soft(domain.edges.all, domain.edges.count, FIRST_SOFT, groups.following, is_soft):
        return
    found = np.empty((VETOES_MAX, 2), np.int32)
    count = alignment.find_vetoes(
        table.rows,
        table.used,
        groups.following,
        groups.parity,
        is_soft,
        since_us,
        _lag_us(domain),
        found,
        *alignment.work_space()[:2],
    )
    struck = set()
    for p, q in found[:count].tolist():
        if groups.label[p] != groups.label[q]:
            continue  # already cut
        weakest = domain.weakest_between(p, q)
        if weakest is None or weakest in struck:
            continue
        struck.add(weakest)
    strikes = domain.edges.kept["strikes"]
    before = {index: int(strikes[index]) for index in struck}
    strikes[:] = 0
    for index, number in before.items():
        strikes[index] = number + 1
        if number + 1 >= STRIKES_CUT:
            domain.cut(index)


def _lag_us(domain: Domain) -> int:
    return int(domain.config.lag_s * 1e6)


def near_bytes(domain: Domain, count: int) -> int:
    """Return the tolerance in one 64-bit space alone: as wide as few enough false pairs are expected."""
    allowed = 2.0**64 * FALSE_EXPECTED / (2.0 * max(1, count) ** 2)
    return int(max(domain.config.near_bytes, min(domain.config.far_bytes, allowed)))


class Links(NamedTuple):
    """Pairs of connections to be joined, the surest first, each connection once.

    Args:
        ends: int32[links, 3]: row, row, whether side a of one is side b of the other.
        code: of their evidence; chance: of one stranger; gap: bytes between them in the first row's spaces.
        rivals: how many others each could have met.
    """

    ends: NDArray[np.int32]
    code: NDArray[np.uint8]
    chance: NDArray[np.float64]
    gap: NDArray[np.float64]
    rivals: int


def seek_64(domain: Domain, units: sweep.Units) -> Links:
    """Return links between connections whose 64-bit intervals meet."""
    groups, rivals = domain.groups, len(units.head)
    pairs = sweep.meeting_pairs(units, 2 * domain.config.far_bytes)
    if not len(pairs):
        return Links(np.empty((0, 3), np.int32), np.empty(0, np.uint8), np.empty(0), np.empty((0, 2)), rivals)
    near = near_bytes(domain, rivals)
    verdict, gap, chance = sweep.judge(pairs, units, near, domain.config.far_bytes, START_BYTES)
    chosen = np.flatnonzero(verdict != sweep.REFUSED)
    chosen = chosen[np.argsort(chance[chosen], kind="stable")].astype(np.int32)
    ends = np.empty((len(chosen), 3), np.int32)
    ends[:, 0], ends[:, 1] = units.head[pairs[chosen, 0]], units.head[pairs[chosen, 2]]
    ends[:, 2] = pairs[chosen, 1] ^ pairs[chosen, 3]
    del pairs
    if len(ends):
        taken = _without_veto(domain, ends)
        chosen, ends = chosen[taken], ends[taken]
        ends[:, 2] ^= groups.parity[ends[:, 0]] ^ groups.parity[ends[:, 1]]
    return Links(ends, CODE_OF[verdict[chosen]], chance[chosen], gap[chosen], rivals)


def _without_veto(domain: Domain, ends: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which links no veto keeps apart; whoever grew in this round is judged anew in the next."""
    groups = domain.groups
    grown, is_taken = np.zeros(domain.table.used, np.uint8), np.zeros(len(ends), np.uint8)
    alignment.take_without_veto(
        domain.table.rows, groups.following, groups.parity, ends, _lag_us(domain), grown, is_taken, np.empty(6),
        *domain.work,
    )  # fmt: skip
    taken: NDArray[np.bool_] = is_taken == 1
    return taken


def take_64(domain: Domain, links: Links) -> None:
    """Join connections, and keep why."""
    edges = domain.edges.add_many(len(links.ends))
    edges["i"], edges["j"], edges["flip"] = links.ends[:, 0], links.ends[:, 1], links.ends[:, 2]
    edges["kind"], edges["gap"], edges["rivals"] = links.code, links.gap, links.rivals
    edges["false_probability"] = np.minimum(1.0, links.chance * links.rivals)
    edges["at_s"] = domain.now_s
    domain.unite_all(links.ends, domain.now_s)


def seek_32(domain: Domain, units: sweep.Units) -> int:
    """Join connections whose numbers move together where some are of 32 bits; returns how many joined."""
    table, groups = domain.table, domain.groups
    found = sweep_32.candidates(table.rows, units, groups.following, groups.parity)
    if not len(found):
        return 0
    rows = np.stack((units.head[found[:, 0]], units.head[found[:, 1]], found[:, 2]), axis=1).astype(np.int64)
    state, out = np.empty(len(rows), np.int64), np.empty((len(rows), 6))
    alignment.align_pairs(
        table.rows, groups.following, groups.parity, rows, _lag_us(domain), state, out, *domain.work
    )
    chosen = np.flatnonzero((state == alignment.HOLDS) & (out[:, 3] == 2))
    chosen = chosen[np.argsort(out[chosen, 0], kind="stable")]
    if not len(chosen):
        return 0
    flips = rows[:, 2] ^ groups.parity[rows[:, 0]] ^ groups.parity[rows[:, 1]]
    crowd = Crowd(domain)
    joined = 0
    for k in chosen.tolist():
        i, j, flip = int(rows[k, 0]), int(rows[k, 1]), int(flips[k])
        if groups.label[i] == groups.label[j]:
            continue
        again, now = _align(domain, i, j, flip)
        rivals = crowd.rivals(groups.members(i), groups.members(j))
        if again != alignment.HOLDS or now[3] != 2 or now[0] * rivals > domain.config.false_partners:
            continue
        p, q = int(now[4]), int(now[5])
        turn = int(groups.parity[i] ^ groups.parity[p] ^ groups.parity[j] ^ groups.parity[q]) ^ flip
        is_strong = now[0] * rivals <= STRONG_32
        kind = EvidenceKind.BOTH_SPACES if is_strong else EvidenceKind.ALIGNED_32
        _join(domain, p, q, turn, kind, float(now[0]), rivals, now[1:3])
        joined += 1
    return joined


def seek_still(domain: Domain, units: sweep.Units) -> int:
    """Join connections of which a direction stands at the same 32-bit number; returns how many joined."""
    groups = domain.groups
    pairs, chance = sweep_still.candidates(domain.table.rows, units, groups.following, groups.parity)
    most = domain.config.false_partners * STILL_SHARE
    chosen = np.argsort(chance, kind="stable")[:STILL_MAX]
    chosen = chosen[chance[chosen] <= most]
    if not len(chosen):
        return 0
    pairs, chance = pairs[chosen], chance[chosen]
    crowd, joined = Crowd(domain), 0
    for k in np.flatnonzero(_align_units(domain, units, pairs) != alignment.VETO).tolist():
        ends = [_shown_most(domain, int(units.head[pairs[k, n]]), int(pairs[k, n + 1])) for n in (0, 2)]
        (i, side_i), (j, side_j) = ends
        if groups.label[i] == groups.label[j]:
            continue
        rivals = crowd.rivals(groups.members(i), groups.members(j))
        state, _ = _align(domain, i, j, side_i ^ side_j)
        if state != alignment.VETO and chance[k] * rivals <= most:
            gap = (0.0, np.nan) if side_i == 0 else (np.nan, 0.0)
            _join(domain, i, j, side_i ^ side_j, EvidenceKind.EQUAL_32, float(chance[k]), rivals, gap)
            joined += 1
    return joined


def _shown_most(domain: Domain, head: int, side: int) -> tuple[int, int]:
    """Return the member of a connection that showed most numbers of the connection's ``side``, and its own side."""
    points, parity = domain.table.rows["space"]["points"], domain.groups.parity
    ends = [(row, side ^ int(parity[row])) for row in domain.groups.members(head)]
    return max(ends, key=lambda end: int(points[end]))


def _align_units(domain: Domain, units: sweep.Units, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the states of pairs of connections: unit, its space, unit, its space."""
    groups = domain.groups
    rows = np.stack((units.head[pairs[:, 0]], units.head[pairs[:, 2]], pairs[:, 1] ^ pairs[:, 3]), axis=1)
    state, out = np.empty(len(rows), np.int64), np.empty((len(rows), 6))
    alignment.align_pairs(
        domain.table.rows, groups.following, groups.parity, rows.astype(np.int64), _lag_us(domain), state, out,
        *domain.work,
    )  # fmt: skip
    return state


def strengthen(domain: Domain, rivals: int) -> None:
    """Let links that one direction gave rest on both, where their two subflows have shown both since.

    Args:
        rivals: connections in play.
    """
    edges, groups, table = domain.edges, domain.groups, domain.table
    found, out = np.empty(edges.count, np.int32), np.empty((edges.count, 3))
    count = alignment.find_stronger(
        table.rows, groups.following, groups.parity, edges.all, edges.count, ONE_SPACED,
        _lag_us(domain), found, out, *domain.work[:2], np.empty(8),
    )  # fmt: skip
    if not count:
        return
    chance = out[:count, 0] * rivals
    is_sure = chance <= STRONG_32
    index, kept = found[:count][is_sure], edges.kept
    kept["kind"][index], kept["rivals"][index] = CODE[EvidenceKind.BOTH_SPACES], rivals
    kept["gap"][index] = out[:count, 1:][is_sure]
    kept["false_probability"][index] = np.minimum(kept["false_probability"][index], chance[is_sure])


def _align(domain: Domain, i: int, j: int, flip: int) -> tuple[int, NDArray[np.float64]]:
    """Test the connections of two rows; ``flip`` says how the rows face each other."""
    groups, out = domain.groups, np.empty(6)
    faced = flip ^ int(groups.parity[i]) ^ int(groups.parity[j])
    state = alignment.align_patiently(
        domain.table.rows, groups.following, groups.parity, i, j, faced, _lag_us(domain), out, *domain.work
    )
    return int(state), out


def _join(domain: Domain, i: int, j: int, flip: int, kind: EvidenceKind, chance: float, rivals: float,
          gap: Any) -> None:  # fmt: skip
    domain.edges.add(
        i, j, flip, kind, chance * rivals, domain.now_s, gap=(float(gap[0]), float(gap[1])), rivals=rivals
    )
    domain.unite(i, j, flip, domain.now_s)
