"""Plans: as published, equal to brute force, within every limit, and never worse than the chain as drawn."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chains.engine.blocks import is_valid_root
from apps.chains.engine.chain import Chain, CostConstants, Server, ServiceTime
from apps.chains.engine.compile import CLASSIFIER, compile_plan
from apps.chains.engine.hybrid import Copy, Infeasible, Nf, Node, Parallel, Plan, Series, leaves
from apps.chains.engine.planner import (
    full_parallel_root,
    greedy_segments_root,
    hybridize,
    sequential_plan,
)
from apps.chains.engine.planning_cost import cost_us, planning_cost
from apps.chains.engine.region_search import search
from apps.chains.engine.room import cores_of, room_of
from nfvportal.lib.errors import InvalidInputError
from tests.chains.engine.planner_twin import (
    SIZES,
    all_nodes,
    best_cost_us,
    checked_instance,
    random_chain,
    random_constants,
    random_servers,
)
from tests.chains.engine.test_analysis import chain_of

COSTS = CostConstants()


def words(node: Node, chain: Chain) -> str:
    """Return a graph as the brief writes it; c after a branch on a copy."""
    if isinstance(node, Nf):
        return chain.nfs[node.index].name
    if isinstance(node, Series):
        return ",".join(words(part, chain) for part in node.parts)
    marks = ("" if copy == Copy.SHARED else f" on {copy} copy" for copy in node.copies)
    return f"({'|'.join(words(b, chain) + m for b, m in zip(node.branches, marks, strict=True))})"


def plan_of(chain: Chain, servers: list[Server] | None = None, **usage: float) -> Plan:
    """Return the plan of a chain that has one."""
    plan = hybridize(chain, servers or [Server("a", 8)], COSTS, usage=usage)
    assert isinstance(plan, Plan), plan
    return plan


@pytest.mark.parametrize(
    ("slugs", "expected"),
    [
        ("vpn monitor firewall load_balancer", "vpn,(monitor|firewall),load_balancer"),
        ("ids monitor load_balancer", "(ids|monitor|load_balancer on header copy)"),
    ],
)
def test_chains_convert_as_published(slugs: str, expected: str) -> None:
    """NFP (SIGCOMM 2017), its two real chains."""
    chain = chain_of(*slugs.split())
    assert words(plan_of(chain).root, chain) == expected


def test_obligations_are_the_pairs_side_by_side() -> None:
    plan = plan_of(chain_of("ids", "monitor", "load_balancer"))
    pairs = [(duty.first_index, duty.second_index, duty.verdict.kind) for duty in plan.obligations]
    assert pairs == [(0, 1, "ok"), (0, 2, "copy_header"), (1, 2, "copy_header")]
    assert plan.is_optimal
    assert plan.constants == COSTS


@pytest.mark.parametrize("start", range(0, 240, 20))
def test_equal_to_brute_force(start: int) -> None:
    kinds = {seed: checked_instance(seed, SIZES) for seed in range(start, start + 20)}
    # Beyond: cheaper than all graphs that brute force writes down, which keeps blocks where their branches are.
    assert {seed: kind for seed, kind in kinds.items() if kind not in ("exact", "none", "beyond")} == {}
    assert list(kinds.values()).count("exact") >= 10


@pytest.mark.parametrize("seed", range(12))
def test_brute_force_by_recursion_is_all_graphs_written_down(seed: int) -> None:
    """The twin against its own twin: every graph of four network functions, each counted by ``cost_us``."""
    rng = random.Random(seed)
    chain = random_chain(rng, 4)
    costs = planning_cost(chain, random_constants(rng))
    graphs = all_nodes(costs, ("s0",) * 4, (0, 1, 2, 3))
    least = min(cost_us(costs, root) for root in graphs)
    assert best_cost_us(chain, costs, [Server("s0", 99)]) == pytest.approx(least, rel=1e-9)


def random_plan(seed: int, length: int) -> tuple[Chain, list[Server], Plan | Infeasible]:
    """Return a random chain's answer."""
    rng = random.Random(seed)
    chain = random_chain(rng, length)
    servers = random_servers(rng, sum(cores_of(chain, nf) for nf in chain.nfs), rng.randint(1, 4))
    return chain, servers, hybridize(chain, servers, random_constants(rng))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 20))
def test_every_plan_is_right_fits_and_is_no_worse_than_the_row(seed: int, length: int) -> None:
    chain, servers, plan = random_plan(seed, length)
    if isinstance(plan, Infeasible):
        assert plan.kind == "capacity"
        assert "cores" in plan.witness
        assert plan.best is not None
        return
    assert is_valid_root(chain, plan.root) == is_valid_root(chain, plan.sequential_root) == []
    assert plan.prediction.mean_us <= plan.sequential.mean_us
    assert plan.prediction.p99_us <= plan.sequential.p99_us
    assert 0 <= plan.gap_ratio < 1
    assert not plan.is_optimal or plan.gap_ratio == 0
    known = {server.name for server in servers} | {CLASSIFIER}
    assert {op.server for op in compile_plan(chain, plan.root).operators} <= known
    for root in (plan.root, plan.sequential_root):
        for server in servers:
            on = [chain.nfs[leaf.index] for leaf in leaves(root) if leaf.server == server.name]
            assert sum(cores_of(chain, nf) for nf in on) <= server.cores + 1e-6


def test_few_servers_and_the_fuller_first() -> None:
    servers = [Server("a", 8), Server("b", 8), Server("c", 8)]
    chain = chain_of("monitor", "ids", "firewall")
    assert {leaf.server for leaf in leaves(plan_of(chain, servers).root)} == {"a"}
    assert {leaf.server for leaf in leaves(plan_of(chain, servers, b=5.0).root)} == {"b"}
    assert {leaf.server for leaf in leaves(plan_of(chain, servers, b=7.99).root)} == {"a"}


def test_pins_are_kept() -> None:
    chain = chain_of("monitor", "ids", "firewall", "load_balancer")
    nfs = list(chain.nfs)
    nfs[1] = replace(nfs[1], pinned_server="b")
    plan = plan_of(replace(chain, nfs=tuple(nfs)), [Server("a", 8), Server("b", 0.07)])
    at = {leaf.index: leaf.server for leaf in leaves(plan.root)}
    assert (at[1], at[0]) == ("b", "a")
    assert plan.is_optimal


def test_waiting_network_functions_use_no_core() -> None:
    plan = plan_of(replace(chain_of(*["waiter"] * 3), rate_pps=500), [Server("a", 0.0)])
    assert isinstance(plan.root, Parallel)


@pytest.mark.parametrize(
    ("change", "servers", "kind", "says"),
    [
        ({"rate_pps": 60_000.0}, [Server("a", 8)], "capacity", "vpn takes 80 us per packet"),
        ({"rate_pps": 10_000.0}, [Server("a", 0.5)], "capacity", "needs 1.00 cores"),
        ({}, [], "capacity", "no server"),
        ({"rate_pps": 10_000.0}, [Server("a", 8, 10e6)], "link", "57.9 Mbit/s"),
        ({"slo_p99_us": 50.0}, [Server("a", 8)], "slo", "within 0.050 ms"),
    ],
)
def test_infeasible_says_why(change: dict[str, float], servers: list[Server], kind: str, says: str) -> None:
    chain = replace(chain_of("monitor", "vpn"), **change)  # type: ignore[arg-type]
    if "0.5" in says or (kind == "capacity" and servers and servers[0].cores < 1):
        nfs = tuple(replace(nf, service=ServiceTime(50)) for nf in chain.nfs)
        chain = replace(chain, nfs=nfs)
    answer = hybridize(chain, servers, COSTS)
    assert isinstance(answer, Infeasible)
    assert (answer.kind, says in answer.witness) == (kind, True), answer.witness
    if servers and "80 us" not in says:
        assert answer.best is not None


def test_a_server_that_is_not_at_hand_is_named() -> None:
    chain = chain_of("monitor")
    chain = replace(chain, nfs=(replace(chain.nfs[0], pinned_server="z"),))
    answer = hybridize(chain, [Server("a", 8)], COSTS)
    assert isinstance(answer, Infeasible)
    assert "z, which is not at hand" in answer.witness


def test_a_target_that_needs_no_margin_is_met_without() -> None:
    chain = chain_of("monitor", "ids", "firewall")
    dear = replace(COSTS, margin_ratio=0.9)
    plain = hybridize(chain, [Server("a", 8)], dear)
    assert isinstance(plain, Plan)
    assert isinstance(plain.root, Series)
    target = plain.prediction.p99_us - 1
    met = hybridize(replace(chain, slo_p99_us=target), [Server("a", 8)], dear)
    assert isinstance(met, Plan)
    assert met.prediction.p99_us <= target
    assert met.obligations


def test_no_block_where_plumbing_costs_more_than_it_gains() -> None:
    chain = chain_of("monitor", "ids")
    plan = hybridize(chain, [Server("a", 8)], replace(COSTS, merge_us=500.0))
    assert isinstance(plan, Plan)
    assert isinstance(plan.root, Series)
    assert plan.prediction == plan.sequential
    assert not plan.obligations


@pytest.mark.parametrize("seed", range(20))
def test_baselines_are_right_and_no_better_than_the_plan(seed: int) -> None:
    rng = random.Random(seed)
    chain, constants = random_chain(rng, rng.randint(2, 9)), random_constants(rng)
    costs = planning_cost(chain, constants)
    plan = hybridize(chain, [Server("a", 99)], constants)
    assert isinstance(plan, Plan)
    found = search(room_of(chain, [Server("a", 99)], {}), costs, plan.sequential_root)
    assert found is not None
    for baseline in (full_parallel_root, greedy_segments_root):
        root = baseline(chain, "a")
        assert is_valid_root(chain, root) == []
        assert found.cost_us <= cost_us(costs, root) * (1 + 1e-9)


def test_sequential_plan_has_no_block() -> None:
    plan = sequential_plan(chain_of("monitor", "ids"), [Server("a", 8)], COSTS)
    assert isinstance(plan, Plan)
    assert plan.root == plan.sequential_root
    assert not plan.obligations


def test_long_chains_have_a_bound() -> None:
    rng = random.Random(4)
    chain = random_chain(rng, 32)
    plan = hybridize(chain, [Server("a", 99)], COSTS)
    assert isinstance(plan, Plan)
    assert not plan.is_optimal
    assert 0 < plan.gap_ratio < 0.7
    assert is_valid_root(chain, plan.root) == []


@pytest.mark.parametrize(
    ("chain", "field"),
    [
        (Chain("none", (), 1000), "nfs"),
        (replace(chain_of("ids"), rate_pps=0.0), "rate_pps"),
        (replace(chain_of("ids"), nfs=chain_of("ids").nfs * 33), "nfs"),
    ],
)
def test_limits_are_named(chain: Chain, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        hybridize(chain, [Server("a", 8)], COSTS)
    assert caught.value.field == field


def test_wrong_graphs_are_found() -> None:
    chain = chain_of("firewall", "ids", "load_balancer")
    shared = (Copy.SHARED, Copy.SHARED)
    side = Parallel((Nf(0, "a"), Series((Nf(1, "a"), Nf(2, "a")))), shared, "a")
    assert any("side by side" in problem for problem in is_valid_root(chain, side))
    turned = Series((Nf(1, "a"), Nf(0, "a"), Nf(2, "a")))
    assert any("against the order" in problem for problem in is_valid_root(chain, turned))
    buffer = Series((Nf(0, "a"), Parallel((Nf(1, "a"), Nf(2, "a")), shared, "a")))
    assert any("one buffer" in problem for problem in is_valid_root(chain, buffer))
    blind = Parallel((Nf(1, "a"), Nf(2, "a")), (Copy.HEADER, Copy.FULL), "a")
    assert any("payload" in problem for problem in is_valid_root(chain, Series((Nf(0, "a"), blind))))
    assert is_valid_root(chain, Nf(0, "a"))
