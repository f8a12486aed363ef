"""The map of virtual subnets against its rules, an exhaustive small world, and rendezvous written another way."""

import hashlib
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.wan.engine.map_planner import LinkWeight, MapPlan, Move, plan_home, plan_map

NAMES = ("dsl", "fiber", "lte", "sat")
names = st.sampled_from(NAMES)
links_of = st.dictionaries(names, st.integers(1, 10**12), min_size=1).map(
    lambda weights: [LinkWeight(name, weight) for name, weight in weights.items()]
)
maps = st.dictionaries(st.integers(1, 8), names)


def rendezvous(index: int, links: list[LinkWeight]) -> str:
    """Return the winner by the race that weighted rendezvous is: the shortest exponential time, rate = weight."""

    def time_of(link: LinkWeight) -> float:
        digest = hashlib.blake2s(f"{index}|{link.name}".encode(), digest_size=8).digest()
        return -math.log((int.from_bytes(digest) + 0.5) / 2**64) / link.weight

    return min(links, key=lambda link: (time_of(link), link.name)).name


def twin(
    index: int,
    links: list[LinkWeight],
    up: set[str],
    home: dict[int, str],
    current: dict[int, str],
    advice: dict[int, str],
) -> str:
    """Return a subnet's link by the sentences of ``plan_map``, one after the other."""
    known = {link.name for link in links}
    alive = [link for link in links if link.name in up]
    if not alive:
        for choice in (current, home):
            if index in choice:
                return choice[index] if choice[index] in known else rendezvous(index, links)
        return rendezvous(index, links)
    for choice in (home, advice):
        if choice.get(index) in up & known:
            return choice[index]
    return rendezvous(index, alive)


@given(links_of, st.sets(names), maps, maps, maps)
def test_as_the_twin_with_its_own_rendezvous(
    links: list[LinkWeight],
    up: set[str],
    home: dict[int, str],
    current: dict[int, str],
    advice: dict[int, str],
) -> None:
    plan = plan_map(range(1, 9), links, up, home, current, advice)
    assert plan.mapping == {index: twin(index, links, up, home, current, advice) for index in range(1, 9)}
    assert plan.is_stranded == (not up & {link.name for link in links})
    assert {(move.index, move.from_link, move.to_link) for move in plan.moves} == {
        (index, current.get(index, ""), plan.mapping[index])
        for index in plan.mapping
        if plan.mapping[index] != current.get(index)
    }


@given(links_of, st.sets(names), maps, maps, st.randoms(use_true_random=False))
def test_both_gateways_plan_the_same_whatever_the_order(
    links: list[LinkWeight], up: set[str], home: dict[int, str], current: dict[int, str], rng: object
) -> None:
    shuffled, subnets = list(links), list(range(1, 9))
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    rng.shuffle(subnets)  # type: ignore[attr-defined]
    one = plan_map(range(1, 9), links, up, home, current)
    assert dict(plan_map(subnets, shuffled, sorted(up), home, current).mapping) == dict(one.mapping)


@given(links_of, st.sets(names), maps, maps, maps)
def test_a_plan_carried_out_needs_no_further_move(
    links: list[LinkWeight],
    up: set[str],
    home: dict[int, str],
    current: dict[int, str],
    advice: dict[int, str],
) -> None:
    plan = plan_map(range(1, 9), links, up, home, current, advice)
    assert plan_map(range(1, 9), links, up, home, plan.mapping, advice).moves == ()


def worlds() -> list[tuple[dict[int, str], set[str]]]:
    homes = [dict(enumerate(home, 1)) for home in itertools.product(NAMES[:3], repeat=3)]
    ups = [set(up) for size in range(1, 4) for up in itertools.combinations(NAMES[:3], size)]
    return list(itertools.product(homes, ups))


def test_in_every_small_world_a_failure_moves_only_its_own_subnets_and_a_return_brings_them_home() -> None:
    links = [LinkWeight(name, weight) for name, weight in zip(NAMES[:3], (20, 50, 10), strict=True)]
    moved = 0
    for home, up in worlds():
        before = plan_map([1, 2, 3], links, up, home, home).mapping
        assert set(before.values()) <= up
        for failed in up:
            after = plan_map([1, 2, 3], links, up - {failed}, home, before)
            moved += len(after.moves)
            if up == {failed}:
                assert after == MapPlan(before, (), is_stranded=True), "a path that may come back beats none"
                continue
            assert {move.from_link for move in after.moves} <= {failed}
            assert failed not in after.mapping.values()
            back = plan_map([1, 2, 3], links, up, home, after.mapping)
            assert dict(back.mapping) == dict(before)
    assert moved > 100


def test_the_surviving_links_share_by_weight() -> None:
    """Weights are ratios of chances: of many subnets without a home, each link gets its share."""
    links = [LinkWeight("fiber", 50), LinkWeight("dsl", 30), LinkWeight("lte", 20)]
    chosen = list(plan_map(range(4000), links, {"fiber", "dsl", "lte"}, {}, {}).mapping.values())
    for link in links:
        assert chosen.count(link.name) / 4000 == pytest.approx(link.weight / 100, abs=0.03)


def test_advice_counts_only_while_home_is_down() -> None:
    links = [LinkWeight(name, 1) for name in NAMES]
    home, advice = {1: "fiber"}, {1: "sat"}
    assert plan_map([1], links, NAMES, home, home, advice).moves == ()
    without = set(NAMES) - {"fiber"}
    assert plan_map([1], links, without, home, home, advice).moves == (Move(1, "fiber", "sat"),)
    assert plan_map([1], links, without, home, home, {1: "moon"}).mapping[1] in without


@given(links_of, st.sets(st.integers(1, 64)))
def test_a_home_map_uses_every_link_strongest_first(links: list[LinkWeight], subnets: set[int]) -> None:
    home = plan_home(list(subnets), links)
    assert home.keys() == subnets
    strongest = sorted(links, key=lambda link: (-link.weight, link.name))
    first = [home[index] for index in sorted(subnets)[: len(links)]]
    assert first == [link.name for link in strongest[: len(subnets)]]
    assert all(home[index] == rendezvous(index, links) for index in sorted(subnets)[len(links) :])
