"""Operator tables: by example, and what holds for every plan of random chains."""

import random

import pytest

from apps.chains.engine.analysis import writes_of
from apps.chains.engine.chain import Chain, CostConstants, NfInstance, ServiceTime
from apps.chains.engine.compile import CLASSIFIER, compile_plan
from apps.chains.engine.fields import Field
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series, leaves
from apps.chains.engine.operators import OPERATORS_MAX, OperatorKind, OperatorTable
from apps.chains.engine.planner import full_parallel_root
from apps.chains.engine.planning_cost import planning_cost
from apps.chains.engine.profiles import ActionProfile, Flag
from nfvportal.lib.errors import InvalidInputError
from tests.chains.engine.planner_twin import all_nodes, random_chain
from tests.chains.engine.test_analysis import chain_of

SHARED, HEADER, FULL = Copy.SHARED, Copy.HEADER, Copy.FULL


def rows(table: OperatorTable) -> list[str]:
    """Return a table as lines."""
    return [
        f"{op.id} {op.kind} {'' if op.nf_index is None else op.nf_index}@{op.server} -> "
        + " ".join(f"{hop.operator}.{hop.branch}{hop.copy[0]}" for hop in op.next)
        for op in table.operators
    ]


def test_series_and_block_on_two_servers() -> None:
    chain = chain_of("vpn", "monitor", "firewall", "load_balancer")
    block = Parallel((Nf(1, "a"), Nf(2, "a")), (SHARED, SHARED), "a")
    table = compile_plan(chain, Series((Nf(0, "a"), block, Nf(3, "b"))))
    assert rows(table) == [
        "1 nf 0@a -> 2.0s",
        "2 mirror @a -> 3.0s 4.0s",
        "3 nf 1@a -> 5.0s",
        "4 nf 2@a -> 5.1s",
        "5 merge @a -> 6.0s",
        "6 nf 3@b -> 7.0s",
        "7 egress @classifier -> ",
    ]


def test_branches_on_one_other_server_travel_and_merge_together() -> None:
    chain = chain_of("ids", "monitor", "load_balancer")
    root = Parallel((Nf(0, "a"), Nf(1, "b"), Nf(2, "b")), (SHARED, HEADER, HEADER), "a")
    table = compile_plan(chain, root)
    assert rows(table) == [
        "1 mirror @classifier -> 2.0s 3.0h",
        "2 nf 0@a -> 7.0s",
        "3 mirror @b -> 4.0s 5.0h",
        "4 nf 1@b -> 6.0s",
        "5 nf 2@b -> 6.1s",
        "6 merge @b -> 7.1s",
        "7 merge @a -> 8.0s",
        "8 egress @classifier -> ",
    ]
    merge = table.by_id[7].merge
    assert merge is not None
    assert (merge.base, merge.overlays) == (0, ((Field.IP_SRC, 1), (Field.IP_DST, 1)))


def made(*profiles: ActionProfile) -> Chain:
    """Return a chain of profiles."""
    nfs = (NfInstance(f"n{i}", "made-up", profile, ServiceTime(10)) for i, profile in enumerate(profiles))
    return Chain("made", tuple(nfs), 1000)


def merges(chain: Chain, root: Node) -> list[tuple[int, tuple[tuple[Field, int], ...], int]]:
    """Return base, overlays and decrements of every merge."""
    table = compile_plan(chain, root)
    return [(op.merge.base, op.merge.overlays, op.merge.ttl_decrements) for op in table.operators if op.merge]


def test_last_writer_in_chain_order_over_branches_that_are_chains() -> None:
    mark = ActionProfile(writes=frozenset({Field.IP_TOS}))
    chain = made(mark, mark, mark)
    root = Parallel((Series((Nf(0, "a"), Nf(2, "a"))), Nf(1, "a")), (FULL, SHARED), "a")
    assert merges(chain, root) == [(0, (), 0)]
    root = Parallel((Nf(0, "a"), Series((Nf(1, "a"), Nf(2, "a")))), (SHARED, HEADER), "a")
    assert merges(chain, root) == [(0, ((Field.IP_TOS, 1),), 0)]


def test_the_branch_that_changes_structure_is_the_base() -> None:
    vpn = ActionProfile(adds_header=True, reads=frozenset({Field.PAYLOAD}))
    mark = ActionProfile(writes=frozenset({Field.SRC_PORT}))
    root = Parallel((Nf(0, "a"), Nf(1, "a")), (SHARED, FULL), "a")
    assert merges(made(mark, vpn), root) == [(1, ((Field.SRC_PORT, 0),), 0)]


def test_decrements_of_other_branches_are_subtracted() -> None:
    router = ActionProfile(flags=frozenset({Flag.TTL_DEC}))
    root = Parallel((Nf(0, "a"), Series((Nf(1, "a"), Nf(2, "a"))), Nf(3, "a")), (SHARED, HEADER, HEADER), "a")
    assert merges(made(router, router, router, ActionProfile()), root) == [(0, (), 2)]


def test_a_network_function_missing_or_twice_is_refused() -> None:
    chain = chain_of("ids", "monitor")
    for root in (Nf(0, "a"), Series((Nf(0, "a"), Nf(0, "a"))), Series((Nf(0, "a"), Nf(2, "a")))):
        with pytest.raises(InvalidInputError) as caught:
            compile_plan(chain, root)
        assert caught.value.field == "root"


def check(chain: Chain, root: Node) -> None:
    """Check what any table must keep."""
    table = compile_plan(chain, root)
    assert [op.id for op in table.operators] == list(range(1, len(table.operators) + 1))
    assert len(table.operators) <= OPERATORS_MAX
    placed = sorted((op.nf_index, op.server) for op in table.operators if op.nf_index is not None)
    assert placed == sorted((leaf.index, leaf.server) for leaf in leaves(root))
    entering: dict[int, list[int]] = {}
    for op in table.operators:
        assert all(hop.operator > op.id for hop in op.next), "a table has no cycle"
        assert len(op.next) == (0 if op.kind == OperatorKind.EGRESS else len(op.next) or 1)
        assert (len(op.next) > 1) == (op.kind == OperatorKind.MIRROR)
        for hop in op.next:
            entering.setdefault(hop.operator, []).append(hop.branch)
    last = table.operators[-1]
    assert (last.kind, last.server) == (OperatorKind.EGRESS, CLASSIFIER)
    for op in table.operators[1:]:
        count = op.merge.branch_count if op.merge else 1
        assert sorted(entering[op.id]) == list(range(count))
        assert op.merge is None or (
            count > 1 and all(branch != op.merge.base for _, branch in op.merge.overlays)
        )


def test_every_small_graph_on_two_servers() -> None:
    """Exhaustive: four network functions without refusals, every assignment, every graph, every home."""
    chain = made(*[ActionProfile()] * 4)
    costs = planning_cost(chain, CostConstants())
    seen = 0
    for servers in (("a", "a", "b", "b"), ("a", "b", "a", "b"), ("a", "a", "a", "a")):
        for root in all_nodes(costs, servers, (0, 1, 2, 3)):
            check(chain, root)
            seen += 1
    assert seen > 400


@pytest.mark.parametrize("seed", range(40))
def test_full_parallel_chains_of_any_length(seed: int) -> None:
    rng = random.Random(seed)
    chain = random_chain(rng, rng.randint(1, 32))
    check(chain, full_parallel_root(chain, "a"))


def test_declared_writes_are_per_branch() -> None:
    chain = chain_of("ids", "load_balancer")
    table = compile_plan(chain, Parallel((Nf(0, "a"), Nf(1, "a")), (SHARED, HEADER), "a"))
    (merge,) = (op.merge for op in table.operators if op.merge)
    assert merge.writes == (frozenset(), writes_of(chain.nfs[1].profile))
