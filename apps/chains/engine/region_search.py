"""The best hybrid chain over the servers at hand: regions solved exactly, packed, and solved again where that fails.

Each entry of the queue is a set of forbidden regions and the cost of the best plan without them, which no plan below it
can beat. The first plan whose regions can be packed is therefore the best. Every other splits into one entry per region
of its own: any other plan does without at least one of them.

When the budget ends, plans for given assignments are solved instead: network functions packed as they are, and as the
best sequential plan has them. The least bound left in the queue then tells how far from the best they can be.
"""

import heapq
import math
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np

from apps.chains.engine.blocks import with_copies
from apps.chains.engine.hybrid import Node, leaves
from apps.chains.engine.planning_cost import PlanningCost
from apps.chains.engine.regions import Flags, RegionBuilder, RegionCosts
from apps.chains.engine.room import Room, renamed
from apps.chains.engine.series_parallel import SubsetGraphs, best_node

# Subsets looked at over all solutions: tenths of a second beyond 8 network functions, and at most seconds up to 8,
# where the answer shall be exact even if servers are very tight.
STEPS_MAX: Final = 5_000
SHORT_NFS_MAX: Final = 8
SHORT_STEPS_MAX: Final = 60_000


@dataclass(frozen=True, slots=True)
class Found:
    """A plan and what is known about better ones.

    Args:
        root: the plan; ``cost_us`` what the planner counts for it.
        bound_us: no plan costs less.
        is_exact: whether no plan is better.
    """

    root: Node
    cost_us: float
    bound_us: float
    is_exact: bool


def search(room: Room, costs: PlanningCost, sequential: Node) -> Found | None:
    """Return the best plan, or ``None`` where nothing can be packed.

    Args:
        room: the servers.
        costs: the figures to count with.
        sequential: a plan without blocks, whose assignment is tried when the budget ends.

    Complexity: O(n 3^n) in arrays for each solution, see ``STEPS_MAX``.
    """
    chain = room.chain
    graphs = SubsetGraphs(costs)
    fits = room.fits()
    full = (1 << graphs.count) - 1
    if fits[full]:
        packing = room.pack([full], set())
        if packing.servers is not None:
            cost = float(graphs.best[full]) + 2 * costs.hop_us
            root = with_copies(chain, best_node(graphs, full, packing.servers[0]))
            return Found(root, cost, cost, True)
    return _search_regions(room, graphs, fits, sequential)


def _search_regions(room: Room, graphs: SubsetGraphs, fits: Flags, sequential: Node) -> Found | None:
    order = count()
    first = RegionCosts(graphs, fits)
    queue = [(first.cost_us, next(order), frozenset[int](), first)]
    steps = SHORT_STEPS_MAX if graphs.count <= SHORT_NFS_MAX else STEPS_MAX
    is_exact, budget = True, steps // len(graphs.needed) - 1
    seen = {frozenset[int]()}
    while queue and math.isfinite(queue[0][0]):
        cost_us, _, forbidden, solved = queue[0]
        plan = RegionBuilder(solved).build()
        root = _packed(room, plan.root, plan.regions, plan.apart)
        if root is not None:
            return Found(root, cost_us, cost_us if is_exact else first.cost_us, is_exact)
        heapq.heappop(queue)
        packing = room.pack(plan.regions, set())
        is_exact = is_exact and packing.servers is None and packing.is_proof
        children = {forbidden | {region} for region in plan.regions} - seen
        if budget < len(children):
            return _fallback(room, graphs, sequential, cost_us if is_exact else first.cost_us)
        for child in sorted(children, key=sorted):
            budget -= 1
            seen.add(child)
            allowed = fits.copy()
            allowed[list(child)] = False
            below = RegionCosts(graphs, allowed)
            heapq.heappush(queue, (below.cost_us, next(order), child, below))
    return _fallback(room, graphs, sequential, first.cost_us)


def _packed(room: Room, root: Node, regions: list[int], apart: set[tuple[int, int]]) -> Node | None:
    def root_of(servers: tuple[str, ...]) -> Node:
        return with_copies(room.chain, renamed(root, servers))

    packing = room.pack(regions, apart, root_of)
    return None if packing.servers is None else root_of(packing.servers)


def _fallback(room: Room, graphs: SubsetGraphs, sequential: Node, bound_us: float) -> Found | None:
    """Return the best plan for the assignments at hand."""
    assignments = [{leaf.index: leaf.server for leaf in leaves(sequential)}]
    packing = room.pack([1 << index for index in range(graphs.count)], set())
    if packing.servers is not None:
        assignments.append(dict(enumerate(packing.servers)))
    found: list[Found] = []
    for assignment in assignments:
        solved = RegionCosts(graphs, _within(graphs, assignment))
        plan = RegionBuilder(solved).build()
        servers = [assignment[mask.bit_length() - 1] for mask in plan.regions]
        root = with_copies(room.chain, renamed(plan.root, servers))
        if math.isfinite(solved.cost_us) and room.has_links(root):
            found.append(Found(root, solved.cost_us, bound_us, False))
    return min(found, key=lambda plan: plan.cost_us, default=None)


def _within(graphs: SubsetGraphs, assignment: dict[int, str]) -> Flags:
    """Return, per subset, whether an assignment has all of it on one server."""
    masks: dict[str, int] = {}
    for index, server in assignment.items():
        masks[server] = masks.get(server, 0) | 1 << index
    subsets = np.arange(1 << graphs.count)
    within = np.zeros(1 << graphs.count, dtype=bool)
    for mask in masks.values():
        within |= subsets & ~mask == 0
    return within
