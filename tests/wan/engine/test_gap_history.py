"""The gap percentile against a twin that keeps every gap and sorts."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.wan.engine.gap_history import MAX_INTERVALS, MIN_SAMPLES, SLOT_S, SLOTS, GapHistory

INTERVAL_S = 0.01


def history() -> GapHistory:
    return GapHistory(INTERVAL_S, started_s=0.0)


def fill(gaps: GapHistory, intervals: int, count: int, at_s: float) -> None:
    for _ in range(count):
        gaps.add(intervals * INTERVAL_S - 1e-9, at_s)


def twin(arrivals: list[tuple[int, int, int]]) -> int:
    """Return the percentile at the newest slot's start: of the gaps in the eleven slots before it, sorted."""
    newest = arrivals[-1][0]
    kept = sorted(
        intervals
        for slot, intervals, count in arrivals
        for _ in range(count)
        if newest - SLOTS < slot < newest and intervals <= MAX_INTERVALS
    )
    if len(kept) < MIN_SAMPLES:
        return 0
    return kept[len(kept) - 1 - math.floor(Fraction(len(kept), 1000))]


def test_a_regular_link_needs_no_patience_beyond_its_interval() -> None:
    gaps = history()
    fill(gaps, 1, 1000, at_s=1.0)
    fill(gaps, 1, 1, at_s=SLOT_S)
    assert gaps.p999_intervals == 1


def test_too_few_gaps_tell_nothing() -> None:
    gaps = history()
    fill(gaps, 4, MIN_SAMPLES - 1, at_s=1.0)
    fill(gaps, 4, 1, at_s=SLOT_S)
    assert gaps.p999_intervals == 0


@pytest.mark.parametrize(("late_count", "expected"), [(1, 1), (2, 5)])
def test_one_in_a_thousand_may_be_later(late_count: int, expected: int) -> None:
    gaps = history()
    fill(gaps, 1, 1000 - late_count, at_s=1.0)
    fill(gaps, 5, late_count, at_s=1.0)
    fill(gaps, 1, 1, at_s=SLOT_S)
    assert gaps.p999_intervals == expected


def test_a_failure_is_not_a_habit() -> None:
    gaps = history()
    fill(gaps, 1, 1000, at_s=1.0)
    fill(gaps, MAX_INTERVALS + 1, 500, at_s=1.0)
    fill(gaps, 1, 1, at_s=SLOT_S)
    assert gaps.p999_intervals == 1


def test_a_bad_time_is_forgotten_after_a_minute() -> None:
    gaps = history()
    fill(gaps, 9, 1000, at_s=1.0)
    seen = []
    for slot in range(1, SLOTS + 2):
        fill(gaps, 1, 1000, at_s=slot * SLOT_S)
        seen.append(gaps.p999_intervals)
    assert seen == [9] * (SLOTS - 1) + [1, 1]


slots = st.lists(
    st.tuples(
        st.integers(0, 3 * SLOTS),
        st.integers(0, MAX_INTERVALS + 3),
        st.sampled_from([1, 2, 7, 499, 500, 1000]),
    ),
    min_size=1,
    max_size=8,
)


@given(slots)
@settings(max_examples=30, deadline=None)
def test_as_the_twin_that_keeps_and_sorts(arrivals: list[tuple[int, int, int]]) -> None:
    gaps = history()
    arrivals.sort(key=lambda arrival: arrival[0])
    for slot, intervals, count in arrivals:
        fill(gaps, intervals, count, at_s=slot * SLOT_S)
    assert gaps.p999_intervals == twin(arrivals)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_any_gap_at_any_time_is_taken(gap_s: float, at_s: float) -> None:
    gaps = history()
    gaps.add(gap_s, at_s)
    assert gaps.p999_intervals == 0
