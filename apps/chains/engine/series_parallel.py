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

Source: ours. Complexity: O(3^n) in arrays: n = 12, 0.2 s.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.chains.engine.planning_cost import PlanningCost

Costs = NDArray[np.float64]
Masks = NDArray[np.int64]


def members(mask: int) -> list[int]:
    """Return the indexes in a subset, ascending.

    >>> members(0b1011)
    [0, 1, 3]
    """
    return [index for index in range(mask.bit_length()) if mask >> index & 1]


def cuts(mask: int) -> Iterator[int]:
    """Yield the front of a subset for every cut between two neighbours.

    >>> [bin(front) for front in cuts(0b1011)]
    ['0b1', '0b11']
    """
    front = 0
    for index in members(mask)[:-1]:
        front |= 1 << index
        yield front


class SubsetGraphs:
    """Costs of the best graphs of all subsets on one server, microseconds; ``inf`` where there is none.

    Args:
        costs: the figures to count with.
        refused: pairs (i, j) that may not run side by side.

    Attributes: ``best``, ``branch`` (best that is no block), ``block``; ``powers`` is the least sum of powers over
    partitions into branches, one branch included. All are indexed by subset; times inside powers are divided by
    ``scale_us``, so that they neither vanish nor overflow.
    """

    def __init__(self, costs: PlanningCost, refused: Sequence[tuple[int, int]]) -> None:
        self.costs = costs
        self.count = len(costs.nf_us)
        size = 1 << self.count
        self.scale_us = max(costs.nf_us)
        self.refusals = self._refusals(refused)
        self.overhead = np.array([costs.branch_us(members(mask)) for mask in range(size)])
        self.best, self.branch, self.block, self.powers = (np.full(size, np.inf) for _ in range(4))
        self.best[0] = self.powers[0] = 0.0
        self.parts: list[Masks] = [np.zeros(1, dtype=np.int64)]
        for mask in range(1, size):
            top = 1 << mask.bit_length() - 1
            rest = self.parts[mask ^ top]
            self.parts.append(np.concatenate([rest, rest | top]))
            self._fill(mask)

    def _refusals(self, refused: Sequence[tuple[int, int]]) -> Masks:
        """Return, per subset, all that may not run beside some member of it."""
        around = [0] * self.count
        for i, j in refused:
            around[i] |= 1 << j
            around[j] |= 1 << i
        table = np.zeros(1 << self.count, dtype=np.int64)
        for index, others in enumerate(around):
            table[1 << index : 2 << index] = table[: 1 << index] | others
        return table

    def first_branches(self, mask: int) -> Masks:
        """Return the candidates for the branch with the lowest index, the whole subset excepted."""
        low = mask & -mask
        chosen = self.parts[mask ^ low][:-1] | low
        allowed: Masks = chosen[self.refusals[chosen] & (mask ^ chosen) == 0]
        return allowed

    def is_connected(self, mask: int) -> bool:
        """Whether refusals hold a subset together, so that it cannot be a block."""
        reached = mask & -mask
        while True:
            more = reached | (int(self.refusals[reached]) & mask)
            if more == reached:
                return reached == mask
            reached = more

    def _fill(self, mask: int) -> None:
        costs = self.costs
        if mask & (mask - 1) == 0:
            self.branch[mask] = costs.nf_us[mask.bit_length() - 1]
        else:
            self.branch[mask] = min(self.best[front] + self.best[mask ^ front] for front in cuts(mask))
            if not self.is_connected(mask):
                first = self.first_branches(mask)
                least = (
                    self.power(self.branch[first] + self.overhead[first]) + self.powers[mask ^ first]
                ).min()
                self.block[mask] = self.block_us(float(least))
                self.powers[mask] = least
        alone = self.power(self.branch[mask] + self.overhead[mask])
        self.powers[mask] = min(float(self.powers[mask]), float(alone))
        self.best[mask] = min(self.branch[mask], self.block[mask])

    def power(self, time_us: Costs) -> Costs:
        """Return what branches add to the sum of powers."""
        return (time_us / self.scale_us) ** self.costs.exponent

    def block_us(self, powers: float) -> float:
        """Return the cost of a block from its sum of powers."""
        norm = self.scale_us * math.pow(powers, 1 / self.costs.exponent)
        return (self.costs.block_us + norm) * self.costs.inflation


@dataclass(frozen=True, slots=True)
class Shape:
    """A graph before servers have names: ``kind`` is ``nf``, ``series`` or ``block``; ``mask`` what it holds."""

    kind: str
    mask: int
    parts: tuple["Shape", ...] = ()


def best_shape(graphs: SubsetGraphs, mask: int, is_branch: bool = False) -> Shape:
    """Return a graph that costs ``graphs.best`` (or ``graphs.branch``) of a subset. Complexity: O(n 2^n)."""
    if mask & (mask - 1) == 0:
        return Shape("nf", mask)
    if not is_branch and graphs.block[mask] < graphs.branch[mask]:
        return Shape(
            "block", mask, tuple(best_shape(graphs, part, True) for part in best_branches(graphs, mask))
        )
    front = min(cuts(mask), key=lambda part: float(graphs.best[part] + graphs.best[mask ^ part]))
    return Shape("series", mask, (best_shape(graphs, front), best_shape(graphs, mask ^ front)))


def best_branches(graphs: SubsetGraphs, mask: int, is_one_allowed: bool = False) -> list[int]:
    """Return the branches of the cheapest block of a subset."""
    first = graphs.first_branches(mask)
    sums = graphs.power(graphs.branch[first] + graphs.overhead[first]) + graphs.powers[mask ^ first]
    at = int(np.argmin(sums)) if len(first) else -1
    alone = float(graphs.power(graphs.branch[mask] + graphs.overhead[mask]))
    if at < 0 or (is_one_allowed and alone <= sums[at]):
        return [mask]
    chosen = int(first[at])
    return [chosen, *best_branches(graphs, mask ^ chosen, True)]
