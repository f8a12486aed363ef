"""The best series-parallel graph over one server, exactly, for every subset of a chain.

A part of a plan is a subset S of the chain. In a series every pair keeps the order of the chain, so S is cut between
two neighbours of its own order: |S| - 1 ways. In a block no pair across branches may be one with *no*; the branches are
built up one by one, each time the one that holds the lowest index that is left:

    last(S)   = min over X in S with lowest(S) in X, no refusal between X and S - X:  branch(X)^p + last(S - X)
    block(S)  = (overhead + last(S)^(1/p)) * inflation, for at least two branches
    series(S) = min over cuts:  best(front) + best(rest)
    best(S)   = min(network function, series(S), block(S))

A branch is no block itself, since the norm is associative and one block is cheaper than two. Subsets are numbered by
their bits, so every proper part of S has a smaller number, and numpy takes all X of one S at once.

Only subsets that cuts and branches can leave of the whole are looked at: refusals make them few.

Source: ours. Complexity: O(3^n) in arrays, n = 12 without any refusal 0.2 s; some hundredths for chains of real types.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.chains.engine.blocks import parallel, series
from apps.chains.engine.hybrid import Nf, Node
from apps.chains.engine.planning_cost import PlanningCost

Costs = NDArray[np.float64]
Masks = NDArray[np.int64]
_NOTHING: Final[Masks] = np.zeros(0, dtype=np.int64)


def cuts(mask: int) -> Iterator[int]:
    """Yield the front of a subset for every cut between two neighbours.

    >>> [bin(front) for front in cuts(0b1011)]
    ['0b1', '0b11']
    """
    left = mask
    while left & (left - 1):
        left &= left - 1
        yield mask ^ left


class Joins:
    """Blocks of one kind: with copies where pairs need them, or none that needs any.

    Args:
        count: network functions; refused: pairs that may not be across branches; factor: what a block's time counts.

    Attributes: ``powers`` is the least sum of powers over partitions into branches, one branch included; ``block`` the
    cost of the best block; ``first`` the candidates for the branch with the lowest index, the whole subset excepted.
    All are indexed by subset.
    """

    def __init__(self, count: int, refused: Iterable[tuple[int, int]], factor: float) -> None:
        self.factor = factor
        around = [0] * count
        for i, j in refused:
            around[i] |= 1 << j
            around[j] |= 1 << i
        self.refusals: Masks = np.zeros(1 << count, dtype=np.int64)
        for index, others in enumerate(around):
            self.refusals[1 << index : 2 << index] = self.refusals[: 1 << index] | others
        self.powers, self.block = np.full(1 << count, np.inf), np.full(1 << count, np.inf)
        self.powers[0] = 0.0
        self.around: list[int] = self.refusals.tolist()
        self.first: list[Masks] = [_NOTHING] * (1 << count)

    def is_connected(self, mask: int) -> bool:
        """Whether refusals hold a subset together, so that it cannot be a block."""
        reached = mask & -mask
        while True:
            more = reached | (self.around[reached] & mask)
            if more == reached:
                return reached == mask
            reached = more


class SubsetGraphs:
    """Costs of the best graphs of all subsets on one server, microseconds; ``inf`` where there is none.

    Args:
        costs: the figures to count with.

    Attributes: ``best`` and ``branch`` (best that is no block), indexed by subset; ``joins`` the
    kinds of blocks, at present one; ``parts`` and ``fronts`` the subsets of a subset and its cuts;
    ``needed`` the subsets that can be a part of a plan of the whole, ascending: costs of others stay infinite.
    Times inside powers are divided by ``scale_us``, so that they neither vanish nor overflow.
    """

    def __init__(self, costs: PlanningCost) -> None:
        self.costs = costs
        self.count = len(costs.nf_us)
        self.scale_us = max(costs.nf_us)
        self.joins = [Joins(self.count, costs.refused, costs.inflation)]
        size = 1 << self.count
        full = np.zeros(size, dtype=bool)
        for index, needs in enumerate(costs.needs_payload):
            full[1 << index : 2 << index] = full[: 1 << index] | needs
        self.overhead: Costs = np.where(full, costs.full_us, costs.header_us)
        self.best, self.branch, self.alone = (np.full(size, np.inf) for _ in range(3))
        self.best[0] = 0.0
        self.parts: list[Masks] = [np.zeros(1, dtype=np.int64)]
        for mask in range(1, size):
            top = 1 << mask.bit_length() - 1
            rest = self.parts[mask ^ top]
            self.parts.append(np.concatenate([rest, rest | top]))
        self.fronts: list[Masks] = [_NOTHING] * size
        self.needed = self._needed()
        for mask in self.needed:
            self._fill(mask)

    def _needed(self) -> list[int]:
        """Return what cuts and branches can leave of the whole; fills ``fronts`` and the candidates by the way."""
        size = 1 << self.count
        is_needed = np.zeros(size, dtype=bool)
        is_needed[size - 1] = True
        for mask in range(size - 1, 0, -1):
            if not is_needed[mask]:
                continue
            for joins in self.joins:
                joins.first[mask] = self._first(joins, mask)
            fronts = self.fronts[mask] = np.fromiter(cuts(mask), dtype=np.int64)
            for parts in (fronts, self.joins[-1].first[mask]):
                is_needed[parts] = True
                is_needed[mask ^ parts] = True
        found: list[int] = np.flatnonzero(is_needed).tolist()
        return found

    def _first(self, joins: Joins, mask: int) -> Masks:
        if joins.is_connected(mask):
            return _NOTHING
        low = mask & -mask
        chosen = self.parts[mask ^ low][:-1] | low
        allowed: Masks = chosen[joins.refusals[chosen] & (mask ^ chosen) == 0]
        return allowed

    def _fill(self, mask: int) -> None:
        if mask & (mask - 1) == 0:
            self.branch[mask] = self.costs.nf_us[mask.bit_length() - 1]
        else:
            fronts = self.fronts[mask]
            self.branch[mask] = (self.best[fronts] + self.best[mask ^ fronts]).min()
        self.alone[mask] = self.power(float(self.branch[mask] + self.overhead[mask]))
        self.best[mask] = self.branch[mask]
        for joins in self.joins:
            joins.powers[mask] = self.alone[mask]
            first = joins.first[mask]
            if not len(first):
                continue
            least = float((self.alone[first] + joins.powers[mask ^ first]).min())
            joins.block[mask] = self.block_us(joins, least)
            joins.powers[mask] = min(least, float(self.alone[mask]))
            self.best[mask] = min(self.best[mask], joins.block[mask])

    def power(self, time_us: float) -> float:
        """Return what a branch adds to the sum of powers."""
        return math.pow(time_us / self.scale_us, self.costs.exponent)

    def block_us(self, joins: Joins, powers: float) -> float:
        """Return the cost of a block from its sum of powers."""
        norm = self.scale_us * math.pow(powers, 1 / self.costs.exponent)
        return (self.costs.block_us + norm) * joins.factor


def best_node(graphs: SubsetGraphs, mask: int, server: str, is_branch: bool = False) -> Node:
    """Return a graph on one server that costs ``graphs.best`` (or ``graphs.branch``) of a subset.

    Complexity: O(n 2^n).
    """
    if mask & (mask - 1) == 0:
        return Nf(mask.bit_length() - 1, server)
    if not is_branch and graphs.best[mask] < graphs.branch[mask]:
        joins = min(graphs.joins, key=lambda joins: float(joins.block[mask]))
        return block_node(graphs, joins, mask, server, False)
    front = min(cuts(mask), key=lambda part: float(graphs.best[part] + graphs.best[mask ^ part]))
    return series([best_node(graphs, front, server), best_node(graphs, mask ^ front, server)])


def block_node(graphs: SubsetGraphs, joins: Joins, mask: int, server: str, is_one_allowed: bool) -> Node:
    """Return the cheapest block of a subset; with ``is_one_allowed`` also a single branch."""
    branches = best_branches(graphs, joins, mask, is_one_allowed)
    return parallel([best_node(graphs, branch, server, True) for branch in branches], server)


def best_branches(graphs: SubsetGraphs, joins: Joins, mask: int, is_one_allowed: bool) -> list[int]:
    """Return the branches of the least sum of powers of a subset; one or more, or two or more."""
    first = joins.first[mask]
    sums = graphs.alone[first] + joins.powers[mask ^ first]
    at = int(np.argmin(sums)) if len(first) else -1
    if at < 0 or (is_one_allowed and graphs.alone[mask] <= sums[at]):
        return [mask]
    chosen = int(first[at])
    return [chosen, *best_branches(graphs, joins, mask ^ chosen, True)]
