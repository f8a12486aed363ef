"""The best hybrid chain over the servers at hand: regions solved exactly, packed, and solved again where that fails.

Each entry of the queue is a set of forbidden regions and the cost of the best plan without them, which no plan below it
can beat. The first plan whose regions can be packed is therefore the best. Every other splits into one entry per region
of its own: any other plan does without at least one of them.

When the budget ends, or regions could be packed but not as this graph needs them apart, plans for given assignments are
solved: all assignments if they are few, which is exact again, else network functions packed as they are and as the best
sequential plan has them. The least bound of the queue then tells how far from the best they can be.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Final

import numpy as np

from apps.chains.engine.blocks import with_copies
from apps.chains.engine.hybrid import Node, leaves
from apps.chains.engine.planning_cost import PlanningCost, cost_us
from apps.chains.engine.regions import Flags, RegionBuilder, RegionCosts
from apps.chains.engine.room import Room, cores_of, renamed
from apps.chains.engine.series_parallel import SubsetGraphs, best_node

# Subsets looked at over all solutions: tenths of a second beyond 8 network functions, and at most seconds up to 8,
# where the answer shall be exact even if servers are very tight.
STEPS_MAX: Final = 2_000
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
    budget = steps // len(graphs.needed) - 1
    seen = {frozenset[int]()}
    bound_us = first.cost_us
    while queue and math.isfinite(queue[0][0]):
        bound_us, _, forbidden, solved = heapq.heappop(queue)
        plan = RegionBuilder(solved).build()
        root = _packed(room, plan.root, plan.regions, plan.apart)
        if root is not None:
            return Found(root, bound_us, bound_us, True)
        packing = room.pack(plan.regions, set())
        children = {forbidden | {region} for region in plan.regions} - seen
        if packing.servers is not None or not packing.is_proof or budget < len(children):
            # The same regions might do in another graph, or there is no time: no entry per region covers that.
            break
        for child in sorted(children, key=sorted):
            budget -= 1
            seen.add(child)
            allowed = fits.copy()
            allowed[list(child)] = False
            below = RegionCosts(graphs, allowed)
            heapq.heappush(queue, (below.cost_us, next(order), child, below))
    return _over_assignments(room, graphs, sequential, bound_us, budget)


def _packed(room: Room, root: Node, regions: list[int], apart: set[tuple[int, int]]) -> Node | None:
    def root_of(servers: tuple[str, ...]) -> Node:
        return with_copies(room.chain, renamed(root, servers))

    packing = room.pack(regions, apart, root_of)
    return None if packing.servers is None else root_of(packing.servers)


def _over_assignments(
    room: Room, graphs: SubsetGraphs, sequential: Node, bound_us: float, budget: int
) -> Found | None:
    """Return the best plan over all assignments if the budget allows for all, else over the two at hand."""
    assignments = list(islice(_assignments(room), max(2, budget) + 1))
    is_all = len(assignments) <= max(2, budget)
    if not is_all:
        assignments = [
            tuple(server for _, server in sorted((leaf.index, leaf.server) for leaf in leaves(sequential)))
        ]
        packing = room.pack([1 << index for index in range(graphs.count)], set())
        if packing.servers is not None:
            assignments.append(packing.servers)
    best: tuple[float, Node] | None = None
    least = math.inf
    for assignment in assignments:
        solved = RegionCosts(graphs, _within(graphs, assignment))
        least = min(least, solved.cost_us)
        if not math.isfinite(solved.cost_us) or (best is not None and solved.cost_us >= best[0]):
            continue
        plan = RegionBuilder(solved).build()
        servers = [assignment[mask.bit_length() - 1] for mask in plan.regions]
        root = with_copies(room.chain, renamed(plan.root, servers))
        cost = cost_us(graphs.costs, root)
        if room.has_links(root) and (best is None or cost < best[0]):
            best = cost, root
    if best is None:
        return None
    bound_us = max(bound_us, least) if is_all else bound_us
    return Found(best[1], best[0], min(bound_us, best[0]), best[0] <= bound_us * (1 + 1e-9))


def _assignments(room: Room) -> Iterator[tuple[str, ...]]:
    """Yield every assignment that the cores allow; of servers that are alike the first unused one stands for all."""
    chain, names = room.chain, list(room.free_cores)
    kinds = {name: (room.free_cores[name], room.link_bps[name]) for name in names}
    pins = {nf.pinned_server for nf in chain.nfs}

    def extend(taken: tuple[str, ...], free: dict[str, float]) -> Iterator[tuple[str, ...]]:
        if len(taken) == len(chain.nfs):
            yield taken
            return
        nf = chain.nfs[len(taken)]
        tried = set()
        for name in names:
            is_new = name not in taken and name not in pins
            left = free[name] - cores_of(chain, nf)
            if left < -1e-9 or nf.pinned_server not in ("", name) or (is_new and kinds[name] in tried):
                continue
            if is_new:
                tried.add(kinds[name])
            yield from extend((*taken, name), {**free, name: left})

    yield from extend((), dict(room.free_cores))


def _within(graphs: SubsetGraphs, assignment: tuple[str, ...]) -> Flags:
    """Return, per subset, whether an assignment has all of it on one server."""
    masks: dict[str, int] = {}
    for index, server in enumerate(assignment):
        masks[server] = masks.get(server, 0) | 1 << index
    subsets = np.arange(1 << graphs.count)
    within = np.zeros(1 << graphs.count, dtype=bool)
    for mask in masks.values():
        within |= subsets & ~mask == 0
    return within
