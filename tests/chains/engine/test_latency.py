"""Latencies against theory, and against a simulation of queues that is another way to get them."""

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from apps.chains.engine import latency
from apps.chains.engine.chain import Chain, CostConstants, NfInstance, Server, ServiceTime
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series
from apps.chains.engine.prediction import predict
from apps.chains.engine.profiles import ActionProfile

FREE = CostConstants(0, 0, 0, 0, 0, 0, 0, 0)
PACKETS = 300_000
Times = NDArray[np.float64]


def equal_chain(count: int, rho: float, scv: float = 1.0) -> Chain:
    """Return network functions of 100 us that nothing keeps in order."""
    nfs = (NfInstance(f"n{i}", "made-up", ActionProfile(), ServiceTime(100, scv)) for i in range(count))
    return Chain("equal", tuple(nfs), rate_pps=rho * 1e4)


def side_by_side(*branches: Node) -> Parallel:
    """Return a block on one server."""
    return Parallel(branches, (Copy.SHARED,) * len(branches), "a")


def in_row(count: int) -> Node:
    """Return a sequential chain."""
    return Series(tuple(Nf(i, "a") for i in range(count))) if count > 1 else Nf(0, "a")


def gain(count: int, rho: float, scv: float = 1.0) -> float:
    """Return by how much a block is predicted to be faster than the row."""
    chain, servers = equal_chain(count, rho, scv), [Server("a", 8)]
    block = side_by_side(*(Nf(i, "a") for i in range(count)))
    row = predict(chain, in_row(count), servers, FREE).mean_us
    return 1 - predict(chain, block, servers, FREE).mean_us / row


class Simulation:
    """Packets through queues, every one in order; times come from Lindley's recursion written as a running maximum."""

    def __init__(self, chain: Chain, seed: int) -> None:
        self.chain, self.rng = chain, np.random.default_rng(seed)

    def latencies(self, root: Node) -> Times:
        arrivals = np.cumsum(self.rng.exponential(1e6 / self.chain.rate_pps, PACKETS))
        return np.asarray(self.leave(root, arrivals) - arrivals)

    def leave(self, node: Node, arrivals: Times) -> Times:
        if isinstance(node, Series):
            for part in node.parts:
                arrivals = self.leave(part, arrivals)
            return arrivals
        if isinstance(node, Parallel):
            branches = [self.leave(branch, arrivals) for branch in node.branches]
            # Released in order: nobody before who came before.
            return np.maximum.accumulate(np.maximum.reduce(branches))
        service = self.chain.nfs[node.index].service
        if service.scv:
            times = self.rng.gamma(1 / service.scv, service.mean_us * service.scv, PACKETS)
        else:
            times = np.full(PACKETS, service.mean_us)
        done = np.cumsum(times)
        return np.asarray(done + np.maximum.accumulate(arrivals - done + times))


@pytest.mark.parametrize(("rho", "scv"), list(itertools.product((0.3, 0.7), (0.0, 0.5, 1.0, 3.0))))
def test_one_queue_against_simulation(rho: float, scv: float) -> None:
    chain = equal_chain(1, rho, scv)
    seen = Simulation(chain, 1).latencies(Nf(0, "a"))
    told = predict(chain, Nf(0, "a"), [Server("a", 8)], FREE)
    assert told.mean_us == pytest.approx(float(seen.mean()), rel=0.05)
    assert told.p99_us == pytest.approx(float(np.percentile(seen, 99)), rel=0.08)
    assert told.p50_us == pytest.approx(float(np.percentile(seen, 50)), rel=0.08)


def test_exponential_service_is_exact() -> None:
    """M/M/1: the time in the system is exponential."""
    told = predict(equal_chain(1, 0.5), Nf(0, "a"), [Server("a", 8)], FREE)
    assert told.mean_us == pytest.approx(200, rel=1e-3)
    assert told.p99_us == pytest.approx(200 * math.log(100), rel=5e-3)


@pytest.mark.parametrize(("count", "percent"), [(2, 25.0), (3, 38.9), (4, 47.9), (5, 54.3)])
def test_light_load_gains_what_theory_says(count: int, percent: float) -> None:
    """Brief: 1 - H_n / n."""
    assert 100 * gain(count, 0.001) == pytest.approx(percent, abs=0.2)


@pytest.mark.parametrize(("count", "percent"), [(3, 42.8), (4, 52.2)])
def test_half_load_gains_what_theory_says(count: int, percent: float) -> None:
    """Brief; Nelson and Tantawi's formula itself is 0.6 points off the figures of the brief."""
    assert 100 * gain(count, 0.5) == pytest.approx(percent, abs=0.7)


def test_gain_grows_with_load_for_exponential_service_and_shrinks_for_constant() -> None:
    exponential = [gain(3, rho) for rho in (0.1, 0.5, 0.9)]
    assert exponential == sorted(exponential)
    constant = [gain(2, rho, 0.0) for rho in (0.05, 0.5, 0.9)]
    assert constant == sorted(constant, reverse=True)
    assert constant[0] > 0.45


@pytest.mark.parametrize(
    ("root", "scv", "rho"),
    [
        (side_by_side(Nf(0, "a"), Nf(1, "a"), Nf(2, "a"), Nf(3, "a")), 1.0, 0.5),
        (side_by_side(Nf(0, "a"), Nf(1, "a"), Nf(2, "a"), Nf(3, "a")), 1.0, 0.8),
        (side_by_side(Series((Nf(0, "a"), Nf(1, "a"))), Series((Nf(2, "a"), Nf(3, "a")))), 1.0, 0.5),
        (side_by_side(Series((Nf(0, "a"), Nf(1, "a"), Nf(2, "a"))), Nf(3, "a")), 1.0, 0.5),
        (Series((Nf(0, "a"), side_by_side(Nf(1, "a"), Nf(2, "a")), Nf(3, "a"))), 0.5, 0.5),
        (side_by_side(Nf(0, "a"), Nf(1, "a"), Nf(2, "a"), Nf(3, "a")), 0.0, 0.6),
        (side_by_side(Nf(0, "a"), Nf(1, "a"), Nf(2, "a"), Nf(3, "a")), 0.3, 0.5),
        (in_row(4), 0.0, 0.6),
        (in_row(4), 0.5, 0.6),
        (in_row(4), 1.0, 0.6),
        (in_row(4), 2.0, 0.5),
    ],
)
def test_graphs_against_simulation(root: Node, scv: float, rho: float) -> None:
    """Stated tolerance: 10 % for the mean, 15 % for the 99th percentile."""
    chain = equal_chain(4, rho, scv)
    seen = Simulation(chain, 3).latencies(root)
    told = predict(chain, root, [Server("a", 8)], FREE)
    assert told.mean_us == pytest.approx(float(seen.mean()), rel=0.10)
    assert told.p99_us == pytest.approx(float(np.percentile(seen, 99)), rel=0.15)


def test_overload_is_infinite_and_named() -> None:
    told = predict(equal_chain(2, 1.2), in_row(2), [Server("a", 8)], FREE)
    assert math.isinf(told.mean_us)
    assert math.isinf(told.p99_us)
    assert {stage.label for stage in told.stages} == {"n0", "n1"}


def test_who_drops_early_spares_those_behind_but_not_those_beside() -> None:
    chain, servers = equal_chain(2, 0.8), [Server("a", 8)]
    drops = (0.5, 0.0)
    behind = predict(chain, in_row(2), servers, FREE, drop_ratios=drops)
    assert behind.stages[-2].utilization == pytest.approx(0.4)
    block = side_by_side(Nf(0, "a"), Nf(1, "a"))
    beside = predict(chain, block, servers, FREE, drop_ratios=drops)
    beside_rhos = [stage.utilization for stage in beside.stages if stage.label.startswith("n")]
    assert beside_rhos == pytest.approx([0.8, 0.8])


def test_bytes_and_hops_are_counted_where_they_happen() -> None:
    chain = equal_chain(3, 0.1)
    root = Parallel((Nf(0, "a"), Nf(1, "b"), Nf(2, "b")), (Copy.SHARED, Copy.FULL, Copy.HEADER), "a")
    told = predict(chain, root, [Server("a", 8), Server("b", 8)], CostConstants())
    # To a and b, from b with the headers' write merged in, and back from a: four whole frames.
    assert told.wire_bytes_per_packet == pytest.approx(4 * 724)
    assert told.copied_bytes_per_packet == pytest.approx(724 + 64)
    assert told.servers_crossed == 2
    assert sum(stage.label.startswith("hop") for stage in told.stages) == 5


def test_grid_operations() -> None:
    one, two = latency.gamma(50, 900, 1.0), latency.constant(20, 1.0)
    assert latency.in_series([one, two, one]).mean_us == pytest.approx(120, rel=1e-6)
    assert latency.joined([one, two.plus(500)], 1.0).mean_us == pytest.approx(520, rel=1e-3)
