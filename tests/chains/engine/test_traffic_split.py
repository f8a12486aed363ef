"""Splits of a demand: the published example, the optimum against every other split, targets, and few moves."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chains.engine.emulator import departures, draw_arrivals
from apps.chains.engine.traffic_split import (
    Refused,
    assign_buckets,
    mean_latency_s,
    optimal_split,
    proportional_split,
    tail_split,
)
from nfvportal.lib.errors import InvalidInputError

RATES = st.lists(st.floats(0.5, 1000), min_size=1, max_size=6)


def test_the_example_of_the_brief() -> None:
    mu = (10, 6, 3, 1)
    best = optimal_split(mu, 12)
    assert not isinstance(best, Refused)
    assert best == pytest.approx((6.968, 3.651, 1.339, 0.041), abs=5e-4)
    assert mean_latency_s(mu, best) == pytest.approx(0.392, abs=5e-4)
    assert mean_latency_s(mu, proportional_split(mu, 12)) == pytest.approx(0.5)


@settings(deadline=None)
@given(RATES, st.floats(0.01, 0.99), st.integers(0, 1 << 30))
def test_no_other_split_is_faster(mu: list[float], load: float, seed: int) -> None:
    demand = load * math.fsum(mu)
    best = optimal_split(mu, demand)
    assert not isinstance(best, Refused)
    assert min(best) >= 0
    assert math.fsum(best) == pytest.approx(demand)
    least = mean_latency_s(mu, best)
    rng = np.random.default_rng(seed)
    for weights in [*rng.dirichlet(np.ones(len(mu)), 20), np.array(mu) / math.fsum(mu)]:
        assert mean_latency_s(mu, list(weights * demand)) >= least * (1 - 1e-9)


@settings(deadline=None)
@given(RATES, st.floats(0.01, 1.2), st.floats(0.001, 100), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_target_is_kept_on_every_instance_or_refused_with_the_most_that_goes(
    mu: list[float], load: float, limit_s: float, share: float
) -> None:
    demand = load * math.fsum(mu)
    found = tail_split(mu, demand, limit_s, share)
    if isinstance(found, Refused):
        assert found.capacity_pps < demand
        assert f"{found.capacity_pps:,.0f}" in found.witness
        return
    assert math.fsum(found) == pytest.approx(demand)
    for rate, limit in zip(found, mu, strict=True):
        assert rate == 0 or math.exp(-(limit - rate) * limit_s) <= (1 - share) * (1 + 1e-6)


def test_the_split_meets_a_target_that_the_proportional_one_misses() -> None:
    """p99 of 20 ms over a fast and a slow instance, in emulated queues: 300 packets/s to the slow one are too many."""
    mu, demand, limit_s = (1000.0, 500.0), 900.0, 0.020
    split = tail_split(mu, demand, limit_s)
    assert not isinstance(split, Refused)

    def worst_p99_s(rates: tuple[float, ...]) -> float:
        rng = np.random.default_rng(5)
        worst = 0.0
        for rate, service in zip(rates, mu, strict=True):
            arrivals = draw_arrivals(rate, 200_000, rng)
            times = departures(arrivals, rng.exponential(1e6 / service, len(arrivals))) - arrivals
            worst = max(worst, float(np.quantile(times, 0.99)) / 1e6)
        return worst

    assert worst_p99_s(split) <= limit_s < worst_p99_s(proportional_split(mu, demand))


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any),
    st.lists(st.integers(-1, 5), max_size=32),
)
def test_buckets_keep_the_shares_and_few_move(shares: list[int], before: list[int]) -> None:
    found = assign_buckets(shares, before, 32)
    assert len(found) == 32
    for index, share in enumerate(shares):
        exact = share / sum(shares) * 32
        assert math.floor(exact) <= found.count(index) <= math.ceil(exact)
    again = assign_buckets(shares, found, 32)
    assert again == found, "nothing moves without a reason"


@given(
    st.lists(st.integers(0, 4), min_size=2, max_size=3).filter(any),
    st.lists(st.integers(0, 2), min_size=6, max_size=6),
)
def test_no_assignment_with_these_shares_moves_fewer(shares: list[int], before: list[int]) -> None:
    found = assign_buckets(shares, before, 6)
    moves = sum(a != b for a, b in zip(found, before, strict=True))
    exact = [share / sum(shares) * 6 for share in shares]
    fewest = min(
        sum(a != b for a, b in zip(other, before, strict=True))
        for other in itertools.product(range(len(shares)), repeat=6)
        if all(math.floor(value) <= other.count(k) <= math.ceil(value) for k, value in enumerate(exact))
    )
    assert moves == fewest


@pytest.mark.parametrize("mu", [(), (0.0,), (-1.0, 2.0), (math.inf,), (math.nan,)])
def test_odd_rates_are_refused(mu: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInputError):
        optimal_split(mu, 1)
