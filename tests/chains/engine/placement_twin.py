"""The dumb twin of placement: every way of every bucket, every partition of buckets into instances."""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache

from apps.chains.engine.placement import Kind, Placement, PlacementTask
from apps.chains.engine.placement_tail import busy_limit, plumbing_us, wait_us

# One bucket of one network function on a server: how busy its instance may be, and its load.
Unit = tuple[float, float]
Choice = tuple[tuple[int, ...], ...]


def best_terms(task: PlacementTask) -> tuple[float, float, float]:
    """Return the least weight refused, servers crossed, and mean latency, one before the other."""
    limits = [busy_limit(demand, task.constants) for demand in task.demands]
    options = [_options(task, number, limits[number]) for number in range(len(task.demands))]
    best = (math.inf, math.inf, math.inf)
    for choice in itertools.product(*options):
        missed = sum(d.weight for d, ways in zip(task.demands, choice, strict=True) if not ways)
        crossed = sum(_visits(way) for ways in choice for way in ways) / task.buckets
        if (missed, crossed) > best[:2]:
            continue
        mean = _mean(task, limits, choice)
        if mean is not None:
            best = min(best, (missed, crossed, mean))
    return best


def _options(task: PlacementTask, number: int, limit: float) -> list[Choice]:
    """Return how a demand can be placed: not at all, or each bucket on one way (buckets are alike)."""
    demand = task.demands[number]
    if limit <= 0:
        return [()]
    names = [server.name for server in task.servers]
    places = [
        [
            n
            for n, name in enumerate(names)
            if all(demand.nfs[nf].pinned_server in ("", name) for nf in segment)
        ]
        for segment in demand.segments
    ]
    ways = list(itertools.product(*places))
    return [(), *itertools.combinations_with_replacement(ways, task.buckets)]


def _visits(way: Sequence[int]) -> int:
    return 1 + sum(a != b for a, b in itertools.pairwise(way))


def _mean(task: PlacementTask, limits: Sequence[float], choice: Sequence[Choice]) -> float | None:
    """Return the least mean latency of ways; ``None`` where they break a limit."""
    units: dict[tuple[str, int], list[Unit]] = defaultdict(list)
    kinds: dict[str, Kind] = {}
    bps = [0.0] * len(task.servers)
    rate = outside = 0.0
    for number, ways in enumerate(choice):
        demand = task.demands[number]
        rate += demand.rate_pps if ways else 0.0
        for way in ways:
            outside += demand.rate_pps / task.buckets * plumbing_us(demand, task.constants, _visits(way))
            for server in [way[0], *(b for a, b in itertools.pairwise(way) if a != b)]:
                bps[server] += demand.bps / task.buckets
            for segment, server in zip(demand.segments, way, strict=True):
                for nf in segment:
                    kind = demand.nfs[nf].kind
                    kinds[kind.key] = kind
                    load = demand.rate_pps * kind.service_us * 1e-6 / task.buckets
                    units[kind.key, server].append((limits[number], load))
    if any(used > server.link_bps * (1 + 1e-9) for used, server in zip(bps, task.servers, strict=True)):
        return None
    for key, kind in kinds.items():
        if kind.is_single and sum(1 for name, _ in units if name == key) > 1:
            return None
    inside = 0.0
    for server in range(len(task.servers)):
        found = _server(
            task.servers[server].cores, {kinds[k]: u for (k, s), u in units.items() if s == server}
        )
        if found is None:
            return None
        inside += found
    return (inside * 1e6 + outside) / rate if rate else 0.0


def _server(cores: float, units: dict[Kind, list[Unit]]) -> float | None:
    """Return the least packets in the instances of a server; ``None`` where its cores do not do."""
    options = []
    for kind, entries in units.items():
        table = _partitions(kind, tuple(sorted(entries)))
        options.append([(count * kind.cores, value) for count, value in table.items()])
    fitting = [
        sum(value for _, value in picked)
        for picked in itertools.product(*options)
        if sum(owned for owned, _ in picked) <= cores + 1e-9
    ]
    return min(fitting, default=None)


@lru_cache(maxsize=100_000)
def _partitions(kind: Kind, units: tuple[Unit, ...]) -> dict[int, float]:
    """Return, per count of instances, the least packets in them."""
    best: dict[int, float] = {}
    for groups in _grouped(units):
        loads = [math.fsum(load for _, load in group) for group in groups]
        within = (
            load <= min(limit for limit, _ in group) + 1e-9 for load, group in zip(loads, groups, strict=True)
        )
        if not all(within) or (kind.is_single and len(groups) > 1):
            continue
        value = sum(load / kind.service_us * wait_us(kind, load) for load in loads)
        best[len(groups)] = min(best.get(len(groups), math.inf), value)
    return best


def _grouped(units: tuple[Unit, ...]) -> Iterator[list[list[Unit]]]:
    if not units:
        yield []
        return
    for rest in _grouped(units[1:]):
        yield [[units[0]], *rest]
        for index in range(len(rest)):
            yield [*rest[:index], [units[0], *rest[index]], *rest[index + 1 :]]


def assert_valid_placement(task: PlacementTask, placement: Placement) -> None:
    """Fail unless a placement keeps every limit it is said to keep, counted anew from the owners of buckets."""
    names = {server.name: server for server in task.servers}
    assert {c.demand.name for c in placement.chains} | {r.demand.name for r in placement.refused} == {
        demand.name for demand in task.demands
    }
    busy = [0.0] * len(placement.instances)
    bps: dict[str, float] = defaultdict(float)
    for chain in placement.chains:
        demand = chain.demand
        visits = []
        for bucket in range(task.buckets):
            way = []
            for segment in demand.segments:
                there = {placement.instances[chain.owners[nf][bucket]].server for nf in segment}
                assert len(there) == 1, "a segment is on one server"
                way.append(there.pop())
            visits.append(_visits_of(way))
            for server in [way[0], *(b for a, b in itertools.pairwise(way) if a != b)]:
                bps[server] += demand.bps / task.buckets
        assert chain.crossed == sum(visits) / task.buckets
        for nf, owners in zip(demand.nfs, chain.owners, strict=True):
            for owner in owners:
                instance = placement.instances[owner]
                assert instance.kind == nf.kind
                assert nf.pinned_server in ("", instance.server)
                busy[owner] += demand.rate_pps * nf.kind.service_us * 1e-6 / task.buckets
            limit = busy_limit(demand, task.constants)
            assert all(placement.instances[owner].busy <= limit + 1e-6 for owner in owners)
            assert not nf.kind.is_single or len(set(owners)) == 1
        if demand.slo_p99_us is not None:
            assert chain.p99_us <= demand.slo_p99_us * (1 + 1e-3)
    owned: dict[str, float] = defaultdict(float)
    singles = [row.kind.key for row in placement.instances if row.kind.is_single]
    assert len(singles) == len(set(singles))
    for instance, load in zip(placement.instances, busy, strict=True):
        assert abs(load - instance.busy) < 1e-6
        owned[instance.server] += instance.kind.cores
    for name, entry in names.items():
        assert owned[name] <= entry.cores + 1e-6
        assert bps[name] <= entry.link_bps * (1 + 1e-6)


def _visits_of(way: Sequence[str]) -> int:
    return 1 + sum(a != b for a, b in itertools.pairwise(way))
