"""Groups of the fabric: only where they save something, one address per path, epoch and mirror."""

from hypothesis import given
from hypothesis import strategies as st

from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, NfInstance
from apps.chains.engine.compile import CLASSIFIER, compile_plan
from apps.chains.engine.hybrid import Copy, Nf, Parallel
from apps.chains.engine.operators import OperatorTable
from apps.chains.engine.steering import group_mac, groups_of, switch_groups


def table_of(*servers: str) -> OperatorTable:
    """Return monitors side by side, one per server named."""
    monitor = CATALOGUE["monitor"]
    nfs = tuple(
        NfInstance(f"m{number}", "monitor", monitor.profile, monitor.service)
        for number in range(len(servers))
    )
    branches = tuple(Nf(index, server) for index, server in enumerate(servers))
    copies = (Copy.SHARED, *[Copy.FULL] * (len(servers) - 1))
    return compile_plan(Chain("t", nfs, 100), Parallel(branches, copies, servers[0]))


def test_a_group_is_for_two_other_servers_or_more() -> None:
    assert list(groups_of(table_of("a", "a"), 7, 1)) == []
    (group,) = groups_of(table_of("a", "b", "c"), 7, 1)
    assert group.mac == group_mac(7, 1, group.operator)
    assert group.members == ("a", "b", "c"), "mirrored at the classifier, so all are elsewhere"


def test_a_switch_gets_the_ports_it_has_and_floods_what_it_cannot_know() -> None:
    groups = list(groups_of(table_of("a", "b"), 7, 1))
    assert switch_groups(groups, {"a": "p1", "b": "p2", CLASSIFIER: "p0"}) == {groups[0].mac: ("p1", "p2")}
    assert switch_groups(groups, {"a": "p1"}) == {}


@given(
    st.tuples(st.integers(1, (1 << 24) - 1), st.integers(1, 200), st.integers(1, 255)),
    st.tuples(st.integers(1, (1 << 24) - 1), st.integers(1, 200), st.integers(1, 255)),
)
def test_addresses_differ_and_are_groups(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert (group_mac(*one) == group_mac(*other)) == (one == other)
    assert int(group_mac(*one)[:2], 16) & 3 == 3
