"""The link model against its dumb twin, and its promises one by one."""

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nfvportal.lab.link_model import NEVER_S, LinkDirection
from nfvportal.lab.topology import LinkShape
from tests.lab.link_twin import Twin, TwinFrame

# A busy machine is no finding: only what the code does counts.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def never_lose() -> float:
    raise AssertionError("no random number may be drawn while loss_ratio is 0")


def shape(**changes: Any) -> LinkShape:
    # One byte per second: every time is a whole number and floats compare exactly.
    return LinkShape(**({"rate_bps": 8, "delay_ms": 3_000.0, "loss_ratio": 0.0, "queue_bytes": 20} | changes))


def drain(direction: LinkDirection[int], until_s: float, delivered: list[tuple[float, int]]) -> None:
    """Deliver everything up to a time, each frame at the very time the model asked to be woken."""
    while (at_s := direction.next_at_s()) <= until_s:
        frames = direction.deliver(at_s)
        assert frames, "the model asked to be woken for nothing"
        delivered += [(at_s, frame) for frame in frames]


offers = st.tuples(st.just("offer"), st.integers(1, 12), st.booleans())
delays = st.tuples(st.just("delay"), st.integers(0, 15), st.just(False))
cuts = st.tuples(st.just("block"), st.integers(0, 1), st.just(False))
steps = st.lists(
    st.tuples(st.integers(0, 9), st.one_of(offers, offers, offers, offers, delays, cuts)), max_size=40
)


@given(steps)
@settings(CALM, max_examples=400)
def test_model_does_what_the_twin_does(script: list[tuple[int, tuple[str, int, bool]]]) -> None:
    direction: LinkDirection[int] = LinkDirection(shape(), never_lose)
    twin = Twin(delay=3, queue_bytes=20)
    delivered: list[tuple[float, int]] = []
    accepted: list[bool] = []
    accepted_by_twin: list[bool] = []
    now = 0
    twin.begin_second(now)
    for name, (gap, (what, number, is_priority)) in enumerate(script):
        for _ in range(gap):
            twin.end_second()
            now += 1
            twin.begin_second(now)
        drain(direction, now, delivered)
        if what == "offer":
            accepted.append(direction.offer(float(now), number, is_priority, name))
            accepted_by_twin.append(twin.offer(TwinFrame(name, number, is_priority)))
        elif what == "delay":
            direction.reshape(shape(delay_ms=number * 1_000.0), float(now))
            twin.delay = number
        else:
            direction.block(bool(number), float(now))
            twin.block(bool(number))
    drain(direction, 1e9, delivered)
    for _ in range(1_000):
        twin.end_second()
        now += 1
        twin.begin_second(now)
    assert accepted == accepted_by_twin
    assert delivered == twin.delivered


@given(
    st.lists(st.tuples(st.floats(0, 0.01), st.integers(14, 1_514), st.booleans()), min_size=1, max_size=80)
)
def test_frames_are_conserved_and_each_lane_keeps_its_order(frames: list[tuple[float, int, bool]]) -> None:
    direction: LinkDirection[int] = LinkDirection(
        shape(rate_bps=1_000_000, queue_bytes=5_000), random.Random(1).random
    )
    now_s, delivered = 0.0, []
    for name, (gap_s, size_bytes, is_priority) in enumerate(frames):
        now_s += gap_s
        delivered += direction.deliver(now_s)
        direction.offer(now_s, size_bytes, is_priority, name)
    delivered += direction.deliver(now_s + 1_000)
    counters = direction.counters
    assert counters.frames_in == len(frames) == counters.frames_out + counters.lost_queue
    assert counters.frames_out == len(delivered)
    for lane in (True, False):
        names = [name for name in delivered if frames[name][2] is lane]
        assert names == sorted(names)
    assert direction.next_at_s() == NEVER_S


def test_a_probe_overtakes_the_queue_but_not_the_frame_being_sent() -> None:
    direction: LinkDirection[str] = LinkDirection(shape(delay_ms=0), never_lose)
    for name in ("first", "second"):
        direction.offer(0.0, 10, False, name)
    direction.offer(1.0, 2, True, "probe")
    assert direction.deliver(10.0) == ["first"]
    assert direction.deliver(12.0) == ["probe"]
    assert direction.deliver(22.0) == ["second"]


def test_a_full_bulk_queue_drops_bulk_and_keeps_probes() -> None:
    direction: LinkDirection[str] = LinkDirection(shape(), never_lose)
    taken = [direction.offer(0.0, 10, False, f"bulk{index}") for index in range(4)]
    assert taken == [True, True, True, False], "one being sent, two in the queue of 20 bytes"
    assert direction.offer(0.0, 10, True, "probe")
    assert direction.counters.lost_queue == 1


def test_rate_and_delay_add_up() -> None:
    direction: LinkDirection[int] = LinkDirection(shape(rate_bps=8_000_000, delay_ms=5), never_lose)
    direction.offer(0.0, 1_000, False, 1)
    assert direction.next_at_s() == pytest.approx(0.001 + 0.005)


def test_without_a_rate_only_the_delay_counts() -> None:
    direction: LinkDirection[int] = LinkDirection(shape(rate_bps=None), never_lose)
    assert all(direction.offer(1.0, 1_500, False, name) for name in range(100))
    assert direction.next_at_s() == 4.0
    assert direction.deliver(4.0) == list(range(100))


def test_a_cut_loses_what_is_under_way_and_healing_starts_empty() -> None:
    direction: LinkDirection[int] = LinkDirection(shape(), never_lose)
    for name in range(3):
        direction.offer(0.0, 10, False, name)
    direction.block(True, 12.0)
    assert direction.next_at_s() == NEVER_S
    assert not direction.offer(13.0, 10, False, 3)
    direction.block(False, 14.0)
    assert direction.offer(14.0, 10, False, 4)
    assert direction.deliver(100.0) == [4]
    assert direction.counters.lost_blocked == 4


def test_a_shorter_delay_does_not_let_frames_overtake() -> None:
    direction: LinkDirection[int] = LinkDirection(shape(rate_bps=None, delay_ms=10_000), never_lose)
    direction.offer(0.0, 10, False, 1)
    direction.reshape(shape(rate_bps=None, delay_ms=0), 1.0)
    direction.offer(1.0, 10, False, 2)
    assert direction.deliver(9.9) == []
    assert direction.deliver(10.0) == [1, 2]


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
@settings(CALM, max_examples=25)
def test_random_loss_is_replayed_by_its_seed(seed: int, ratio: float) -> None:
    def run() -> list[bool]:
        direction: LinkDirection[int] = LinkDirection(
            shape(rate_bps=None, loss_ratio=ratio), random.Random(seed).random
        )
        return [direction.offer(float(name), 10, False, name) for name in range(200)]

    draw = random.Random(seed).random
    assert run() == run() == [draw() >= ratio for _ in range(200)]


@given(st.lists(st.floats(0, 5), min_size=2, max_size=50))
@settings(CALM)
def test_delivery_times_never_go_back(gaps_s: list[float]) -> None:
    direction: LinkDirection[int] = LinkDirection(shape(queue_bytes=100_000), never_lose)
    delivered: list[tuple[float, int]] = []
    now_s = 0.0
    for name, gap_s in enumerate(gaps_s):
        now_s += gap_s
        drain(direction, now_s, delivered)
        direction.offer(now_s, 7, name % 3 == 0, name)
    drain(direction, 10_000, delivered)
    assert len(delivered) == len(gaps_s)
    assert all(earlier[0] <= later[0] for earlier, later in pairwise(delivered))
