"""Placement of many chains: a thousand over a hundred servers, small ones against exact, targets kept in emulation.

By itself: ``python -m tests.benchmarks.chains_placement [CHAINS [SERVERS [LOAD]]]``.
"""

import resource
import sys
import time
from dataclasses import replace
from statistics import fmean

import numpy as np

from apps.chains.engine.placement import Placement, PlacementTask
from apps.chains.engine.placement_answer import before_of
from apps.chains.engine.placement_network import network_latencies, owners_of, proportional_owners
from apps.chains.engine.placement_planner import Effort, decompose, place_exactly
from nfvportal.bench.rows import BenchOptions, Row
from tests.chains.engine.placement_cases import operator_task, random_task, shared_task
from tests.chains.engine.placement_twin import assert_valid_placement

CHAINS, SERVERS = 1000, 100
QUICK_CHAINS, QUICK_SERVERS = 200, 20
SMALL, QUICK_SMALL = 300, 20
MOST_S = 300.0
# What is measured of latencies: long enough for some 10^5 packets per chain.
SPAN_US, QUICK_SPAN_US = 40e6, 4e6
DECOMPOSED = Effort(exact_s=0.0)


def placement_rows(options: BenchOptions) -> list[Row]:
    """Return the placement's rows of suite ``chains``."""
    chains, servers = (QUICK_CHAINS, QUICK_SERVERS) if options.quick else (CHAINS, SERVERS)
    rows = []
    for load in (0.8, 1.2):
        task = operator_task(options.seed, chains, servers, load)
        rows += large_rows(task, load)
    return [
        *rows,
        *replan_rows(operator_task(options.seed, chains, servers, 0.8)),
        *small_rows(QUICK_SMALL if options.quick else SMALL, options.seed),
        *network_rows(QUICK_SPAN_US if options.quick else SPAN_US, options.seed),
    ]


def timed(task: PlacementTask, effort: Effort = DECOMPOSED) -> tuple[Placement, float, float]:
    """Return the placement, seconds, and seconds of processor time."""
    started_s, cpu_s = time.perf_counter(), time.process_time()
    found = decompose(task, effort=effort)
    return found, time.perf_counter() - started_s, time.process_time() - cpu_s


def large_rows(task: PlacementTask, load: float) -> list[Row]:
    """Return how long a large placement takes, and how far it is from the bounds; checked against every limit."""
    found, took_s, cpu_s = timed(task)
    assert_valid_placement(task, found)
    name = f"placement: {len(task.demands)} chains, {len(task.servers)} servers, load {load:g}"
    weight = sum(demand.weight for demand in task.demands)
    detail = {
        "processor_s": round(cpu_s, 1),
        "memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "network_functions": sum(len(demand.nfs) for demand in task.demands),
        "instances": len(found.instances),
    }
    terms, bounds, gaps = found.terms, found.bounds, found.gaps
    return [
        Row(f"{name}, time", took_s, "s", goal=MOST_S, detail=detail),
        Row(f"{name}, admitted", len(found.chains) / len(task.demands), "ratio", better="higher"),
        Row(
            f"{name}, gap of weight admitted",
            100 * gaps.missed,
            "%",
            detail={"refused": terms.missed, "bound": round(bounds.missed, 3), "all": weight},
        ),
        Row(
            f"{name}, gap of servers crossed",
            100 * gaps.crossed,
            "%",
            detail={"found": round(terms.crossed, 2), "bound": round(bounds.crossed, 2)},
        ),
        Row(
            f"{name}, gap of mean latency",
            100 * gaps.mean_us,
            "%",
            detail={"found_us": round(terms.mean_us, 1), "bound_us": round(bounds.mean_us, 1)},
        ),
    ]


def replan_rows(task: PlacementTask) -> list[Row]:
    """Return how many buckets move when every tenth chain asks for a tenth more."""
    first, _, _ = timed(task)
    changed = tuple(
        replace(demand, rate_pps=demand.rate_pps * (1.1 if number % 10 == 0 else 1.0))
        for number, demand in enumerate(task.demands)
    )
    after = replace(task, demands=changed)
    started_s = time.perf_counter()
    second = decompose(after, before=before_of(first), effort=DECOMPOSED)
    took_s = time.perf_counter() - started_s
    assert_valid_placement(after, second)
    known = second.moved_buckets + second.kept_buckets
    return [
        Row(
            "placement: buckets moved when a tenth of the chains grows by a tenth",
            100 * second.moved_buckets / max(known, 1),
            "%",
            detail={"moved": second.moved_buckets, "of": known, "seconds": round(took_s, 1),
                    "refused_before": first.terms.missed, "refused_after": second.terms.missed},
        )
    ]  # fmt: skip


def small_rows(count: int, seed: int) -> list[Row]:
    """Return how the decomposition compares with the exact solver on small instances."""
    worse, broken, optimal, ratios = 0, 0, 0, []
    for number in range(count):
        task = random_task(seed * 1_000_000 + number, demands=4, nfs=3, servers=3, buckets=4)
        found = decompose(task, effort=DECOMPOSED)
        exact = place_exactly(task, effort=Effort(exact_s=5.0))
        assert exact is not None
        if not exact.is_optimal:
            continue
        optimal += 1
        best, ours = exact.terms, found.terms
        worse += (ours.missed, ours.crossed) > (best.missed + 1e-6, best.crossed + 1e-6)
        is_over = found.bounds.missed > best.missed + 1e-6
        is_over |= ours.missed <= best.missed + 1e-6 and found.bounds.crossed > best.crossed + 1e-6
        broken += is_over
        if abs(ours.missed - best.missed) < 1e-6 and best.mean_us:
            ratios.append(ours.mean_us / best.mean_us)
    return [
        Row("placement: bounds above the exact optimum", float(broken), "count", goal=0.0, n=optimal),
        Row("placement: decomposition equal to exact in refusals and servers", 1 - worse / max(optimal, 1), "ratio",
            better="higher", n=optimal, detail={"instances": count}),
        Row("placement: mean latency, decomposition over exact", fmean(ratios), "ratio", n=len(ratios),
            spread=(min(ratios), max(ratios))),
    ]  # fmt: skip


def network_rows(span_us: float, seed: int) -> list[Row]:
    """Return how many chains of an emulated network keep their targets: as placed, and split in proportion."""
    task = shared_task()
    placement = decompose(task, effort=DECOMPOSED)
    assert not placement.refused
    ratios = []
    for owners in (owners_of(placement), proportional_owners(placement, task.buckets)):
        times = network_latencies(task, placement, owners, span_us, np.random.default_rng(seed))
        ratios.append([
            float(np.quantile(rows, 0.99)) / (chain.demand.slo_p99_us or np.inf)
            for chain, rows in zip(placement.chains, times, strict=True)
        ])  # fmt: skip
    ours, theirs = ratios[0], ratios[1]
    names = [chain.demand.name for chain in placement.chains]
    predicted = [chain.p99_us / (chain.demand.slo_p99_us or np.inf) for chain in placement.chains]
    return [
        Row(
            "placement: emulated network, chains that miss their p99 target",
            float(sum(ratio > 1 for ratio in ours)),
            "count",
            goal=0.0,
            n=len(ours),
            detail={
                "proportional_split_misses": sum(ratio > 1 for ratio in theirs),
                "p99_over_target": dict(zip(names, (round(ratio, 3) for ratio in ours), strict=True)),
                "predicted": dict(zip(names, (round(ratio, 3) for ratio in predicted), strict=True)),
                "proportional_split": dict(zip(names, (round(ratio, 3) for ratio in theirs), strict=True)),
            },
        )
    ]


if __name__ == "__main__":
    given = [float(word) for word in sys.argv[1:]]
    asked = [*given, *[float(CHAINS), float(SERVERS), 0.8][len(given) :]]
    for row in large_rows(operator_task(1, int(asked[0]), int(asked[1]), asked[2]), asked[2]):
        print(f"{row.figure}: {row.value:.3f} {row.unit} {row.detail or ''}")
