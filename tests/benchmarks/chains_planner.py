"""The planner at full length: equal to brute force, fast for long chains over many servers, never worse than the row.

By itself: ``python -m tests.benchmarks.chains_planner [INSTANCES [SEED [INSTANCES_ON_SEVERAL]]]``.
"""

import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from statistics import median

from apps.chains.engine.blocks import is_valid_root
from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, CostConstants, NfInstance, Server, ServiceTime
from apps.chains.engine.hybrid import Plan
from apps.chains.engine.planner import hybridize
from apps.chains.engine.room import cores_of
from nfvportal.bench.rows import BenchOptions, Row
from tests.chains.engine.planner_twin import checked_instance, random_chain, random_constants

INSTANCES = 10_000
QUICK_INSTANCES = 200
LONG_CHAINS = 60
QUICK_LONG_CHAINS = 8
CHUNK = 50
# Network functions and servers, the dearer the rarer: brute force goes over all assignments and all graphs of each.
SEVERAL_SIZES = ((6, 2),) * 8 + ((7, 2),) * 6 + ((8, 2),) * 4 + ((6, 3),) * 2
SEVERAL_INSTANCES, QUICK_SEVERAL_INSTANCES = 300, 4


def _brute(start: int) -> list[tuple[int, str]]:
    return [(seed, checked_instance(seed)) for seed in range(start, start + CHUNK)]


def _worse(start: int) -> list[tuple[int, str]]:
    """Return, per random chain, whether its plan is predicted worse than the chain as drawn."""
    found = []
    for seed in range(start, start + CHUNK):
        rng = random.Random(seed)
        chain = random_chain(rng, rng.randint(1, 8))
        plan = hybridize(chain, [Server("a", 99)], random_constants(rng))
        is_worse = (
            not isinstance(plan, Plan)
            or is_valid_root(chain, plan.root)
            or plan.prediction.mean_us > plan.sequential.mean_us
            or plan.prediction.p99_us > plan.sequential.p99_us
        )
        found.append((seed, "worse" if is_worse else "no worse"))
    return found


def brute_force(instances: int, seed: int) -> Counter[str]:
    """Return how the search compares with brute force; prints what differs."""
    return _count(_brute, instances, seed, ("exact", "none", "bounded", "beyond"))


def brute_force_on_several(instances: int, seed: int) -> Counter[str]:
    """Return the same for 6 to 8 network functions on several servers, where brute force takes seconds to minutes."""
    return _count(_brute_on_several, instances, seed, ("exact", "none", "bounded", "beyond"), chunk=1)


def _brute_on_several(seed: int) -> list[tuple[int, str]]:
    return [(seed, checked_instance(seed, SEVERAL_SIZES))]


def never_worse(instances: int, seed: int) -> Counter[str]:
    """Return how many plans are predicted worse than their sequential chain."""
    return _count(_worse, instances, seed, ("no worse",))


def _count(run: object, instances: int, seed: int, fine: tuple[str, ...], chunk: int = CHUNK) -> Counter[str]:
    assert callable(run)
    with ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        answers = [one for chunk in pool.map(run, range(seed, seed + instances, chunk)) for one in chunk]
    for number, kind in answers:
        if kind not in fine:
            print(f"  seed {number}: {kind}", file=sys.stderr)
    return Counter(kind for _, kind in answers)


def long_chain(seed: int, length: int = 12) -> tuple[Chain, list[Server]]:
    """Return network functions of the catalogue's types over 8 servers, equal or different, that all must share."""
    rng = random.Random(seed)
    slugs = [slug for slug, entry in CATALOGUE.items() if entry.implementation]
    nfs = []
    for index in range(length):
        entry = CATALOGUE[rng.choice(slugs)]
        service = ServiceTime(rng.uniform(20, 200), rng.choice((0.0, 0.5, 1.0, 2.0)))
        nfs.append(NfInstance(f"nf-{index}", entry.slug, entry.profile, service))
    chain = Chain("long", tuple(nfs), rate_pps=3000)
    if seed % 10 == 0:
        monitor = CATALOGUE["monitor"].profile
        chain = replace(chain, nfs=tuple(replace(nf, profile=monitor) for nf in nfs))
    need = sum(cores_of(chain, nf) for nf in nfs)
    if seed % 2:
        return chain, [Server(f"s{i}", max(0.7, need / rng.uniform(1, 6))) for i in range(8)]
    cores = max(0.7, need / rng.uniform(1, 6))
    return chain, [Server(f"s{i}", cores) for i in range(8)]


def long_chains(count: int, seed: int) -> tuple[list[float], int]:
    """Return seconds per plan of 12 network functions over 8 servers, and how many are proven best."""
    took_s, optimal = [], 0
    for number in range(seed, seed + count):
        chain, servers = long_chain(number)
        started_s = time.perf_counter()
        plan = hybridize(chain, servers, CostConstants())
        took_s.append(time.perf_counter() - started_s)
        optimal += isinstance(plan, Plan) and plan.is_optimal
    return took_s, optimal


def planner_rows(options: BenchOptions) -> list[Row]:
    """Return the planner's rows of suite ``chains``."""
    seed = options.seed * 1_000_000
    instances = QUICK_INSTANCES if options.quick else INSTANCES
    count = QUICK_LONG_CHAINS if options.quick else LONG_CHAINS
    took_s, optimal = long_chains(count, seed)
    kinds = brute_force(instances, seed)
    worse = never_worse(instances, seed)["worse"]
    several = QUICK_SEVERAL_INSTANCES if options.quick else SEVERAL_INSTANCES
    kinds_on_several = brute_force_on_several(several, seed)
    return [
        Row(
            "planner: instances unlike brute force",
            float(_different(kinds)),
            "count",
            goal=0.0,
            n=instances,
            detail={**kinds, "several servers": "up to 5 NFs", "quick": options.quick},
        ),
        Row(
            "planner: instances of 6 to 8 NFs on several servers unlike brute force",
            float(_different(kinds_on_several)),
            "count",
            goal=0.0,
            n=several,
            detail={**kinds_on_several, "sizes": sorted(set(SEVERAL_SIZES)), "quick": options.quick},
        ),
        Row("planner: up to 8 NFs, not proven best", float(kinds["bounded"]), "count", n=instances),
        Row("planner: cheaper than brute force's class", float(kinds["beyond"]), "count", n=instances),
        Row("planner: plans predicted worse than sequential", float(worse), "count", goal=0.0, n=instances),
        Row("planner: 12 NFs over 8 servers, slowest", max(took_s), "s", goal=1.0, n=count),
        Row("planner: 12 NFs over 8 servers, median", median(took_s), "s", n=count),
        Row("planner: 12 NFs over 8 servers, proven best", optimal / count, "ratio", n=count),
    ]


def _different(kinds: Counter[str]) -> int:
    return sum(kinds.values()) - sum(kinds[fine] for fine in ("exact", "none", "bounded", "beyond"))


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    number, first, several = (*words, *(1000, 0, 40)[len(words) :])
    seconds, proven = long_chains(LONG_CHAINS, first)
    print(
        f"12 NFs over 8 servers: slowest {max(seconds):.2f} s, median {median(seconds):.2f} s, {proven} proven"
    )
    print(dict(brute_force(number, first)))
    print("6 to 8 NFs on several servers:", dict(brute_force_on_several(several, first)))
    print(dict(never_worse(number, first)))
