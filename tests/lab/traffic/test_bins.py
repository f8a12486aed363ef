"""Bins, percentiles and losses against twins that keep everything and count again."""

import doctest
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfvportal.lab.traffic import bins as module
from nfvportal.lab.traffic.bins import MAX_LATENCIES, ByteBins, LatencyWindow, LossCounter

EPOCH_S = 1_700_000_000
BIN_MS = 10


@dataclass
class TwinBins:
    """Every arrival in whole milliseconds, counted anew at every call."""

    waiting: list[tuple[int, int]] = field(default_factory=list)

    def take(self, now_ms: int) -> dict[int, int]:
        """Return the bins that are over: their first millisecond -> bytes."""
        end_ms = now_ms // BIN_MS * BIN_MS
        over: dict[int, int] = {}
        for at_ms, size in [arrival for arrival in self.waiting if arrival[0] < end_ms]:
            over[at_ms // BIN_MS * BIN_MS] = over.get(at_ms // BIN_MS * BIN_MS, 0) + size
        self.waiting = [arrival for arrival in self.waiting if arrival[0] >= end_ms]
        return over


def _seconds(at_ms: int) -> float:
    """Return the middle of a millisecond: no float lies on the border of a bin."""
    return EPOCH_S + (at_ms + 0.5) / 1000


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 400), st.integers(1, 1 << 20)),
        st.tuples(st.just("take"), st.integers(0, 500), st.just(0)),
    ),
    max_size=60,
)


@given(steps)
def test_bins_are_those_of_the_twin_and_lose_no_byte(steps: list[tuple[str, int, int]]) -> None:
    bins, twin, received, told = ByteBins(), TwinBins(), 0, 0
    for what, at_ms, size in [*steps, ("take", 10_000, 0)]:
        if what == "add":
            bins.add(_seconds(at_ms), size)
            twin.waiting.append((at_ms, size))
            received += size
            continue
        taken = bins.take(_seconds(at_ms))
        told += sum(size for _, size in taken)
        starts = [start for start, _ in taken]
        assert starts == sorted(set(starts))
        full = {round((start - EPOCH_S) * 1000): size for start, size in taken if size}
        assert full == twin.take(at_ms)
    assert told == received


def test_an_idle_receiver_gives_a_sign_of_life_once_per_bin() -> None:
    bins = ByteBins()
    assert bins.take(100.025) == [(100.01, 0)]
    assert bins.take(100.026) == []
    assert bins.take(100.031) == [(100.02, 0)]


def test_the_open_bin_stays() -> None:
    bins = ByteBins()
    bins.add(100.021, 7)
    assert bins.take(100.029) == [(100.01, 0)]
    assert bins.take(100.030) == [(100.02, 7)]


latencies = st.lists(st.integers(1, 1000), min_size=1, max_size=60)


@given(latencies, st.integers(1, 100))
def test_percentile_is_the_least_value_that_the_share_does_not_exceed(
    values: list[int], percent: int
) -> None:
    window = LatencyWindow()
    for value in values:
        window.add(float(value))
    least = min(
        value for value in values if 100 * sum(other <= value for other in values) >= percent * len(values)
    )
    assert window.percentiles_ms((percent / 100,)) == [least]
    assert window.count == len(values)


def test_no_latency_has_no_percentile() -> None:
    assert LatencyWindow().percentiles_ms((0.5, 0.99)) == [None, None]


def test_a_window_is_bounded_but_counts_on() -> None:
    window = LatencyWindow()
    for _ in range(MAX_LATENCIES):
        window.add(1.0)
    window.add(1000.0)
    assert window.count == MAX_LATENCIES + 1
    assert window.percentiles_ms((1.0,)) == [1.0]


@dataclass
class TwinLosses:
    """Every number that arrived; the losses told are the most that were ever missing at a look."""

    arrived: set[int] = field(default_factory=set)
    told: int = 0

    def take(self) -> int:
        """Return what a look tells."""
        missing = 0
        if self.arrived:
            missing = max(self.arrived) - min(self.arrived) + 1 - len(self.arrived)
        new = max(0, missing - self.told)
        self.told += new
        return new


@given(
    st.lists(st.integers(0, 60), unique=True).flatmap(st.permutations),
    st.sets(st.integers(0, 60)),
)
def test_losses_are_those_of_the_twin(numbers: list[int], looks: set[int]) -> None:
    counter, twin = LossCounter(), TwinLosses()
    for at, number in enumerate(numbers):
        counter.add(number, sent_ns=1000 + number)
        twin.arrived.add(number)
        if at in looks:
            assert counter.take() == twin.take()
    assert counter.take() == twin.take()


@given(
    st.lists(st.lists(st.booleans(), max_size=20), min_size=1, max_size=4),
    st.sets(st.integers(0, 80)),
)
def test_losses_of_senders_one_after_the_other(lives: list[list[bool]], looks: set[int]) -> None:
    counter, told, lost, sent_ns = LossCounter(), 0, 0, 0
    for later in lives:
        life = [True, *later]  # only from its first datagram on can a receiver know a life
        last = max(number for number, arrives in enumerate(life) if arrives)
        lost += life[:last].count(False)
        for number, arrives in enumerate(life):
            sent_ns += 1
            if arrives:
                counter.add(number, sent_ns)
            if sent_ns in looks:
                told += counter.take()
    told += counter.take()
    assert told == lost


def test_an_outage_longer_than_a_window_counts_when_it_is_over() -> None:
    counter = LossCounter()
    counter.add(10, sent_ns=10)
    assert counter.take() == 0
    assert counter.take() == 0
    counter.add(111, sent_ns=111)
    assert counter.take() == 100


def test_late_ones_make_up_for_their_loss() -> None:
    counter = LossCounter()
    for number in (0, 3):
        counter.add(number, sent_ns=number)
    assert counter.take() == 2
    for number in (1, 2, 6):
        counter.add(number, sent_ns=number)
    assert counter.take() == 0
    counter.add(8, sent_ns=8)
    assert counter.take() == 1


@pytest.mark.parametrize("times", [1, 3])
def test_a_sender_that_starts_anew_is_no_loss(times: int) -> None:
    counter = LossCounter()
    for life in range(times + 1):
        for number in range(50):
            counter.add(number, sent_ns=1000 * life + number)
    assert counter.take() == 0


def test_examples_in_the_documentation() -> None:
    result = doctest.testmod(module)
    assert (result.failed, result.attempted > 5) == (0, True)
