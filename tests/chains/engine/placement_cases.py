"""Placements to test and measure with: random small ones, and an operator's network of many chains."""

import random
from dataclasses import replace

from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, CostConstants, NfInstance, Server
from apps.chains.engine.placement import Demand, Kind, PlacedNf, PlacementTask
from apps.chains.engine.placement_demand import demand_of, row_of
from apps.chains.engine.reference_chains import REFERENCE_CHAINS

# No plumbing: what is drawn is queues alone.
FREE = CostConstants(0, 0, 0, 0, 0, 0, 0, 0)


def random_task(
    seed: int, *, demands: int = 3, nfs: int = 2, servers: int = 2, buckets: int = 2
) -> PlacementTask:
    """Return a small task with all that can be in one: pins, single kinds, targets, narrow links, weights."""
    rng = random.Random(seed)
    kinds = [
        Kind(
            f"k{n}",
            "t",
            rng.choice((50.0, 100.0, 200.0)),
            rng.choice((0.0, 0.5, 1.0)),
            rng.choice((1.0, 1.0, 0.5)),
        )
        for n in range(3)
    ]
    kinds.append(Kind("single", "t", 100.0, 1.0, 1.0, is_single=True))
    names = [f"s{n}" for n in range(rng.randint(1, servers))]
    machines = tuple(
        Server(name, rng.choice((1.0, 2.0, 3.0)), rng.choice((10e9, 10e9, 30e6))) for name in names
    )
    found = []
    for number in range(rng.randint(1, demands)):
        count = rng.randint(1, nfs)
        placed = tuple(
            PlacedNf(f"n{n}", rng.choice(kinds), rng.choice(("", "", "", rng.choice(names))))
            for n in range(count)
        )
        rate = rng.choice((1000.0, 3000.0, 5000.0, 8000.0))
        target = rng.choice((None, None, 1500.0, 4000.0, 400.0))
        found.append(
            Demand(f"c{number}", placed, row_of(count), rate, 700.0, target, rng.choice((1.0, 1.0, 2.0)))
        )
    return PlacementTask(tuple(found), machines, CostConstants(), buckets)


def operator_task(seed: int, chains: int, servers: int, load: float) -> PlacementTask:
    """Return chains of the reference types over equal servers.

    Args:
        load: cores that the chains' limits ask for, as a share of all cores.
    """
    rng = random.Random(seed)
    machines = tuple(Server(f"server-{n}", 32.0, 40e9) for n in range(servers))
    constants = CostConstants()
    drawn = [_chain(rng, number, [server.name for server in machines]) for number in range(chains)]
    demands = [demand_of(chain, constants, weight=weight, servers=machines) for chain, weight in drawn]
    asked = sum(
        nf.kind.cores * (1.0 if nf.kind.is_single else demand.rate_pps * nf.kind.service_us * 1e-6 / 0.8)
        for demand in demands
        for nf in demand.nfs
    )
    fixed = sum(nf.kind.cores for demand in demands for nf in demand.nfs if nf.kind.is_single)
    factor = (load * 32.0 * servers - fixed) / max(asked - fixed, 1e-9)
    scaled = [replace(demand, rate_pps=_scaled(demand, factor)) for demand in demands]
    return PlacementTask(tuple(scaled), machines, constants)


def _scaled(demand: Demand, factor: float) -> float:
    """Return a rate times a factor, but no more than single instances can take."""
    most = min((0.7e6 / nf.kind.service_us for nf in demand.nfs if nf.kind.is_single), default=1e12)
    return min(demand.rate_pps * factor, most)


def _chain(rng: random.Random, number: int, servers: list[str]) -> tuple[Chain, float]:
    slugs = list(REFERENCE_CHAINS[rng.choice(sorted(REFERENCE_CHAINS))])
    nfs = []
    for index, slug in enumerate(slugs):
        entry = CATALOGUE[slug]
        # Three variants of settings per type: what not every chain can share.
        params: dict[str, object] = {"variant": rng.randrange(3)}
        if slug == "nat":
            params = {"pool": number}
        pin = rng.choice(servers) if index == 0 and rng.random() < 0.1 else ""
        nfs.append(NfInstance(f"{slug}-{index}", slug, entry.profile, entry.service, params, pin))
    rate = rng.lognormvariate(0, 0.8) * 4000
    idle_us = sum(nf.service.mean_us for nf in nfs)
    target = rng.choice((None, 30.0, 15.0, 12.0))
    chain = Chain(
        f"chain-{number}", tuple(nfs), rate, 724.0, slo_p99_us=None if target is None else target * idle_us
    )
    return chain, rng.choice((1.0, 1.0, 1.0, 2.0, 5.0))


def shared_task() -> PlacementTask:
    """Return strict and lenient chains that share two kinds on three servers with hardly a core to spare."""
    kinds = (Kind("firewall", "firewall", 100.0, 0.5), Kind("ids", "ids", 200.0, 1.0))

    def demand(name: str, rate: float, target_us: float | None) -> Demand:
        nfs = (PlacedNf("firewall", kinds[0]), PlacedNf("ids", kinds[1]))
        return Demand(name, nfs, row_of(2), rate, slo_p99_us=target_us)

    strict = [demand(f"voice-{number}", 2000.0, 2800.0) for number in range(4)]
    lenient = [demand(f"bulk-{number}", 6500.0, 20_000.0) for number in range(4)]
    return PlacementTask((*strict, *lenient), tuple(Server(f"s{n}", 5.0) for n in range(3)))
