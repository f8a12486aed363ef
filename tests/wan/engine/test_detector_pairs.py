"""Two gateways in simulated time: failures are seen at both ends and in time, pauses and restarts are no failures."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.wan.engine.detector import AllSilent, DetectorConfig, HearingAgain, LinkUp
from tests.wan.engine.two_gateways import OFFSET_S, STEP_S, Cut, End, Pause, Restart, World, simulate

BRANCH = {"fiber": (0.005, 0.005), "dsl": (0.015, 0.015), "lte": (0.030, 0.030)}
CONFIG = DetectorConfig(hold_base_s=0.2, hold_max_s=1.0)
INTERVAL_S = CONFIG.interval_ms / 1000
PATIENCE_S = CONFIG.multiplier * INTERVAL_S
FAULT_S = 1.5
BOTH = ("ab", "ba")

delays = st.floats(0.0, 0.09)
networks = st.fixed_dictionaries({name: st.tuples(delays, delays) for name in BRANCH})
phases = st.floats(0.0, 0.0095)
few = settings(max_examples=10, deadline=None)


def no_failure(ends: tuple[End, End]) -> bool:
    return not any(end.downs() for end in ends)


def all_up(ends: tuple[End, End], links: object) -> bool:
    return all(end.detector.up - end.detector.unknown == set(links) for end in ends)  # type: ignore[call-overload]


@pytest.mark.parametrize("link", BRANCH)
@pytest.mark.parametrize(("directions", "expected"), [(("ab",), ("tx", "rx")), (("ba",), ("rx", "tx"))])
def test_a_one_way_failure_is_seen_at_both_ends_with_its_direction(
    link: str, directions: tuple[str, ...], expected: tuple[str, str]
) -> None:
    ends = simulate(World(BRANCH, CONFIG, [Cut(link, directions, FAULT_S)]), 2.5)
    assert [[(name, direction) for _, name, direction in end.downs()] for end in ends] == [
        [(link, expected[0])],
        [(link, expected[1])],
    ]


def latest_detection_s(world: World, link: str, receiver: str) -> float:
    """Return when the receiving end must know: patience after the last probe on its way, or the slowest voucher."""
    way = 0 if receiver == "b" else 1
    others = [pair[way] for name, pair in world.delays_s.items() if name != link]
    return FAULT_S + PATIENCE_S + max(world.delays_s[link][way], min(others)) + INTERVAL_S + 2 * STEP_S


@given(networks, st.sampled_from(sorted(BRANCH)), st.sampled_from([("ab",), ("ba",), BOTH]), phases)
@few
def test_both_ends_know_within_detection_time_and_one_way(
    network: dict[str, tuple[float, float]], link: str, directions: tuple[str, ...], phase_s: float
) -> None:
    world = World(network, CONFIG, [Cut(link, directions, FAULT_S)], phase_s=phase_s)
    a, b = simulate(world, 2.3)
    assert [[name for _, name, _ in end.downs()] for end in (a, b)] == [[link], [link]]
    sees_itself = [end for end, way in ((a, "ba"), (b, "ab")) if way in directions]
    for end in sees_itself:
        assert FAULT_S < end.downs()[0][0] <= latest_detection_s(world, link, end.name)
    for end in (a, b):
        if end not in sees_itself:
            told_by = b if end is a else a
            way = 1 if end is a else 0
            others = [pair[way] for name, pair in network.items() if name != link]
            one_way_s = min(others) + INTERVAL_S + 2 * STEP_S
            assert end.downs()[0][0] <= told_by.downs()[0][0] + one_way_s


@given(networks, st.sampled_from("ab"), st.floats(0.001, 0.6), phases, st.integers(0, 99))
@few
def test_a_pause_of_one_end_is_no_failure_for_either(
    network: dict[str, tuple[float, float]], end: str, pause_s: float, phase_s: float, seed: int
) -> None:
    pause = Pause(end, FAULT_S, FAULT_S + pause_s)
    world = World(network, CONFIG, pauses=[pause], phase_s=phase_s, jitter_s=0.004, seed=seed)
    ends = simulate(world, 2.5)
    assert no_failure(ends)
    assert all_up(ends, network)


@given(networks, st.floats(0.001, 0.3), st.floats(0.001, 0.3))
@few
def test_pauses_of_both_ends_are_no_failure(
    network: dict[str, tuple[float, float]], first_s: float, second_s: float
) -> None:
    pauses = [Pause("a", FAULT_S, FAULT_S + first_s), Pause("b", FAULT_S + 0.05, FAULT_S + 0.05 + second_s)]
    assert no_failure(simulate(World(network, CONFIG, pauses=pauses), 2.3))


@given(networks, st.floats(0.0, 3.0))
@few
def test_a_peer_that_starts_later_is_no_failure(
    network: dict[str, tuple[float, float]], later_s: float
) -> None:
    ends = simulate(World(network, CONFIG, pauses=[Pause("b", 0.0, later_s)]), later_s + 0.5)
    assert no_failure(ends)
    assert all_up(ends, network)


@given(networks, st.floats(0.3, 0.8), st.sampled_from([OFFSET_S["b"], 20.0, 2e6]))
@few
def test_a_restarted_peer_is_no_failure_whatever_its_clock(
    network: dict[str, tuple[float, float]], gone_s: float, offset_s: float
) -> None:
    restart = Restart("b", FAULT_S + gone_s, offset_s)
    world = World(network, CONFIG, pauses=[Pause("b", FAULT_S, FAULT_S + gone_s)], restart=restart)
    ends = simulate(world, 3.0)
    assert no_failure(ends)
    assert all_up(ends, network)


@pytest.mark.parametrize("offset_s", [OFFSET_S["b"], 20.0, 2e6])
def test_a_link_that_broke_while_the_peer_was_away_is_found(offset_s: float) -> None:
    """One way only, from b to a: no word of b can help, a must see by itself that the fiber stays silent."""
    world = World(
        BRANCH,
        CONFIG,
        [Cut("fiber", ("ba",), FAULT_S + 0.2)],
        [Pause("b", FAULT_S, FAULT_S + 0.5)],
        Restart("b", FAULT_S + 0.5, offset_s),
    )
    a, b = simulate(world, 2.5)
    assert [(name, direction) for _, name, direction in a.downs()] == [("fiber", "rx")]
    assert [(name, direction) for _, name, direction in b.downs()] == [("fiber", "tx")]


@pytest.mark.parametrize("hold_base_s", [0.1, 1.0])
def test_a_peer_that_restarts_during_a_one_way_failure_does_not_make_us_trust_the_link(
    hold_base_s: float,
) -> None:
    """It does not yet know what it does not hear; only an echo of our own probe proves that it hears us."""
    config = DetectorConfig(hold_base_s=hold_base_s)
    world = World(
        BRANCH,
        config,
        [Cut("fiber", ("ab",), FAULT_S, 4.5)],
        [Pause("b", 2.0, 2.5)],
        Restart("b", 2.5, OFFSET_S["b"]),
    )
    a, _ = simulate(world, 4.4)
    assert [name for _, name, _ in a.downs()] == ["fiber"]
    assert a.detector.snapshot()["fiber"]["state"] == "down"
    ends = simulate(world, 6.5)
    assert all_up(ends, BRANCH)


@given(networks, phases, st.integers(0, 99))
@few
def test_a_cut_of_everything_moves_nothing_and_is_told_once(
    network: dict[str, tuple[float, float]], phase_s: float, seed: int
) -> None:
    cuts = [Cut(name, BOTH, FAULT_S, 2.0) for name in BRANCH]
    for end in simulate(World(network, CONFIG, cuts, phase_s=phase_s, jitter_s=0.003, seed=seed), 2.5):
        kinds = [type(action) for at_s, action in end.log if at_s > 1.0]
        assert kinds == [AllSilent, HearingAgain]
        assert end.detector.up == set(BRANCH)


def test_a_healed_link_is_held_down_and_comes_back_at_both_ends() -> None:
    ends = simulate(World(BRANCH, CONFIG, [Cut("fiber", BOTH, FAULT_S, 2.5)]), 3.5)
    for end in ends:
        ups = [action for at_s, action in end.log if isinstance(action, LinkUp) and at_s > 1.0]
        assert [(up.link, up.hold_down_s) for up in ups] == [("fiber", 0.2)]
        assert ups[0].down_s >= 1.0 + CONFIG.clean_count * INTERVAL_S - PATIENCE_S
    assert all_up(ends, BRANCH)


def test_a_peer_that_often_pauses_does_not_keep_a_healed_link_down() -> None:
    """A pause is no silence of the link: it must not start the hold-down anew."""
    pauses = [Pause("b", 2.0 + at * 0.35, 2.06 + at * 0.35) for at in range(12)]
    config = DetectorConfig(hold_base_s=1.0)
    a, _ = simulate(World(BRANCH, config, [Cut("fiber", BOTH, 1.5, 1.9)], pauses), 4.5)
    assert a.detector.up == set(BRANCH)


@given(st.lists(st.tuples(st.sampled_from(sorted(BRANCH)), st.sampled_from([("ab",), ("ba",), BOTH]),
    st.floats(0.5, 2.5), st.floats(0.05, 1.0)), max_size=5), st.integers(0, 99))  # fmt: skip
@few
def test_whatever_breaks_and_heals_in_the_end_both_agree_that_all_is_well(
    faults: list[tuple[str, tuple[str, ...], float, float]], seed: int
) -> None:
    cuts = [Cut(link, ways, from_s, from_s + lasts_s) for link, ways, from_s, lasts_s in faults]
    ends = simulate(World(BRANCH, CONFIG, cuts, jitter_s=0.005, seed=seed), 6.0)
    assert all_up(ends, BRANCH)
    for end in ends:
        for name in BRANCH:
            changes = [type(action) for _, action in end.log if getattr(action, "link", None) == name]
            assert all(one is not other for one, other in pairwise(changes))
