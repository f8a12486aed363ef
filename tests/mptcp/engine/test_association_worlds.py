"""The association against its dumb twin: all small worlds, and random ones."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.mptcp.engine.associator import Associator
from apps.mptcp.engine.config import AssociatorConfig
from apps.mptcp.engine.records import Has
from tests.mptcp.engine.association_twin import WHOLE, Part, Space, finals
from tests.support.mptcp_wire import SYN, Wire, partition

TOLERANCE = 2
CONFIG = AssociatorConfig(near_bytes=TOLERANCE, far_bytes=TOLERANCE)
# The second one's client has the higher address: its sides are turned.
FLOWS = tuple((f"10.{50 * (k % 2)}.0.{k + 1}", 1000 + k, "10.9.0.1", 443) for k in range(6))
Numbers = tuple[int, ...] | None
World = list[tuple[Space, Space, int | None]]  # numbers of both directions, token of a join


def engine_partition(world: World) -> frozenset[frozenset[str]]:
    wire = Wire()
    for flow, (up, down, token) in zip(FLOWS, world, strict=False):
        wire.put(flow, 0, tcp_flags=SYN, seq=7, has=int(Has.JOIN), address_id=1)
        if token is not None:
            wire.put(flow, 0, tcp_flags=SYN, seq=7, has=int(Has.JOIN | Has.TOKEN), token=token, address_id=1)
        for number in up or ():
            wire.data(flow, 0.1, number, size=0)
        for number in down or ():
            wire.ack(flow, 0.1, number)
    found = partition(wire.run(Associator(CONFIG)))
    names = {flow[1]: name for flow, name in zip(FLOWS, "abcdef", strict=True)}
    return frozenset(
        frozenset(names[key.a_port if key.a_port != 443 else key.b_port] for key, _ in part) for part in found
    )


def twin_parts(world: World) -> list[Part]:
    return [
        Part(
            frozenset({(name, 0)}),
            (up, down),
            tokens=(frozenset(), frozenset() if token is None else frozenset({token})),
        )
        for name, (up, down, token) in zip("abcdef", world, strict=False)
    ]


def shifted(numbers: Numbers, base: int) -> Space:
    if numbers is None:
        return None
    return (base + numbers[0]) % WHOLE, (base + numbers[-1]) % WHOLE


POINTS: tuple[Numbers, ...] = (None, (0,), (2,), (5,))
SPANS: tuple[Numbers, ...] = (None, (0,), (3,), (0, 3), (6, 9))


@pytest.mark.parametrize("token", [None, 9])
def test_all_worlds_of_two_subflows(token: int | None) -> None:
    """Token 9 is the second one's; with ``None`` the first is another's, or names none."""
    base = WHOLE - 3
    for numbers in product(SPANS, repeat=4):
        if str(numbers[:2]) <= str(numbers[2:]):
            up, down, up_2, down_2 = (shifted(one, base) for one in numbers)
            world: World = [(up, down, token), (up_2, down_2, 9)]
            assert engine_partition(world) in finals(twin_parts(world), TOLERANCE), world


def test_all_worlds_of_three_subflows() -> None:
    base = WHOLE - 2
    for numbers in product(POINTS, repeat=6):
        spaces = [shifted(one, base) for one in numbers]
        world: World = [
            (spaces[0], spaces[1], None),
            (spaces[2], spaces[3], None),
            (spaces[4], spaces[5], None),
        ]
        # Equal worlds under another order of subflows are tried once.
        if sorted(map(str, world)) == list(map(str, world)):
            assert engine_partition(world) in finals(twin_parts(world), TOLERANCE), world


spans = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 40)),
    st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1])),
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(spans, spans, st.sampled_from([None, None, 1, 2])), min_size=2, max_size=5),
    st.integers(0, WHOLE - 1),
)
def test_random_worlds(drawn: list[tuple[Numbers, Numbers, int | None]], base: int) -> None:
    world: World = [(shifted(up, base), shifted(down, base), token) for up, down, token in drawn]
    assert engine_partition(world) in finals(twin_parts(world), TOLERANCE)
