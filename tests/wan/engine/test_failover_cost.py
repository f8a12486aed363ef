"""What a failover cost, against a loop over milliseconds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.wan.engine.failover_cost import FailoverCost, failover_cost

BIN_MS = 10
RATE_BPS = 8_000_000
FULL = RATE_BPS * BIN_MS // 8000  # bytes in a full bin
CUT_S = 100.0


def cost(bins: list[float], window_s: float = 2.0, shift_s: float = 0.0) -> FailoverCost:
    """Return the cost of these bins after the cut, with full ones before it."""
    values = [FULL] * 20 + bins
    starts = [CUT_S + shift_s + (at - 20) * BIN_MS / 1000 for at in range(len(values))]
    return failover_cost(starts, values, CUT_S, RATE_BPS, window_s)


def twin(bins: list[float], window_ms: int) -> FailoverCost:
    """Return the cost by walking through the window millisecond by millisecond."""

    def rate(ms: int) -> float:
        at = ms // BIN_MS
        return bins[at] / BIN_MS if at < len(bins) else 0.0

    delivered, silence, stall = 0.0, 0, 0
    for ms in range(window_ms):
        delivered += rate(ms)
        silence = 0 if rate(ms) else silence + 1
        stall = max(stall, silence)
    per_ms = RATE_BPS / 8000
    lost_ms = max(0.0, window_ms - delivered / per_ms)
    transport_ms = None
    for ms in range(0, window_ms - 50 + 1, BIN_MS):
        if rate(ms) and sum(rate(later) for later in range(ms, ms + 50)) >= 0.9 * 50 * per_ms - 1e-6:
            transport_ms = float(ms)
            break
    return FailoverCost(float(stall), lost_ms, transport_ms)


bins_of = st.lists(st.sampled_from([0, 0, 1, FULL // 2, FULL, FULL, 2 * FULL]), max_size=60)


@given(bins_of, st.integers(5, 50))
@settings(deadline=None)
def test_as_the_loop_over_milliseconds(bins: list[float], window_bins: int) -> None:
    got, expected = cost(bins, window_bins / 100), twin(bins, window_bins * BIN_MS)
    assert got.stall_ms == expected.stall_ms
    assert got.lost_ms == pytest.approx(expected.lost_ms, abs=1e-3)
    assert got.transport_ms == expected.transport_ms


@given(bins_of, st.floats(-0.0049, 0.0049))
def test_a_cut_inside_a_bin_counts_as_at_its_nearer_edge(bins: list[float], shift_s: float) -> None:
    assert cost(bins, 0.5, shift_s) == cost(bins, 0.5)


@given(bins_of, st.data())
def test_a_missing_bin_is_an_empty_bin(bins: list[float], data: st.DataObject) -> None:
    values = [float(FULL)] * 3 + [float(size) for size in bins]
    starts = [CUT_S + (at - 3) * BIN_MS / 1000 for at in range(len(values))]
    kept = [at for at in range(len(values)) if values[at] or at < 3 or data.draw(st.booleans())]
    sparse = failover_cost([starts[at] for at in kept], [values[at] for at in kept], CUT_S, RATE_BPS, 0.5)
    assert sparse == failover_cost(starts, values, CUT_S, RATE_BPS, 0.5)


def test_an_unnoticed_cut_costs_nothing() -> None:
    assert cost([FULL] * 200) == FailoverCost(0.0, 0.0, 0.0)


def test_more_than_expected_is_no_gain() -> None:
    assert cost([2 * FULL] * 200).lost_ms == 0.0


def test_nothing_ever_arrives_again() -> None:
    assert cost([]) == FailoverCost(2000.0, 2000.0, None)


def test_no_bins_at_all_lose_the_whole_window() -> None:
    assert failover_cost([], [], CUT_S, RATE_BPS) == FailoverCost(2000.0, 2000.0, None)


def test_a_trickle_is_no_stall_and_no_recovery() -> None:
    trickle = cost([1] * 100 + [FULL] * 100)
    assert trickle.stall_ms == 0
    assert trickle.transport_ms == 1000, "from 990 ms on, four of five bins are full: not 90 %"
