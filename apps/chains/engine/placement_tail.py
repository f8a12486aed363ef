"""How busy instances may be for a chain's 99th percentile to hold, and what a placement is predicted to do.

A packet's time in an instance that is busy a share b of the time is taken as exponential with mean
``max(1, scv) * service / (1 - b)``. Times in series are added, branches side by side are waited for; both as if
independent. If every instance is busy at most b, the whole is 1 / (1 - b) times what it is on idle instances, so with Q
the 99th percentile on idle instances and F what does not vary, a target L is met for

    b <= 1 - Q / (L - F)

where F counts a hop between servers at every segment. What is exact and what is not:

- For exponential service the time in an M/M/1 queue is exponential, and times in a row of them are independent
  (Reich 1957; overtake-free ways: Walrand and Varaiya 1980). An instance less busy than its limit is faster in
  distribution. So the target is met for chains in sequence.
- Branches see the same arrivals, so their times are associated and the last of them comes no later than that of
  independent ones: conservative.
- Service that varies less than exponential waits less; taking it as exponential is conservative. For service that
  varies more (scv > 1) the factor ``scv`` is a rule: the decay of the wait in heavy traffic is 2 / (1 + scv), slower.
  Tests compare both with simulation.
- Ways that cross an instance twice, or overtake on split ways, are treated as if they did not.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from apps.chains.engine import latency
from apps.chains.engine.chain import CostConstants
from apps.chains.engine.hybrid import Nf, Node, Parallel
from apps.chains.engine.latency import GRID, Latency
from apps.chains.engine.placement import BUSY_MAX, Demand, Kind

SHARE: Final = 0.99
_CELLS: Final = np.arange(GRID)


def idle_us(kind: Kind) -> float:
    """Return the mean that stands for a kind on an idle instance."""
    return kind.service_us * max(1.0, kind.scv)


def wait_us(kind: Kind, busy: float) -> float:
    """Return the mean time in an instance, wait and service, by Pollaczek and Khinchine; infinite from busy 1 on."""
    if busy >= 1:
        return math.inf
    return kind.service_us * (1 + busy * (1 + kind.scv) / (2 * (1 - busy)))


def total_of(structure: Node, means_us: Sequence[float]) -> Latency:
    """Return the time through a structure of independent exponential parts.

    Args:
        means_us: per network function, above 0.

    Complexity: O(n G log G), G = 2048 cells.
    """
    step_us = (sum(means_us) + 12 * math.hypot(*means_us)) / (GRID - 1)
    parts = [_exponential(mean, step_us) for mean in means_us]

    def walk(node: Node) -> Latency:
        if isinstance(node, Nf):
            return parts[node.index]
        if isinstance(node, Parallel):
            return latency.joined([walk(branch) for branch in node.branches], 1.0)
        return latency.in_series([walk(part) for part in node.parts])

    return walk(structure)


def _exponential(mean_us: float, step_us: float) -> Latency:
    """Return an exponential time: exact masses of cells around their middles, and the exact mean."""
    edges = np.exp(-(np.arange(GRID) + 0.5) * (step_us / mean_us))
    density = np.empty(GRID)
    density[0], density[1:] = 1 - edges[0], edges[:-1] - edges[1:]
    density[-1] += edges[-1]
    return Latency(mean_us - float(density @ _CELLS) * step_us, step_us, density)


def tail_us(structure: Node, means_us: Sequence[float]) -> float:
    """Return the 99th percentile of ``total_of``, rounded up by a cell of its grid.

    >>> round(tail_us(Nf(0, ""), [100.0]) / 100.0, 1)  # ln 100
    4.6
    """
    total = total_of(structure, means_us)
    return total.percentile_us(SHARE) + total.step_us


def fixed_us(structure: Node, constants: CostConstants, packet_bytes: float) -> float:
    """Return what mirrors, merges, copies and local hops take on the longest way; all copies counted as whole."""
    if isinstance(structure, Nf):
        return constants.local_hop_us
    if isinstance(structure, Parallel):
        count = len(structure.branches)
        around_us = constants.mirror_us + constants.merge_us
        around_us += count * (constants.mirror_branch_us + constants.merge_branch_us)
        around_us += count * constants.copy_us_per_kib * packet_bytes / 1024
        return around_us + max(fixed_us(branch, constants, packet_bytes) for branch in structure.branches)
    return sum(fixed_us(part, constants, packet_bytes) for part in structure.parts)


def plumbing_us(demand: Demand, constants: CostConstants, visits: float) -> float:
    """Return what does not vary: the demand's own part, and a hop into each server and out of the last."""
    return demand.fixed_us + constants.hop_us * (visits + 1)


def busy_limit(demand: Demand, constants: CostConstants) -> float:
    """Return how busy instances may be for the chain's target; 0 and less: not even idle ones will do."""
    if demand.slo_p99_us is None:
        return BUSY_MAX
    left_us = demand.slo_p99_us - plumbing_us(demand, constants, len(demand.segments))
    if left_us <= 0:
        return left_us / demand.slo_p99_us
    return min(BUSY_MAX, 1 - idle_tail_us(demand) / left_us)


def idle_tail_us(demand: Demand) -> float:
    """Return the 99th percentile of what varies on idle instances."""
    return tail_us(demand.structure, [idle_us(nf.kind) for nf in demand.nfs])


def predicted_p99_us(demand: Demand, constants: CostConstants, visits: int, busy: Sequence[float]) -> float:
    """Return the 99th percentile, at most.

    Args:
        visits: the most servers a packet visits.
        busy: per network function, the busiest of its instances; below 1.
    """
    means = [idle_us(nf.kind) / (1 - share) for nf, share in zip(demand.nfs, busy, strict=True)]
    return tail_us(demand.structure, means) + plumbing_us(demand, constants, visits)


def predicted_mean_us(
    demand: Demand, constants: CostConstants, visits: float, waits_us: Sequence[float]
) -> float:
    """Return the mean; for parts side by side at most.

    Args:
        visits: servers a packet visits, mean.
        waits_us: per network function, mean time in it.
    """
    if isinstance(demand.structure, Nf) or len(demand.segments) == len(demand.nfs):
        varying = sum(waits_us)
    else:
        varying = total_of(demand.structure, waits_us).mean_us
    return varying + plumbing_us(demand, constants, visits)
