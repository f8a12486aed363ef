"""Suite ``chains``: what hybrid chains gain by theory, emulation and real processes, beside the product's goals."""

import random
from collections.abc import Sequence
from statistics import median

import numpy as np

from apps.chains.engine.baselines import full_parallel_root, greedy_segments_root
from apps.chains.engine.chain import Chain, CostConstants, Server
from apps.chains.engine.compile import compile_plan
from apps.chains.engine.emulator import departures, draw_arrivals, draw_services, latencies
from apps.chains.engine.hybrid import Node, Plan
from apps.chains.engine.planner import hybridize
from apps.chains.engine.reference_chains import REFERENCE_CHAINS, balanced_chain, reference_chain
from apps.chains.engine.traffic_split import Refused, proportional_split, tail_split
from nfvportal.bench.rows import BenchOptions, Row
from tests.benchmarks.chains_differential import differential_rows
from tests.benchmarks.chains_mirror import mirror_rows
from tests.benchmarks.chains_placement import placement_rows
from tests.benchmarks.chains_plane import plane_rows
from tests.benchmarks.chains_planner import planner_rows
from tests.benchmarks.chains_proof import proof_rows
from tests.benchmarks.chains_steps import step_rows
from tests.chains.engine.planner_twin import random_chain
from tests.chains.engine.test_analysis import golden_shares

SERVERS = (Server("a", 64.0),)
# No plumbing: what theory speaks of.
FREE = CostConstants(0, 0, 0, 0, 0, 0, 0, 0)
PACKETS, QUICK_PACKETS = 200_000, 20_000
RANDOM_CHAINS, QUICK_RANDOM_CHAINS = 10_000, 300
RANDOM_PACKETS = 3000
SPLIT_MU_PPS, SPLIT_DEMAND_PPS, SPLIT_LIMIT_S = (1000.0, 500.0), 900.0, 0.020


def run(options: BenchOptions) -> Sequence[Row]:
    """Return all rows of the suite."""
    rows = [
        *pair_rows(),
        *balanced_rows(options),
        *reference_rows(options),
        *random_rows(options),
        split_row(options),
    ]
    rows += [*planner_rows(options), *placement_rows(options), *differential_rows(options)]
    return [*rows, *step_rows(options), *mirror_rows(options), *plane_rows(options), *proof_rows(options)]


def pair_rows() -> list[Row]:
    """Return how many of NFP's pairs may run side by side; its dropping network functions first are a barrier here."""
    parallel, free = golden_shares()
    return [
        Row("analysis: NFP's pairs that can run in parallel", parallel, "%", goal=53.8, better="higher"),
        Row("analysis: NFP's pairs that need no copy", free, "%", goal=41.5, better="higher"),
    ]


def emulated_us(
    chain: Chain, roots: Sequence[Node], costs: CostConstants, packets: int, seed: int
) -> list[float]:
    """Return the mean emulated latency of each graph, all with the same arrivals and service times."""
    rng = np.random.default_rng(seed)
    arrivals, services = draw_arrivals(chain.rate_pps, packets, rng), draw_services(chain, packets, rng)
    return [
        float(latencies(compile_plan(chain, root), chain, costs, arrivals, services).mean()) for root in roots
    ]


def balanced_rows(options: BenchOptions) -> list[Row]:
    """Return the gain of equal network functions, each half busy."""
    rows = []
    packets = QUICK_PACKETS if options.quick else PACKETS
    for length, goal, theory in ((2, None, 28.1), (3, 40.0, 42.8), (4, 50.0, 52.2)):
        chain = balanced_chain(length)
        plan = planned(chain, FREE)
        gains = []
        for seed in range(options.seed, options.seed + 5):
            hybrid, sequential = emulated_us(chain, (plan.root, plan.sequential_root), FREE, packets, seed)
            gains.append(100 * (1 - hybrid / sequential))
        rows.append(
            Row(
                f"emulator: {length} balanced NFs at utilization .5, latency saved",
                median(gains),
                "%",
                goal=goal,
                better="higher",
                n=len(gains),
                spread=(min(gains), max(gains)),
                detail={"theory": theory, "packets": packets, "quick": options.quick},
            )
        )
    return rows


def reference_rows(options: BenchOptions) -> list[Row]:
    """Return the gain of real chains, predicted and emulated; many of them have little to gain."""
    rows = []
    packets = QUICK_PACKETS if options.quick else PACKETS
    costs = CostConstants()
    for name in REFERENCE_CHAINS:
        chain = reference_chain(name)
        plan = planned(chain, costs)
        hybrid, sequential = emulated_us(
            chain, (plan.root, plan.sequential_root), costs, packets, options.seed
        )
        rows.append(
            Row(
                f"emulator: chain {name}, latency saved",
                100 * (1 - hybrid / sequential),
                "%",
                better="higher",
                detail={
                    "predicted": round(100 * (1 - plan.prediction.mean_us / plan.sequential.mean_us), 2),
                    "hybrid_us": round(hybrid, 1),
                    "sequential_us": round(sequential, 1),
                    "predicted_us": round(plan.prediction.mean_us, 1),
                    "parallel_pairs": len(plan.obligations),
                    "copied_bytes_per_packet": round(plan.prediction.copied_bytes_per_packet, 1),
                },
            )
        )
    return rows


def random_rows(options: BenchOptions) -> list[Row]:
    """Return how planned chains compare with sequential, fully parallel and greedy ones, emulated."""
    count = QUICK_RANDOM_CHAINS if options.quick else RANDOM_CHAINS
    # Without margin: the others ask for none either. With it, a plan gives up to that share away for fewer copies.
    costs, cautious = CostConstants(margin_ratio=0.0), CostConstants()
    worse = 0
    saved: dict[str, list[float]] = {
        "planned against full parallelism": [],
        "planned against greedy segments": [],
        "planned with the default margin against full parallelism": [],
        "planned with the default margin against greedy segments": [],
    }
    for number in range(count):
        rng = random.Random(options.seed * 1_000_000 + number)
        chain = random_chain(rng, rng.randint(2, 8))
        plan = planned(chain, costs)
        roots = (
            plan.root,
            planned(chain, cautious).root,
            plan.sequential_root,
            full_parallel_root(chain, SERVERS[0].name),
            greedy_segments_root(chain, SERVERS[0].name),
        )
        ours, careful, sequential, full, greedy = emulated_us(chain, roots, costs, RANDOM_PACKETS, number)
        worse += max(ours, careful) > sequential * (1 + 1e-9)
        for values, (mine, other) in zip(
            saved.values(), ((ours, full), (ours, greedy), (careful, full), (careful, greedy)), strict=True
        ):
            values.append(100 * (1 - mine / other))
    detail = {"chains": count, "packets_each": RANDOM_PACKETS, "quick": options.quick}
    return [
        Row(
            "emulator: plans slower than sequential", float(worse), "count", goal=0.0, n=count, detail=detail
        ),
        # The margin may cost what it says, and no more.
        *(
            _against(name, values, -100 * cautious.margin_ratio if "margin" in name else 0.0)
            for name, values in saved.items()
        ),
    ]


def _against(name: str, saved: list[float], goal: float) -> Row:
    return Row(
        f"emulator: {name}, latency saved",
        float(np.mean(saved)),
        "%",
        goal=goal,
        better="higher",
        n=len(saved),
        spread=(min(saved), max(saved)),
        detail={
            "better_in": sum(value > 0.01 for value in saved),
            "worse_in": sum(value < -0.01 for value in saved),
        },
    )


def split_row(options: BenchOptions) -> Row:
    """Return the worst instance's p99 with our split; the proportional one is in the detail."""
    split = tail_split(SPLIT_MU_PPS, SPLIT_DEMAND_PPS, SPLIT_LIMIT_S)
    assert not isinstance(split, Refused)
    packets = QUICK_PACKETS if options.quick else PACKETS
    ours, proportional = (
        _worst_p99_ms(rates, packets, options.seed)
        for rates in (split, proportional_split(SPLIT_MU_PPS, SPLIT_DEMAND_PPS))
    )
    return Row(
        "split: p99 of the slower instance",
        ours,
        "ms",
        goal=SPLIT_LIMIT_S * 1000,
        detail={"proportional_split_ms": round(proportional, 2), "packets": packets, "quick": options.quick},
    )


def _worst_p99_ms(rates: Sequence[float], packets: int, seed: int) -> float:
    worst = 0.0
    rng = np.random.default_rng(seed)
    for rate, mu in zip(rates, SPLIT_MU_PPS, strict=True):
        arrivals = draw_arrivals(rate, packets, rng)
        times = departures(arrivals, rng.exponential(1e6 / mu, packets)) - arrivals
        worst = max(worst, float(np.quantile(times, 0.99)) / 1000)
    return worst


def planned(chain: Chain, costs: CostConstants) -> Plan:
    """Return the plan of a chain that has one."""
    plan = hybridize(chain, SERVERS, costs)
    assert isinstance(plan, Plan), plan
    return plan
