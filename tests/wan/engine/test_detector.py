"""One detector: every short history of a small world, its deadlines, flap damping, adaptive patience."""

import copy
import itertools
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.wan.engine.detector import (
    Action,
    AllSilent,
    Detector,
    DetectorConfig,
    HearingAgain,
    LinkDown,
    LinkUp,
    ProbeHeard,
)

INTERVAL_S = 0.01
SMALL = DetectorConfig(multiplier=2, clean_count=1, hold_base_s=INTERVAL_S, startup_s=2 * INTERVAL_S)

# What arrives in one interval: the links heard, and whether the peer says that it does not hear link a.
SYMBOLS = {"-": ("", False), "a": ("a", False), "b": ("b", False), "2": ("ab", False), "!": ("ab", True)}


def live(
    config: DetectorConfig, history: Sequence[str]
) -> Iterator[tuple[Detector, float, tuple[Action, ...]]]:
    """Yield the detector, the time and the actions after each interval."""
    detector = Detector("ab", config, 0.0)
    for at, symbol in enumerate(history, 1):
        now_s = at * INTERVAL_S
        heard, is_unheard = SYMBOLS[symbol]
        actions: list[Action] = []
        for link in heard:
            report = frozenset("a") if is_unheard else frozenset[str]()
            actions.extend(detector.step(ProbeHeard(link, now_s, now_s, report), now_s))
        yield detector, now_s, (*actions, *detector.tick(now_s))


def after(config: DetectorConfig, history: Sequence[str]) -> tuple[Detector, float]:
    """Return the detector and the time at the end of a history."""
    detector, now_s, _ = list(live(config, history))[-1]
    return detector, now_s


def check_down(action: LinkDown, history: Sequence[str]) -> None:
    """Assert that a failure has its proof: silence with a voucher, or a report."""
    recent = history[-SMALL.multiplier :]
    other = "b" if action.link == "a" else "a"
    if "!" in recent and action.link == "a":
        return
    assert action.direction == "rx"
    assert not any(action.link in SYMBOLS[symbol][0] for symbol in recent), "heard, and yet called silent"
    assert any(other in SYMBOLS[symbol][0] for symbol in recent), "nobody vouches"


@pytest.mark.parametrize("first", ["2", "-", "a"])
def test_every_short_history_keeps_the_rules(first: str) -> None:
    seen: set[type] = set()
    for rest in itertools.product(SYMBOLS, repeat=5):
        history = (first, *rest)
        links: dict[str, list[type]] = {"a": [], "b": []}
        silences: list[type] = []
        for at, (detector, now_s, actions) in enumerate(live(SMALL, history), 1):
            assert detector.next_deadline_s(now_s) > now_s, "the prober would spin"
            for action in actions:
                seen.add(type(action))
                if isinstance(action, LinkDown | LinkUp):
                    links[action.link].append(type(action))
                else:
                    silences.append(type(action))
                if isinstance(action, LinkDown):
                    check_down(action, history[:at])
            states = detector.snapshot()
            assert detector.up == {name for name in "ab" if states[name]["state"] in ("up", "unknown")}
        for changes in links.values():
            assert all(one is not other for one, other in itertools.pairwise(changes)), history
        assert silences == [AllSilent, HearingAgain][: len(silences)] or len(silences) > 2, history
    assert LinkDown in seen
    assert first != "2" or seen == {LinkDown, LinkUp, AllSilent, HearingAgain}


def test_no_link_fails_while_nothing_is_heard() -> None:
    for start in itertools.product("ab2", repeat=3):
        for at, (_, _, actions) in enumerate(live(SMALL, (*start, *"----------")), 1):
            if at > len(start) + SMALL.multiplier:
                assert not any(isinstance(action, LinkDown | LinkUp) for action in actions)


def test_a_single_link_is_never_called_down() -> None:
    detector = Detector(["only"], DetectorConfig(), 0.0)
    detector.step(ProbeHeard("only", 0.01, 0.01), 0.01)
    actions = [action for at in range(2, 500) for action in detector.tick(at * INTERVAL_S)]
    assert [type(action) for action in actions] == [AllSilent]
    assert detector.up == {"only"}


changes = (LinkDown, LinkUp)
CONFIG = DetectorConfig(clean_count=2, hold_base_s=0.035)


def ticked(detector: Detector, times: Sequence[float]) -> list[tuple[type, str]]:
    twin = copy.deepcopy(detector)
    return [
        (type(action), action.link)
        for now_s in times
        for action in twin.tick(now_s)
        if isinstance(action, LinkDown | LinkUp)
    ]


@given(st.lists(st.sampled_from(sorted(SYMBOLS)), min_size=1, max_size=40))
@settings(deadline=None)
def test_between_now_and_the_deadline_nothing_is_decided_and_at_it_nothing_was_missed(
    history: list[str],
) -> None:
    detector, now_s = after(CONFIG, history)
    deadline_s = min(detector.next_deadline_s(now_s), now_s + 0.1)
    before_s = deadline_s - 1e-6
    whole = [now_s + at * INTERVAL_S for at in range(1, 11) if now_s + at * INTERVAL_S < before_s]
    fine = [now_s + at * INTERVAL_S / 8 for at in range(1, 81) if now_s + at * INTERVAL_S / 8 < before_s]
    assert ticked(detector, fine) == []
    assert ticked(detector, [*whole, deadline_s]) == ticked(detector, [*fine, deadline_s])


def test_the_deadline_is_when_the_link_fails() -> None:
    detector, now_s = after(DetectorConfig(), "222bb")
    deadline_s = detector.next_deadline_s(now_s)
    assert deadline_s == pytest.approx(0.03 + 3 * INTERVAL_S)
    assert ticked(detector, [deadline_s - 1e-6]) == []
    assert ticked(detector, [deadline_s]) == [(LinkDown, "a")]


def test_hold_downs_double_to_their_maximum_and_failures_are_forgotten() -> None:
    config = DetectorConfig(hold_base_s=0.1, hold_max_s=0.5, clean_count=5, flap_memory_s=20.0)
    cycle = "b" * 25 + "2" * 80
    history = cycle * 6 + "2" * 2200 + cycle
    ups = [
        action
        for _, _, actions in live(config, "2" + history)
        for action in actions
        if isinstance(action, LinkUp) and action.down_s
    ]
    assert [up.hold_down_s for up in ups] == [0.1, 0.2, 0.4, 0.5, 0.5, 0.5, 0.1]
    for up in ups:
        assert up.down_s == pytest.approx(0.22 + 0.05 + up.hold_down_s, abs=0.021)


def test_a_link_that_fails_in_hold_down_stays_down_without_a_word() -> None:
    config = DetectorConfig(hold_base_s=0.3, clean_count=3)
    actions = [
        action
        for _, _, actions in live(config, "2" * 3 + "b" * 5 + "2" * 20 + "b" * 5 + "2" * 50)
        for action in actions
        if getattr(action, "link", "") == "a"
    ]
    assert [type(action) for action in actions] == [LinkUp, LinkDown, LinkUp]
    assert isinstance(actions[-1], LinkUp)
    assert actions[-1].down_s > 0.3 + 20 * INTERVAL_S


def test_patience_grows_with_the_gaps_of_the_link() -> None:
    """A link that delivers every fourth interval only for seconds is given five before it counts as silent."""
    history = "2bbb" * 800
    assert after(DetectorConfig(multiplier=10), history)[0].snapshot()["a"]["multiplier"] == 10
    states = after(DetectorConfig(multiplier=4), history)[0].snapshot()
    assert states["b"]["multiplier"] == 4
    assert states["a"]["multiplier"] in (5, 6), "four intervals, or a rounding error more, and one"


def test_our_own_late_tick_makes_patience_begin_anew() -> None:
    detector = Detector("ab", DetectorConfig(), 0.0)
    for at in (1, 2, 3):
        for link in "ab":
            detector.step(ProbeHeard(link, at * INTERVAL_S, at * INTERVAL_S), at * INTERVAL_S)
        detector.tick(at * INTERVAL_S)
    for at in range(4, 14):  # arrived during our pause, on b only: a's are still in a paused network
        detector.step(ProbeHeard("b", at * INTERVAL_S, at * INTERVAL_S), 0.13)
    assert detector.tick(0.13) == ()
    assert detector.next_deadline_s(0.13) == pytest.approx(0.16)
