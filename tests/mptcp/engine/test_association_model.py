"""The goals on the traffic model, the false-association law, and the honesty of the stated confidence."""

import math
from dataclasses import replace

import pytest

from apps.mptcp.engine.associator import associate
from tests.support.mptcp_law import calibration, chance_meetings, dense_models, expected_meetings
from tests.support.mptcp_model import Model, make_world, score

BASE = Model(connections=60, duration_s=20)
HARD_MODES = {
    "plain": BASE,
    "long queues": replace(BASE, queue_s=0.4, spread=1.2),
    "two server addresses": replace(BASE, server_addresses=2),
    "began late": replace(BASE, start_after_s=5),
    "version 0": replace(BASE, version=0),
}


@pytest.mark.parametrize("name", HARD_MODES)
@pytest.mark.parametrize("has_tokens", [True, False])
def test_64_bit_goals(name: str, has_tokens: bool) -> None:
    world = make_world(replace(HARD_MODES[name], has_tokens=has_tokens))
    found = score(associate(world.parts()), world)
    assert found.recall >= 0.999
    assert found.wrong_pairs == 0


@pytest.mark.parametrize("name", HARD_MODES)
def test_32_bit_goals(name: str) -> None:
    world = make_world(replace(HARD_MODES[name], has_tokens=False, width=32))
    found = score(associate(world.parts()), world)
    assert found.recall_both >= 0.995
    assert found.wrong_pairs == 0


@pytest.mark.parametrize("width", [64, 48, 32])
def test_goals_at_a_thousandth(width: int) -> None:
    world = make_world(replace(BASE, sampling=0.001, queue_s=0.4, rate_bps_median=5e5, width=width))
    found = score(associate(world.parts()), world)
    assert found.recall_both >= 0.90
    assert found.precision >= 0.999


@pytest.mark.parametrize("direction", ["c2s", "s2c"])
def test_one_direction_is_enough(direction: str) -> None:
    world = make_world(replace(BASE, direction=direction, sampling=0.02))
    found = score(associate(world.parts()), world)
    assert found.recall >= 0.999
    assert found.wrong_pairs == 0


def test_many_connections_between_two_hosts() -> None:
    world = make_world(replace(BASE, connections=1500, duration_s=8, has_tokens=False))
    found = score(associate(world.parts()), world)
    assert found.recall >= 0.999
    assert found.wrong_pairs == 0


@pytest.mark.parametrize(
    ("connections", "length", "tolerance", "bits"),
    [(20_000, 1 << 42, 1 << 41, 64), (2_000, 5_000_000, 1_000_000, 32), (500, 20_000_000, 0, 32)],
)
def test_the_false_association_law(connections: int, length: int, tolerance: int, bits: int) -> None:
    expected = expected_meetings(connections, length, tolerance, bits)
    found = chance_meetings(connections, length, tolerance, bits, seed=5)
    assert expected > 100
    assert abs(found - expected) < 5 * math.sqrt(expected)


def test_range_overlap_alone_is_worth_little_at_32_bit() -> None:
    """The brief's warning: with 1000 connections of 3 subflows, most that meet are strangers."""
    expected = expected_meetings(1000, 5_000_000, 8_000_000, 32)
    assert 2000 / (2000 + expected) < 0.6
    assert chance_meetings(1000, 5_000_000, 8_000_000, 32, seed=1) > expected / 2


def test_confidence_promises_no_more_than_it_keeps() -> None:
    bins = calibration(dense_models(400, range(3)))
    assert sum(one.count for one in bins) > 1000
    for one in bins:
        promised = one.stated * one.count
        assert one.false_count <= promised + 3 * math.sqrt(promised + 1), one
