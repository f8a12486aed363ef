"""The rule for the tail: right for exponential queues in a row, careful for all else, compared with simulation."""

import math

import numpy as np
import pytest

from apps.chains.engine.chain import CostConstants
from apps.chains.engine.emulator import departures
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series
from apps.chains.engine.placement import BUSY_MAX, Demand, Kind, PlacedNf
from apps.chains.engine.placement_demand import row_of
from apps.chains.engine.placement_tail import busy_limit, predicted_p99_us, tail_us, wait_us
from tests.chains.engine.placement_cases import FREE

PACKETS = 150_000


def emulated(kind: Kind, busy: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(kind.service_us / busy, PACKETS))
    shape = 1 / kind.scv if kind.scv else 0
    services = (
        rng.gamma(shape, kind.service_us * kind.scv, PACKETS) if shape else np.full(PACKETS, kind.service_us)
    )
    return departures(arrivals, services) - arrivals


def demand(structure: Node, kinds: list[Kind], target_us: float | None = None) -> Demand:
    nfs = tuple(PlacedNf(f"n{index}", kind) for index, kind in enumerate(kinds))
    return Demand("c", nfs, structure, 1000.0, slo_p99_us=target_us)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_tail_of_equal_stages_is_erlang(count: int) -> None:
    """The 99th percentile of an Erlang distribution, found by bisection of its closed form."""

    def beyond(x: float) -> float:
        return math.exp(-x) * sum(x**k / math.factorial(k) for k in range(count))

    low, high = 0.0, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) > 0.01 else (low, middle)
    found = tail_us(row_of(count), [100.0] * count) / 100
    assert low <= found <= low * 1.02


@pytest.mark.parametrize("scv", [0.0, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("busy", [0.1, 0.5, 0.8, 0.9])
def test_the_rule_covers_every_kind_of_service(scv: float, busy: float) -> None:
    kind = Kind("k", "t", 100.0, scv)
    times = emulated(kind, busy, 7)
    predicted = predicted_p99_us(demand(row_of(1), [kind]), FREE, 0, [busy])
    # Exact for exponential service: what is left is the sample's own noise.
    assert np.quantile(times, 0.99) <= predicted * (1.06 if scv == 1 else 1.0)
    assert times.mean() == pytest.approx(wait_us(kind, busy), rel=0.15)


def test_a_row_of_queues_keeps_the_target_at_the_limit() -> None:
    """Three M/M/1 queues in a row, each as busy as the limit says: the 99th percentile is the target."""
    kinds = [Kind(f"k{n}", "t", mean) for n, mean in enumerate((100.0, 50.0, 80.0))]
    asks = demand(row_of(3), kinds, 3000.0)
    limit = busy_limit(asks, FREE)
    rng = np.random.default_rng(3)
    worst = []
    for _ in range(4):
        at = np.cumsum(rng.exponential(100.0 / limit, PACKETS))
        start = at
        for kind in kinds:
            # Each at the limit: the faster ones get other packets too, which join between.
            extra = (
                np.sort(rng.uniform(0, at[-1], int(at[-1] * limit / kind.service_us) - PACKETS))
                if kind.service_us < 100
                else np.array([])
            )
            order = np.argsort(np.concatenate([at, extra]), kind="stable")
            merged = np.concatenate([at, extra])[order]
            left = departures(merged, rng.exponential(kind.service_us, len(merged)))
            done = np.empty_like(left)
            done[order] = left
            at = done[: len(at)]
        worst.append(np.quantile(at - start, 0.99))
    assert 2700 <= np.mean(worst) <= 3000 * 1.03


def test_branches_side_by_side_are_no_later_than_predicted() -> None:
    block = Parallel((Nf(0, ""), Nf(1, "")), (Copy.SHARED, Copy.FULL), "")
    kinds = [Kind("a", "t", 100.0), Kind("b", "t", 100.0)]
    rng = np.random.default_rng(5)
    found = []
    for _ in range(6):
        arrivals = np.cumsum(rng.exponential(100 / 0.7, PACKETS))
        branches = [departures(arrivals, rng.exponential(100.0, PACKETS)) for _ in kinds]
        found.append(np.quantile(np.maximum(*branches) - arrivals, 0.99))
    predicted = predicted_p99_us(demand(block, kinds), FREE, 0, [0.7, 0.7])
    assert np.mean(found) <= predicted * 1.01
    assert predicted < tail_us(row_of(2), [100 / 0.3] * 2), "and earlier than one after the other"


def test_limits() -> None:
    kind = Kind("k", "t", 100.0)
    assert busy_limit(demand(row_of(1), [kind]), FREE) == BUSY_MAX
    assert busy_limit(demand(row_of(1), [kind], 1e9), FREE) == BUSY_MAX
    assert busy_limit(demand(row_of(1), [kind], 461.0), FREE) < 0.01
    assert busy_limit(demand(row_of(1), [kind], 50.0), CostConstants()) < 0, "the wire alone takes longer"
    nested = Series((Nf(0, ""), Parallel((Nf(1, ""), Nf(2, "")), (Copy.SHARED, Copy.FULL), "")))
    assert busy_limit(demand(nested, [kind] * 3, 2000.0), FREE) > busy_limit(
        demand(row_of(3), [kind] * 3, 2000.0), FREE
    )
    assert wait_us(kind, 1.0) == math.inf
