"""The best hybrid chain over several servers, exactly, as long as there are enough of them.

A *region* is what one server runs between the arrival of a packet and its leaving for good: a subset H of the chain
that must fit the server, around which a larger subset S may be done, the rest S - H on *trips* to other servers.

    home(S, H)  time to do S from a machine and back to it that itself runs exactly H
      = part(S, H), or over cuts of S:  home(front, H & front) + part(rest, H & rest)
    part(S, H)  the same without a cut: one network function, one block, or (H empty) one trip, hop + trip(S) + hop
      blocks: branches on the machine hold H, branches away S - H; sums of powers of both are known and are added
    trip(S)     from the arrival at the first server to the departure from the last one
      = over H that fits:  home(S, H), or over cuts:  trip(front) + hop + trip(rest)

The plan is home(all, nothing) at the classifier. Branches that are away are trips, or one block on one server.

Giving every region a server of its own costs no time against putting several on one, since they are not next to each
other; how many servers that takes is decided afterwards (``packing``). If they cannot be packed, some region of the
best plan must go: each in turn is forbidden and the rest solved again, best bound first. That is exact until the budget
ends; then the bound tells the gap.

Source: ours. Complexity: O(n 3^n) in arrays for each solution.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.chains.engine.blocks import parallel, series
from apps.chains.engine.compile import CLASSIFIER
from apps.chains.engine.hybrid import Nf, Node
from apps.chains.engine.series_parallel import Joins, Masks, SubsetGraphs, best_node, block_node

Flags = NDArray[np.bool_]
Costs = NDArray[np.float64]
_NONE: Final = np.zeros(1, dtype=np.int64)


@dataclass(slots=True)
class RegionPlan:
    """A plan whose servers are still numbered slots.

    Args:
        root: the graph; servers are named ``#0``, ``#1`` and so on.
        regions: per slot, what it runs.
        apart: pairs of slots that must be different servers.
    """

    root: Node
    regions: list[int]
    apart: set[tuple[int, int]]


class RegionCosts:
    """Costs of the best plans of all subsets over enough servers, for regions that are allowed.

    Args:
        graphs: costs on one server.
        fits: per subset, whether some server can run it as a region.

    Attributes: ``trip``, ``away`` (best trip that is a branch), indexed by subset; ``cost_us`` of the whole chain.
    """

    def __init__(self, graphs: SubsetGraphs, fits: Flags) -> None:
        self.graphs, self.fits = graphs, fits
        self.hop_us = graphs.costs.hop_us
        size = 1 << graphs.count
        self.trip, self.away, self.alone = (np.full(size, np.inf) for _ in range(3))
        self.trip[0] = 0.0
        self.powers = [np.full(size, np.inf) for _ in graphs.joins]
        for powers in self.powers:
            powers[0] = 0.0
        self.row = _rows(graphs.count)
        self.home, self.part = (np.full(3**graphs.count, np.inf) for _ in range(2))
        self.home[0] = 0.0
        self.allowed: dict[int, Masks] = {}
        for mask in graphs.needed:
            self.allowed[mask] = self._allowed(mask)
            self._fill(mask)
        self.cost_us = float(self.home[self.row[size - 1]])

    def _allowed(self, mask: int) -> Masks:
        """Return nothing, and the regions inside a subset."""
        parts = self.graphs.parts[mask][1:]
        return np.concatenate([_NONE, parts[self.fits[parts]]])

    def at(self, mask: int, region: int) -> int:
        """Return where the tables hold a subset done around a region."""
        return int(self.row[mask] + self.row[region])

    def _fill(self, mask: int) -> None:
        regions = self.allowed[mask]
        codes = self.row[mask] + self.row[regions]
        fronts = self.graphs.fronts[mask]
        lines = np.full(len(regions), np.inf)
        if len(fronts):
            lines = self._lines(mask, fronts[:, None], regions[None, :]).min(axis=0)
        parts = self._parts(mask, regions)
        single = self.graphs.branch[mask] if mask & (mask - 1) == 0 and self.fits[mask] else np.inf
        chained = (
            (self.trip[fronts] + self.hop_us + self.trip[mask ^ fronts]).min() if len(fronts) else np.inf
        )
        around = np.minimum(lines, parts)
        self.trip[mask] = min(chained, single, around[1:].min(initial=np.inf))
        whole = self.graphs.best[mask] if self.fits[mask] else np.inf
        self.away[mask] = min(chained, single, whole, lines[1:].min(initial=np.inf))
        parts[0] = min(parts[0], 2 * self.hop_us + self.trip[mask])
        around[0] = min(lines[0], parts[0])
        self.part[codes], self.home[codes] = parts, around
        if single < np.inf:
            self.part[codes[-1]] = self.home[codes[-1]] = single
        time = 2 * self.hop_us + float(self.away[mask]) + float(self.graphs.overhead[mask])
        self.alone[mask] = self.graphs.power(time)
        for powers in self.powers:
            powers[mask] = min(powers[mask], self.alone[mask])

    def _lines(self, mask: int, fronts: Masks, regions: Masks) -> Costs:
        rests = mask ^ fronts
        before = self.home[self.row[fronts] + self.row[regions & fronts]]
        costs: Costs = before + self.part[self.row[rests] + self.row[regions & rests]]
        return costs

    def _parts(self, mask: int, regions: Masks) -> Costs:
        """Return the best block per region; fills ``powers`` of the subset by the way."""
        best = np.full(len(regions), np.inf)
        for joins, powers in zip(self.graphs.joins, self.powers, strict=True):
            first = joins.first[mask]
            if not len(first):
                continue
            powers[mask] = (self.alone[first] + powers[mask ^ first]).min()
            sums = self._sums(joins, powers, mask, regions)
            norm = self.graphs.scale_us * sums ** (1 / self.graphs.costs.exponent)
            np.minimum(best, (self.graphs.costs.block_us + norm) * joins.factor, out=best)
            if regions[-1] == mask:
                best[-1] = min(best[-1], joins.block[mask])
        return best

    def _sums(self, joins: Joins, powers: Costs, mask: int, regions: Masks) -> Costs:
        """Return the least sum of powers of blocks with these branches at home, the others away."""
        others = mask ^ regions
        sums = np.where(joins.refusals[regions] & others == 0, joins.powers[regions] + powers[others], np.inf)
        # With everything at home a single branch would count as a block.
        sums[regions == mask] = np.inf
        return sums


def _rows(count: int) -> Masks:
    """Return the bits of every subset as digits to base 3: two subsets, one in the other, add up to one number."""
    rows = np.zeros(1 << count, dtype=np.int64)
    for index in range(count):
        rows[1 << index : 2 << index] = rows[: 1 << index] + 3**index
    return rows


class RegionBuilder:
    """Makes the graph that ``RegionCosts`` has the cost of."""

    def __init__(self, costs: RegionCosts) -> None:
        self.costs, self.graphs = costs, costs.graphs
        self.regions: list[int] = []
        self.apart: set[tuple[int, int]] = set()

    def build(self) -> RegionPlan:
        """Return the plan of the whole chain. Complexity: O(n 2^n)."""
        root = self._home((1 << self.graphs.count) - 1, 0, CLASSIFIER)
        return RegionPlan(root, self.regions, self.apart)

    def _open(self, region: int) -> str:
        self.regions.append(region)
        return f"#{len(self.regions) - 1}"

    def _home(self, mask: int, region: int, slot: str) -> Node:
        costs = self.costs
        if costs.part[costs.at(mask, region)] <= costs.home[costs.at(mask, region)]:
            return self._part(mask, region, slot)
        return self._line(mask, region, slot)

    def _line(self, mask: int, region: int, slot: str) -> Node:
        fronts = self.graphs.fronts[mask]
        sums = self.costs._lines(mask, fronts, np.full(1, region))
        front = int(fronts[np.argmin(sums)])
        rest = mask ^ front
        return series([self._home(front, region & front, slot), self._part(rest, region & rest, slot)])

    def _part(self, mask: int, region: int, slot: str) -> Node:
        costs, graphs = self.costs, self.graphs
        if mask == region:
            return best_node(graphs, mask, slot) if mask & (mask - 1) else Nf(mask.bit_length() - 1, slot)
        if not region and costs.part[costs.row[mask]] >= 2 * costs.hop_us + costs.trip[mask]:
            return self._trip(mask)
        candidates = []
        for joins, powers in zip(graphs.joins, costs.powers, strict=True):
            value = float(costs._sums(joins, self._several(joins, powers, mask), mask, np.full(1, region))[0])
            if value < np.inf:
                candidates.append((graphs.block_us(joins, value), joins, powers))
        _, joins, powers = min(candidates, key=lambda candidate: candidate[0])
        return self._block(joins, powers, mask, region, slot)

    def _several(self, joins: Joins, powers: Costs, mask: int) -> Costs:
        """Return ``powers`` with at least two branches for the subset itself."""
        first = joins.first[mask]
        several = powers.copy()
        several[mask] = (self.costs.alone[first] + powers[mask ^ first]).min(initial=np.inf)
        return several

    def _block(self, joins: Joins, powers: Costs, mask: int, region: int, slot: str) -> Node:
        branches: list[Node] = []
        if region:
            branches.append(block_node(self.graphs, joins, region, slot, True))
        before = len(self.regions)
        left, is_one_allowed = mask ^ region, bool(region)
        while left:
            first = joins.first[left]
            sums = self.costs.alone[first] + powers[left ^ first]
            at = int(np.argmin(sums)) if len(first) else -1
            is_last = at < 0 or (is_one_allowed and bool(self.costs.alone[left] <= sums[at]))
            chosen = left if is_last else int(first[at])
            branches.append(self._away(chosen))
            left, is_one_allowed = left ^ chosen, True
        self._keep_apart(slot, range(before, len(self.regions)))
        return parallel(branches, slot)

    def _keep_apart(self, slot: str, away: range) -> None:
        """Note that trips must leave their home."""
        if slot != CLASSIFIER:
            self.apart |= {(int(slot[1:]), other) for other in away}

    def _trip(self, mask: int) -> Node:
        return self._travel(
            mask, float(self.costs.trip[mask]), lambda region: self.costs.at(mask, region), False
        )

    def _away(self, mask: int) -> Node:
        if self.costs.fits[mask] and self.graphs.best[mask] <= self.costs.away[mask]:
            return best_node(self.graphs, mask, self._open(mask))
        return self._travel(
            mask, float(self.costs.away[mask]), lambda region: self.costs.at(mask, region), True
        )

    def _travel(self, mask: int, target: float, at: Callable[[int], int], is_branch: bool) -> Node:
        costs = self.costs
        for front in self.graphs.fronts[mask].tolist():
            if costs.trip[front] + costs.hop_us + costs.trip[mask ^ front] <= target:
                return series([self._trip(front), self._trip(mask ^ front)])
        regions = costs.allowed[mask][1:]
        if is_branch or not mask & (mask - 1):
            fronts = self.graphs.fronts[mask]
            if not len(fronts):
                return Nf(mask.bit_length() - 1, self._open(mask))
            region = int(
                regions[np.argmin(costs._lines(mask, fronts[:, None], regions[None, :]).min(axis=0))]
            )
            slot = self._open(region)
            return self._line(mask, region, slot)
        region = int(regions[np.argmin(costs.home[costs.row[mask] + costs.row[regions]])])
        return self._home(mask, region, self._open(region))
