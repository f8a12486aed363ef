"""The emulator: right times against theory, right bytes against the sequential chain, one twin against the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, CostConstants, NfInstance, ServiceTime
from apps.chains.engine.compile import compile_plan
from apps.chains.engine.differential import run_sequential
from apps.chains.engine.emulator import departures, draw_arrivals, draw_services, emulate, latencies
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series
from apps.chains.engine.nfs.registry import make_nf
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource

FREE = CostConstants(0, 0, 0, 0, 0, 0, 0, 0)
MEAN_US = 100.0


def chain_of(*types: str, rate_pps: float = 5000, scv: float = 1.0) -> Chain:
    """Return network functions of 100 us; at 5000 packets/s they are half busy."""
    return Chain(
        "emulated",
        tuple(
            NfInstance(f"{slug}-{index}", slug, CATALOGUE[slug].profile, ServiceTime(MEAN_US, scv))
            for index, slug in enumerate(types)
        ),
        rate_pps=rate_pps,
    )


def side_by_side(length: int) -> Node:
    return Parallel(tuple(Nf(index, "a") for index in range(length)), (Copy.SHARED,) * length, "a")


def in_a_row(length: int) -> Node:
    if length == 1:
        return Nf(0, "a")
    return Series(tuple(Nf(index, "a") for index in range(length)))


def mean_us(chain: Chain, root: Node, packets: int = 200_000, seed: int = 1) -> float:
    rng = np.random.default_rng(seed)
    arrivals = draw_arrivals(chain.rate_pps, packets, rng)
    services = draw_services(chain, packets, rng)
    return float(latencies(compile_plan(chain, root), chain, FREE, arrivals, services).mean())


@pytest.mark.parametrize(("scv", "waits"), [(1.0, 1.0), (0.0, 0.5), (2.0, 1.5)])
def test_one_queue_takes_what_pollaczek_and_khinchine_say(scv: float, waits: float) -> None:
    # Half busy: the mean wait is rho / (1 - rho) * (1 + scv) / 2 service times.
    assert mean_us(chain_of("monitor", scv=scv), in_a_row(1)) == pytest.approx(
        MEAN_US * (1 + waits), rel=0.03
    )


@pytest.mark.parametrize(("length", "gain"), [(2, 0.281), (3, 0.428), (4, 0.522)])
def test_balanced_branches_gain_what_theory_says_at_half_load(length: int, gain: float) -> None:
    """Nelson-Tantawi: at utilization .5 two, three and four equal exponential branches save this share."""
    chain = chain_of(*["monitor"] * length)
    saved = 1 - mean_us(chain, side_by_side(length)) / mean_us(chain, in_a_row(length))
    assert saved == pytest.approx(gain, abs=0.02)


def test_every_cost_is_charged_once() -> None:
    costs = CostConstants(
        hop_us=1000, local_hop_us=100, mirror_us=10, mirror_branch_us=1, merge_us=20, merge_branch_us=2
    )
    chain = chain_of("monitor", "monitor", scv=0.0)
    root = Parallel((Nf(0, "a"), Nf(1, "a")), (Copy.SHARED, Copy.SHARED), "a")
    found = latencies(compile_plan(chain, root), chain, costs, np.zeros(1), np.full((2, 1), MEAN_US))
    assert found[0] == pytest.approx(1000 + 10 + 2 + 50 + MEAN_US + 50 + 20 + 4 + 1000)


ROOTS: list[tuple[tuple[str, ...], Node]] = [
    (("monitor", "ids", "firewall"), in_a_row(3)),
    (("monitor", "ids", "firewall"), side_by_side(3)),
    (
        ("monitor", "ids", "header_enrichment", "load_balancer"),
        Series(
            (
                Parallel((Nf(0, "a"), Nf(1, "b")), (Copy.SHARED, Copy.FULL), "a"),
                Parallel((Nf(2, "b"), Nf(3, "c")), (Copy.SHARED, Copy.FULL), "b"),
            )
        ),
    ),
]
PARAMS: dict[str, dict[str, object]] = {
    "firewall": {"default": "allow", "rules": [{"action": "deny", "dst_port": 443}]},
    "header_enrichment": {"default": 46},
    "load_balancer": {"vip": "192.168.0.1", "backends": [{"address": "10.0.0.1"}, {"address": "10.0.0.2"}]},
}


@pytest.mark.parametrize(("types", "root"), ROOTS)
def test_bytes_and_states_are_those_of_the_sequential_chain(types: tuple[str, ...], root: Node) -> None:
    chain = chain_of(*types)
    rng = np.random.default_rng(3)
    timed = list(TrafficSource(TrafficMix(flow_count=50, odd_ratio=0.1), 3).timed(600, 5000))
    arrivals = np.array([float(at_us) for at_us, _ in timed])
    services = draw_services(chain, len(timed), rng)
    frames = [frame for _, frame in timed]
    fresh = [make_nf(slug, PARAMS.get(slug, {})) for slug in types]
    found = emulate(compile_plan(chain, root), chain, fresh, CostConstants(), frames, arrivals, services)
    want = run_sequential([make_nf(slug, PARAMS.get(slug, {})) for slug in types], timed)
    assert found.outputs == tuple(data for _, data in want.outputs)
    assert found.states == want.states
    dropped = [data is None for data in found.outputs]
    assert list(np.isnan(found.latencies_us)) == dropped
    assert any(dropped) == ("firewall" in types)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 30), place=st.sampled_from([0, 1, 2]), rate=st.floats(500, 8000))
def test_times_of_all_packets_at_once_are_those_of_events(seed: int, place: int, rate: float) -> None:
    types, root = ROOTS[place]
    quiet = tuple("monitor" for _ in types)
    chain = chain_of(*quiet, rate_pps=rate)
    rng = np.random.default_rng(seed)
    arrivals, services = draw_arrivals(rate, 40, rng), draw_services(chain, 40, rng)
    table, costs = compile_plan(chain, root), CostConstants()
    frames = list(TrafficSource(TrafficMix(), seed).frames(40))
    nfs = [make_nf("monitor", {}) for _ in types]
    found = emulate(table, chain, nfs, costs, frames, arrivals, services)
    np.testing.assert_allclose(
        found.latencies_us, latencies(table, chain, costs, arrivals, services), rtol=1e-9
    )
    assert sum(found.utilizations) > 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), min_size=1, max_size=30))
def test_departures_are_those_of_a_queue_that_is_watched(pairs: list[tuple[float, float]]) -> None:
    arrivals = np.sort(np.array([at for at, _ in pairs]))
    services = np.array([took for _, took in pairs])
    free, want = 0.0, []
    for at, took in zip(arrivals, services, strict=True):
        free = max(at, free) + took
        want.append(free)
    np.testing.assert_allclose(departures(arrivals, services), want, atol=1e-9)


def test_the_same_seed_gives_the_same_times() -> None:
    chain = chain_of("monitor", "ids")
    assert mean_us(chain, in_a_row(2), 1000, seed=7) == mean_us(chain, in_a_row(2), 1000, seed=7)
    assert mean_us(chain, in_a_row(2), 1000, seed=7) != mean_us(chain, in_a_row(2), 1000, seed=8)
