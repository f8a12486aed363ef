"""Round-trip time, jitter and loss of a window against plain recounting."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.wan.engine.link_quality import LinkQuality, Quality

WINDOW_S, INTERVAL_MS = 0.25, 10.0


def heard(quality: LinkQuality, sequences: list[int], rtt_ms: float | None = 20.0) -> Quality:
    for seq in sequences:
        quality.add(seq, seq / 100, rtt_ms)
    return quality.take(WINDOW_S, INTERVAL_MS)


def test_a_clean_window() -> None:
    assert heard(LinkQuality(), list(range(100, 125))) == Quality(20.0, 0.0, 0.0, 10.0)


def test_a_missing_probe_is_loss_and_a_gap() -> None:
    quality = heard(LinkQuality(), [1, 2, 4, 5])
    assert (quality.loss_ratio, quality.gap_ms_max) == (0.2, 20.0)


def test_loss_at_the_seam_of_two_windows_counts_once_in_the_second() -> None:
    link = LinkQuality()
    assert heard(link, [1, 2, 3]).loss_ratio == 0
    assert heard(link, [5, 6, 7]).loss_ratio == 0.25


def test_nothing_arrived_is_total_loss() -> None:
    link = LinkQuality()
    heard(link, [1, 2])
    assert heard(link, []) == Quality(None, None, 1.0, None)


def test_what_a_silent_window_has_told_is_not_told_again() -> None:
    """A link that comes back after ten seconds does not lose 98 % in its first window."""
    link = LinkQuality()
    heard(link, [1, 2])
    assert heard(link, []).loss_ratio == 1.0
    assert heard(link, [1000, 1001, 1002, 1003]).loss_ratio == 0.0


def test_a_window_shorter_than_a_few_intervals_proves_nothing() -> None:
    assert LinkQuality().take(WINDOW_S, interval_ms=100).loss_ratio == 0.0


def test_a_restarted_peer_is_not_loss() -> None:
    link = LinkQuality()
    heard(link, [5000, 5001])
    assert heard(link, [3, 4, 5]).loss_ratio == 0.0


def test_probes_without_an_echo_tell_no_round_trip() -> None:
    quality = heard(LinkQuality(), [1, 2], rtt_ms=None)
    assert (quality.rtt_ms, quality.jitter_ms, quality.loss_ratio) == (None, None, 0.0)


@given(st.sets(st.integers(1, 200), min_size=1), st.lists(st.floats(0, 1000), max_size=40))
def test_as_the_twin_that_recounts(sequences: set[int], rtts: list[float]) -> None:
    link = LinkQuality()
    ordered = sorted(sequences)
    for seq in ordered:
        link.add(seq, seq / 100, None)
    for at, rtt_ms in enumerate(rtts):
        link.add(ordered[-1] + 1 + at, 3.0, rtt_ms)
    quality = link.take(WINDOW_S, INTERVAL_MS)
    last = ordered[-1] + len(rtts)
    missing = sum(seq not in sequences for seq in range(ordered[0], ordered[-1] + 1))
    assert quality.loss_ratio == pytest.approx(missing / (last - ordered[0] + 1), abs=1e-4)
    assert quality.rtt_ms == (round(statistics.median_high(rtts), 3) if rtts else None)
    if len(rtts) > 1:
        steps = [abs(rtts[at + 1] - rtts[at]) for at in range(len(rtts) - 1)]
        assert quality.jitter_ms == pytest.approx(statistics.mean(steps), abs=2e-3)
    else:
        assert quality.jitter_ms is None


@given(st.lists(st.lists(st.integers(0, 2**33), max_size=10), max_size=5))
def test_whatever_sequence_numbers_come_loss_is_a_ratio(windows: list[list[int]]) -> None:
    link = LinkQuality()
    for sequences in windows:
        assert 0 <= heard(link, sequences).loss_ratio <= 1
