"""Chains that are too long for the exact search: exact inside windows of neighbours, best cuts between them.

Windows follow each other in series, and so do servers: a run of windows per server. The bound is the longest path of
refusals, since network functions that may not run side by side add up in every plan.

Source: ours. Complexity: O(n 3^w) in arrays for windows of w.
"""

import math
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Final

from apps.chains.engine.blocks import series, with_copies
from apps.chains.engine.hybrid import Nf, Node, Series, leaves
from apps.chains.engine.planning_cost import PlanningCost, cost_us
from apps.chains.engine.region_search import Found
from apps.chains.engine.room import Room
from apps.chains.engine.series_parallel import SubsetGraphs, best_node

WINDOW: Final = 8


def longest_path_us(costs: PlanningCost) -> float:
    """Return what no plan can be below: hops from and to the classifier, and the longest path of refusals.

    Complexity: O(n^2).
    """
    ends: list[float] = []
    for j, time_us in enumerate(costs.nf_us):
        ends.append(time_us + max((ends[i] for i in range(j) if (i, j) in costs.refused), default=0.0))
    return max(ends) + 2 * costs.hop_us


class Windows:
    """Best plans for runs of neighbours on one server."""

    def __init__(self, costs: PlanningCost) -> None:
        self.length = len(costs.nf_us)
        self.graphs = [SubsetGraphs(_window(costs, start)) for start in range(self.length)]
        self.best = lru_cache(maxsize=None)(self._best)

    def _best(self, start: int, stop: int) -> tuple[float, int]:
        """Return the cost of a run, and where its first window ends."""
        if start == stop:
            return 0.0, stop
        ends = range(start + 1, min(stop, start + WINDOW) + 1)
        return min(
            (float(self.graphs[start].best[(1 << end - start) - 1]) + self.best(end, stop)[0], end)
            for end in ends
        )

    def node(self, start: int, stop: int, server: str) -> Node:
        """Return the graph of a run."""
        parts: list[Node] = []
        while start < stop:
            end = self.best(start, stop)[1]
            window = best_node(self.graphs[start], (1 << end - start) - 1, server)
            parts.append(_shifted(window, start))
            start = end
        return series(parts)


def _window(costs: PlanningCost, start: int) -> PlanningCost:
    stop = start + WINDOW

    def within(pairs: frozenset[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        return frozenset((i - start, j - start) for i, j in pairs if start <= i and j < stop)

    return replace(
        costs,
        nf_us=costs.nf_us[start:stop],
        needs_payload=costs.needs_payload[start:stop],
        refused=within(costs.refused),
        copied=within(costs.copied),
    )


def _shifted(node: Node, by: int) -> Node:
    if isinstance(node, Nf):
        return Nf(node.index + by, node.server)
    if isinstance(node, Series):
        return replace(node, parts=tuple(_shifted(part, by) for part in node.parts))
    return replace(node, branches=tuple(_shifted(branch, by) for branch in node.branches))


def search_windows(room: Room, costs: PlanningCost, sequential: Node) -> Found:
    """Return a good plan for a long chain, and a bound for better ones.

    Args:
        room: the servers; costs: the figures to count with.
        sequential: a plan without blocks: its runs on one server stay where they are.
    """
    windows = Windows(costs)
    runs = _runs(sequential)
    packed = _packed_runs(room, windows, costs.hop_us)
    roots = [with_copies(room.chain, series(windows.node(*run) for run in runs))]
    if packed is not None:
        roots.append(with_copies(room.chain, series(windows.node(*run) for run in packed)))
    usable = [root for root in roots if room.has_links(root)] or [sequential]
    root = min(usable, key=lambda root: cost_us(costs, root))
    bound_us, spent_us = longest_path_us(costs), cost_us(costs, root)
    return Found(root, spent_us, bound_us, spent_us <= bound_us * (1 + 1e-9))


def _runs(sequential: Node) -> list[tuple[int, int, str]]:
    runs: list[tuple[int, int, str]] = []
    for leaf in leaves(sequential):
        if runs and runs[-1][2] == leaf.server:
            runs[-1] = (runs[-1][0], leaf.index + 1, leaf.server)
        else:
            runs.append((leaf.index, leaf.index + 1, leaf.server))
    return runs


def _packed_runs(room: Room, windows: Windows, hop_us: float) -> list[tuple[int, int, str]] | None:
    """Return the cheapest cut into runs that each fit some server, if they can be packed."""
    most = max(room.free_cores.values(), default=0.0)
    ends: list[tuple[float, int]] = [(0.0, 0)]
    for stop in range(1, windows.length + 1):
        best = (math.inf, 0)
        for start in range(stop):
            item = room.item((1 << stop) - (1 << start))
            if item is not None and item.cores <= most + 1e-9:
                best = min(best, (ends[start][0] + windows.best(start, stop)[0] + hop_us, start))
        ends.append(best)
    bounds = [windows.length]
    while bounds[-1]:
        bounds.append(ends[bounds[-1]][1])
    bounds.reverse()
    spans = list(pairwise(bounds))
    if math.isinf(ends[-1][0]):
        return None
    packing = room.pack([(1 << stop) - (1 << start) for start, stop in spans], set())
    if packing.servers is None:
        return None
    return [(*span, server) for span, server in zip(spans, packing.servers, strict=True)]
