"""Whole placed networks, emulated: targets hold where a proportional split misses them; parts as the chain emulator."""

import numpy as np
import pytest

from apps.chains.engine.chain import Server
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series
from apps.chains.engine.placement import Demand, Kind, PlacedNf, Placement, PlacementTask
from apps.chains.engine.placement_network import network_latencies, owners_of, proportional_owners
from apps.chains.engine.placement_planner import Effort, decompose
from apps.chains.engine.placement_tail import plumbing_us, predicted_p99_us
from tests.chains.engine.placement_cases import shared_task


def p99_us(
    task: PlacementTask, placement: Placement, owners: list[tuple[tuple[int, ...], ...]]
) -> list[float]:
    times = network_latencies(task, placement, owners, 4e6, np.random.default_rng(2))
    return [float(np.quantile(rows, 0.99)) for rows in times]


def test_shared_instances_keep_targets_that_a_proportional_split_misses() -> None:
    task = shared_task()
    placement = decompose(task, effort=Effort(exact_s=0.0))
    assert not placement.refused
    targets = [chain.demand.slo_p99_us or 0.0 for chain in placement.chains]
    ours = p99_us(task, placement, owners_of(placement))
    theirs = p99_us(task, placement, proportional_owners(placement, task.buckets))
    assert all(found <= target for found, target in zip(ours, targets, strict=True))
    strict = [n for n, chain in enumerate(placement.chains) if chain.demand.name.startswith("voice")]
    assert len(strict) == 4
    assert all(theirs[number] > targets[number] for number in strict)


@pytest.mark.parametrize(
    "structure",
    [
        Series((Nf(0, ""), Nf(1, ""), Nf(2, ""))),
        Parallel((Nf(0, ""), Series((Nf(1, ""), Nf(2, "")))), (Copy.SHARED, Copy.FULL), ""),
        Series((Nf(0, ""), Parallel((Nf(1, ""), Nf(2, "")), (Copy.SHARED, Copy.FULL), ""))),
    ],
)
def test_an_emulated_chain_is_within_its_prediction(structure: Node) -> None:
    """Exponential service and idle instances: the 99th percentile is what the structure says."""
    kinds = [Kind(f"k{n}", "t", 100.0 * (n + 1)) for n in range(3)]
    demand = Demand("c", tuple(PlacedNf(k.key, k) for k in kinds), structure, 100.0)
    task = PlacementTask((demand,), (Server("s", 3.0),))
    placement = decompose(task, effort=Effort(exact_s=0.0))
    (times,) = network_latencies(task, placement, owners_of(placement), 2e8, np.random.default_rng(1))
    busy = [demand.rate_pps * kind.service_us * 1e-6 for kind in kinds]
    predicted = predicted_p99_us(demand, task.constants, 1, busy)
    assert predicted * 0.9 <= np.quantile(times, 0.99) <= predicted * 1.05


def test_one_instance_is_a_fifo_queue() -> None:
    """Constant service at half load: the mean wait is half a service (M/D/1)."""
    kind = Kind("k", "t", 100.0, 0.0)
    demand = Demand("c", (PlacedNf("n", kind),), Nf(0, ""), 5000.0)
    task = PlacementTask((demand,), (Server("s", 1.0),))
    placement = decompose(task, effort=Effort(exact_s=0.0))
    (times,) = network_latencies(task, placement, owners_of(placement), 2e7, np.random.default_rng(1))
    assert times.mean() - plumbing_us(demand, task.constants, 1) == pytest.approx(150.0, rel=0.03)
