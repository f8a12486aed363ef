"""A placed network, emulated: chains that share instances, packet by packet, in emulated time.

Packets of every chain come as a Poisson stream; each falls into a bucket, and the bucket says which instances it takes.
An instance serves in order of arrival; branches side by side begin together and are waited for. Hops, mirrors and
merges are the constants of ``placement_tail.plumbing_us``.

Source: ours; next to ``emulator``, which runs one chain on instances of its own.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from apps.chains.engine.hybrid import Nf, Node, Parallel
from apps.chains.engine.placement import Kind, PlacedChain, Placement, PlacementTask
from apps.chains.engine.placement_tail import plumbing_us

# Per chain and network function, the instance of each bucket.
Owners = Sequence[Sequence[Sequence[int]]]
Times = NDArray[np.float64]


def owners_of(placement: Placement) -> list[tuple[tuple[int, ...], ...]]:
    """Return who takes which bucket, as placed."""
    return [chain.owners for chain in placement.chains]


def proportional_owners(placement: Placement, buckets: int) -> list[tuple[tuple[int, ...], ...]]:
    """Return what a load balancer does: buckets in equal shares over all instances of a kind, wherever they are.

    Instances of a kind are equally fast, so equal shares are those in proportion to what each can do.
    """
    of_kind: dict[str, list[int]] = {}
    for index, instance in enumerate(placement.instances):
        of_kind.setdefault(instance.kind.key, []).append(index)
    return [
        tuple(
            tuple(
                of_kind[nf.kind.key][bucket * len(of_kind[nf.kind.key]) // buckets]
                for bucket in range(buckets)
            )
            for nf in chain.demand.nfs
        )
        for chain in placement.chains
    ]


@dataclass(frozen=True, slots=True)
class _Shape:
    """Which network functions wait for which: who follows each, how many come before each, who is first and last."""

    after: tuple[tuple[int, ...], ...]
    waits_for: tuple[int, ...]
    first: tuple[int, ...]


def _shape_of(structure: Node, count: int) -> _Shape:
    after: list[set[int]] = [set() for _ in range(count)]

    def walk(node: Node) -> tuple[list[int], list[int]]:
        if isinstance(node, Nf):
            return [node.index], [node.index]
        if isinstance(node, Parallel):
            ends = [walk(branch) for branch in node.branches]
            return [nf for heads, _ in ends for nf in heads], [nf for _, tails in ends for nf in tails]
        heads, tails = walk(node.parts[0])
        for part in node.parts[1:]:
            begins, then = walk(part)
            for tail in tails:
                after[tail].update(begins)
            tails = then
        return heads, tails

    first, _ = walk(structure)
    waits_for = [sum(nf in others for others in after) for nf in range(count)]
    return _Shape(tuple(tuple(sorted(others)) for others in after), tuple(waits_for), tuple(first))


def network_latencies(
    task: PlacementTask, placement: Placement, owners: Owners, span_us: float, rng: np.random.Generator
) -> list[Times]:
    """Return, per admitted chain, the latencies of its packets in a span of time, microseconds.

    Args:
        owners: see ``owners_of``, ``proportional_owners``.
        span_us: in which packets arrive, above 0.

    Complexity: O(packets x network functions x log(packets in all)), some microseconds each.
    """
    shapes = [_shape_of(chain.demand.structure, len(chain.demand.nfs)) for chain in placement.chains]
    arrivals = [
        np.sort(rng.uniform(0, span_us, rng.poisson(chain.demand.rate_pps * span_us * 1e-6)))
        for chain in placement.chains
    ]
    buckets = [rng.integers(0, task.buckets, len(times)) for times in arrivals]
    services = [
        [_draw(nf.kind, len(times), rng) for nf in chain.demand.nfs]
        for chain, times in zip(placement.chains, arrivals, strict=True)
    ]
    left = [np.zeros(len(times)) for times in arrivals]
    free_us = [0.0] * len(placement.instances)
    # Per packet and network function: how many are still waited for, and when the last of the others was done.
    waiting: dict[tuple[int, int, int], tuple[int, float]] = {}
    events = [
        (float(at), chain, packet, nf)
        for chain, times in enumerate(arrivals)
        for packet, at in enumerate(times)
        for nf in shapes[chain].first
    ]
    heapq.heapify(events)
    while events:
        now_us, chain, packet, nf = heapq.heappop(events)
        instance = owners[chain][nf][buckets[chain][packet]]
        done_us = max(now_us, free_us[instance]) + services[chain][nf][packet]
        free_us[instance] = done_us
        left[chain][packet] = max(left[chain][packet], done_us)
        for other in shapes[chain].after[nf]:
            key = (chain, packet, other)
            missing, ready_us = waiting.pop(key, (shapes[chain].waits_for[other], 0.0))
            ready_us = max(ready_us, done_us)
            if missing > 1:
                waiting[key] = (missing - 1, ready_us)
            else:
                heapq.heappush(events, (ready_us, chain, packet, other))
    return [
        times - began + _constant_us(task, placement, entry, rows)
        for times, began, entry, rows in zip(left, arrivals, placement.chains, owners, strict=True)
    ]


def _draw(kind: Kind, count: int, rng: np.random.Generator) -> list[float]:
    """Return service times: constant for scv 0, else gamma with mean and scv."""
    if kind.scv <= 0:
        return [kind.service_us] * count
    drawn: list[float] = rng.gamma(1 / kind.scv, kind.service_us * kind.scv, count).tolist()
    return drawn


def _constant_us(
    task: PlacementTask, placement: Placement, chain: PlacedChain, rows: Sequence[Sequence[int]]
) -> float:
    """Return plumbing with the mean of the servers that buckets visit."""
    visits = 0
    for bucket in range(task.buckets):
        way = [placement.instances[rows[segment[0]][bucket]].server for segment in chain.demand.segments]
        visits += 1 + sum(a != b for a, b in pairwise(way))
    return plumbing_us(chain.demand, task.constants, visits / task.buckets)
