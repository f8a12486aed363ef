"""The compiled table of names against a twin of plain lists, in a small world where names collide often."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from apps.mptcp.engine import names_kernel
from apps.mptcp.engine.compiling import compiled
from apps.mptcp.engine.config import AssociatorConfig
from apps.mptcp.engine.domain import Domain
from apps.mptcp.engine.hard_links import HardLinks
from apps.mptcp.engine.names_kernel import put

ROWS = 5
rows, sides, numbers = st.integers(0, ROWS - 1), st.integers(0, 1), st.integers(1, 4)
kinds = st.integers(0, names_kernel.KINDS - 1)
holds = st.tuples(st.just("hold"), kinds, numbers, rows, sides)
leaves = st.tuples(st.just("leave"), rows, st.integers(-1, ROWS - 1), sides)


@compiled
def put_name(names: Any, kind: int, number: Any, row: int, side: int) -> None:
    """Let Python call what is part of compiled functions."""
    put(names, kind, number, row, side, np.uint64(0))


def hold(hard: HardLinks, kind: int, number: int, row: int, side: int) -> None:
    """Let a row's side hold a name."""
    hard.make_room()
    names = (hard.slots, hard.holders, hard.of_row, hard.counts)
    put_name(names, kind, np.uint64(number), row, side)


class Twin:
    """Who holds which name: one list, oldest first."""

    def __init__(self) -> None:
        self.held: list[tuple[int, int, int, int]] = []  # kind, number, row, side

    def hold(self, kind: int, number: int, row: int, side: int) -> None:
        if (kind, number, row, side) not in self.held:
            self.held.append((kind, number, row, side))

    def leave(self, row: int, heir: int, flip: int) -> None:
        gone = [one for one in self.held if one[2] == row]
        for kind, number, _, side in gone:
            self.held.remove((kind, number, row, side))
            if heir >= 0:
                self.hold(kind, number, heir, side ^ flip)


def chains(hard: HardLinks) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return (row, side) of each name's holders in the order of its list, checked in both directions."""
    found = {}
    for index in range(int(hard.counts[names_kernel.HOLDERS_USED])):
        first = hard.holders[index]
        if first["row"] < 0 or first["before"] >= 0:
            continue
        members, at, before = [], index, -1
        while at >= 0:
            one = hard.holders[at]
            assert one["before"] == before
            members.append((int(one["row"]), int(one["side"])))
            before, at = at, int(one["following"])
        assert first["last"] == before
        name = (int(first["kind"]), int(first["number"]))
        assert name not in found, "a name has one list"
        found[name] = members
    return found


@given(st.lists(st.one_of(holds, leaves), max_size=60), st.booleans())
def test_names_are_held_and_passed_on_as_by_the_twin(
    steps: list[tuple[str, int, int, int, int]], is_rehashed: bool
) -> None:
    hard, twin = Domain(AssociatorConfig()).hard, Twin()
    hard.grow(ROWS)
    for what, *values in steps:
        if what == "hold":
            kind, number, row, side = values
            hold(hard, kind, number, row, side)
            twin.hold(kind, number, row, side)
        else:
            row, heir, flip = values
            hard.forget(row, heir if heir != row else -1, flip)
            twin.leave(row, heir if heir != row else -1, flip)
        if is_rehashed:
            hard.rehash()
    wanted: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for kind, number, row, side in twin.held:
        wanted.setdefault((kind, number), []).append((row, side))
    assert chains(hard) == wanted
    assert hard.name_count == len(wanted)
    tokens = [[row, number, side] for row, number, side in sorted(hard.tokens_of(np.arange(ROWS)))]
    assert tokens == sorted(
        [row, number, side] for kind, number, row, side in twin.held if kind == names_kernel.TOKEN
    )


def test_many_names_find_room() -> None:
    hard = Domain(AssociatorConfig()).hard
    hard.grow(1)
    for number in range(20_000):
        hold(hard, names_kernel.TOKEN, number, 0, number & 1)
        if hard.name_count > 500:
            hard.forget(0, -1, 0)
    assert hard.name_count == 20_000 % 501
    assert len(hard.holders) < 20_000, "holders that are free are taken again"
