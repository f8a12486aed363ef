"""What the planner minimises: a time that adds up in series and composes in blocks, so that parts can be best by parts.

A network function costs its mean time in queue and service. A series costs the sum, and a hop wherever the server
changes. A block costs mirror and merge, and its branches T_i together

    (T_1^p + ... + T_k^p)^(1/p)

which is the mean of the last of them if they are Frechet-distributed with shape p, close to it for what queues give,
and the maximum for p -> infinity, when times do not vary. The exponent is chosen per chain so that two equal branches
cost what their fork-join is predicted to take (exponential, light load: 1.5 times one branch, p = 1.71). The form is
associative and monotone in every branch: a branch that is better makes every plan around it better, which is why parts
of plans may be optimised on their own. That the last branch is late because *times vary* is what makes full parallelism
lose; a maximum of means would not see it.

A block counts 1 / (1 - margin_ratio) of its time, so it is chosen exactly if it beats the best other way to do the
same by the margin. Every branch is charged the time of a copy of its own, since an executor copies in any case. That
copies' bytes must pay as well is asked of whole plans (``planner``), not of blocks: a further factor for blocks with
copies would break the associativity, since splitting a block in two could escape it.

Where a block lives: it is mirrored and merged on one machine, its *home* (``Parallel.server``); each branch
runs wholly on the home or wholly away from it; if all are on one server, that is the home. Branches that are
away on one and the same server go there as one or each by itself, whichever counts less (the table sends them
as one; the norm takes the constant hops of several for varying ones).

Source: brief, "Beneficial". Deviation: the p-norm in place of the maximum, the home of a block; both ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain as chained
from itertools import product
from statistics import fmean
from typing import Final

from apps.chains.engine import latency
from apps.chains.engine.analysis import analyse
from apps.chains.engine.chain import Chain, CostConstants
from apps.chains.engine.compile import CLASSIFIER
from apps.chains.engine.hybrid import Nf, Node, Parallel, Series, VerdictKind, leaves

BUNDLED_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class PlanningCost:
    """The figures the planner counts with, microseconds.

    Args:
        nf_us: per network function, in queue and service and to it and back on one server.
        hop_us: from one machine to another.
        block_us: mirror and merge of a block; header_us, full_us: per branch, with its copy.
        exponent: p of the norm; inflation: 1 / (1 - margin_ratio).
        needs_payload: per network function, whether a branch with it needs a full copy.
        refused, copied: pairs (i, j), i < j, that may not run side by side, and that need a copy to.
    """

    nf_us: tuple[float, ...]
    hop_us: float
    block_us: float
    header_us: float
    full_us: float
    exponent: float
    inflation: float
    needs_payload: tuple[bool, ...]
    refused: frozenset[tuple[int, int]] = frozenset()
    copied: frozenset[tuple[int, int]] = frozenset()

    def without_copies(self) -> "PlanningCost":
        """Return the figures for plans whose blocks need no copies: such pairs are refused as well."""
        return replace(self, refused=self.refused | self.copied, copied=frozenset())

    def branch_us(self, indexes: list[int]) -> float:
        """Return what a branch of these network functions costs besides their time."""
        return self.full_us if any(self.needs_payload[index] for index in indexes) else self.header_us

    def joined_us(self, branches_us: list[float]) -> float:
        """Return the cost of a block from the costs of its branches, their own overhead included.

        >>> PlanningCost((), 0, 0, 0, 0, 2, 1, ()).joined_us([3, 4])
        5.0
        """
        most = max(branches_us)
        powers = math.fsum(math.pow(us / most, self.exponent) for us in branches_us)
        time = self.block_us + most * math.pow(powers, 1 / self.exponent)
        return time * self.inflation


def planning_cost(chain: Chain, constants: CostConstants) -> PlanningCost:
    """Return the figures for a chain whose network functions are all below utilization 1.

    Complexity: O(n^2).
    """
    times, spreads, rhos = [], [], []
    for nf in chain.nfs:
        wait = latency.mg1_wait(chain.rate_pps, nf.service.mean_us, nf.service.scv)
        mean = nf.service.mean_us + wait.mean_us
        variance = nf.service.scv * nf.service.mean_us**2 + wait.second_us2 - wait.mean_us**2
        times.append(mean)
        spreads.append(variance / mean**2)
        rhos.append(wait.utilization)
    shared = latency.shared_arrivals_factor(2, fmean(rhos), fmean(nf.service.scv for nf in chain.nfs))
    # Heavy tails: the last of two takes up to their sum, never more.
    added = min(0.95, math.sqrt(fmean(spreads)) / 2 * shared)
    per_branch = constants.mirror_branch_us + constants.merge_branch_us
    per_byte = constants.copy_us_per_kib / 1024
    return PlanningCost(
        nf_us=tuple(time + constants.local_hop_us for time in times),
        hop_us=constants.hop_us,
        block_us=constants.mirror_us + constants.merge_us,
        header_us=per_branch + per_byte * chain.header_bytes,
        full_us=per_branch + per_byte * chain.packet_bytes,
        exponent=min(32.0, math.log(2) / math.log1p(added)) if added > 0 else 32.0,
        inflation=1 / (1 - constants.margin_ratio),
        needs_payload=tuple(nf.profile.needs_payload for nf in chain.nfs),
        refused=_pairs(chain, VerdictKind.NO),
        copied=_pairs(chain, VerdictKind.COPY_HEADER, VerdictKind.COPY_FULL),
    )


def _pairs(chain: Chain, *kinds: VerdictKind) -> frozenset[tuple[int, int]]:
    return frozenset(
        (i, j)
        for i, row in enumerate(analyse(chain))
        for j, verdict in enumerate(row)
        if verdict is not None and verdict.kind in kinds
    )


def cost_us(costs: PlanningCost, root: Node) -> float:
    """Return what a plan counts, from the classifier and back to it. Complexity: O(n)."""
    spent, where = _cost(costs, root, CLASSIFIER)
    return spent + (costs.hop_us if where != CLASSIFIER else 0.0)


def _cost(costs: PlanningCost, node: Node, where: str) -> tuple[float, str]:
    if isinstance(node, Nf):
        return costs.nf_us[node.index] + (costs.hop_us if where != node.server else 0.0), node.server
    if isinstance(node, Series):
        total = 0.0
        for part in node.parts:
            spent, where = _cost(costs, part, where)
            total += spent
        return total, where
    before = costs.hop_us if where != node.server else 0.0
    return before + _block(costs, node.branches, node.server), node.server


def _block(costs: PlanningCost, branches: tuple[Node, ...], home: str) -> float:
    away: dict[str, list[Node]] = {}
    units: list[tuple[Node, ...]] = []
    for branch in branches:
        only = machines(branch)
        if home not in only and len(only) == 1:
            away.setdefault(only.pop(), []).append(branch)
        else:
            units.append((branch,))
    bundles = product(*(_bundles(members) for members in away.values()))
    return min(_units(costs, [*units, *chained.from_iterable(bundle)], home) for bundle in bundles)


def _units(costs: PlanningCost, units: Sequence[tuple[Node, ...]], home: str) -> float:
    """Return the cost of a block whose units count as one branch each."""
    times = []
    for unit in units:
        if len(unit) > 1:
            server = machines(unit[0]).pop()
            spent = 2 * costs.hop_us + _block(costs, unit, server)
        else:
            spent, where = _cost(costs, unit[0], home)
            spent += costs.hop_us if where != home else 0.0
        times.append(spent + costs.branch_us([leaf.index for part in unit for leaf in leaves(part)]))
    return costs.joined_us(times)


def _bundles(members: Sequence[Node]) -> list[list[tuple[Node, ...]]]:
    """Return the ways to send branches to one server: every partition of a few, of many all or none together."""
    if len(members) > BUNDLED_MAX:
        return [[tuple(members)], [(member,) for member in members]]
    ways: list[list[tuple[Node, ...]]] = [[]]
    for member in members:
        ways = [
            [*way[:at], (*way[at], member), *way[at + 1 :]] if at < len(way) else [*way, (member,)]
            for way in ways
            for at in range(len(way) + 1)
        ]
    return ways


def machines(node: Node) -> set[str]:
    """Return where network functions of a part run and blocks of it live."""
    if isinstance(node, Nf):
        return {node.server}
    found = {node.server} if isinstance(node, Parallel) else set()
    for child in node.parts if isinstance(node, Series) else node.branches:
        found |= machines(child)
    return found
