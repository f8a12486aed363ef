"""Numbers that stand still: candidates against a dumb twin, and as many strangers among them as the law says."""

import math
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.mptcp.engine import sweep, sweep_still
from apps.mptcp.engine.subflow_layout import SUBFLOW

WHOLE = 1 << 32
Space = tuple[int, int, bool] | None  # lowest number, how far it went, whether of 64 bits


def found(connections: list[tuple[Space, Space]]) -> dict[tuple[int, int, int, int], float]:
    """Return (connection, its space, connection, its space) -> chance, the lower connection first."""
    rows = np.zeros(len(connections), SUBFLOW)
    for row, spaces in zip(rows, connections, strict=True):
        for side, space in enumerate(spaces):
            if space is not None:
                record = row["space"][side]
                record["lo"], record["is_64"], record["points"] = space[0], space[2], 1
                record["hi"] = (space[0] + space[1]) % (1 << 64)
    following, parity = np.arange(len(rows), dtype=np.int32), np.zeros(len(rows), np.uint8)
    units = sweep.gather(rows, len(rows), following, parity)
    pairs, chance = sweep_still.candidates(rows, units, following, parity)
    ordered = [(min(p[:2], p[2:]), max(p[:2], p[2:])) for p in pairs.tolist()]
    return {(*one, *other): share for (one, other), share in zip(ordered, chance.tolist(), strict=True)}


def twin(connections: list[tuple[Space, Space]]) -> dict[tuple[int, int, int, int], float]:
    """Every space against every other: plain integers on the circle of 2^32."""
    spaces = [
        (u, side, space) for u, both in enumerate(connections) for side, space in enumerate(both) if space
    ]
    meets = {}
    for (u, su, one), (v, sv, other) in combinations(spaces, 2):
        if u == v or (one[2] and other[2]) or max(one[1], other[1]) > sweep_still.STILL_BYTES:
            continue
        ahead, behind = (other[0] - one[0]) % WHOLE, (one[0] - other[0]) % WHOLE
        if ahead <= one[1] + 1 or behind <= other[1] + 1:
            meets[(u, su, v, sv)] = (one[1] + other[1] + 3) / WHOLE
    return meets


spaces = st.one_of(
    st.none(),
    st.tuples(
        st.integers(0, 12).map(lambda n: (WHOLE - 5 + n) % WHOLE),
        st.sampled_from([0, 0, 1, 3]),
        st.booleans(),
    ),
    st.tuples(st.just((7 << 40) + 3), st.sampled_from([0, 5000]), st.just(True)),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(spaces, spaces), max_size=6))
def test_candidates_are_those_of_the_dumb_twin(connections: list[tuple[Space, Space]]) -> None:
    assert found(connections) == twin(connections)


def test_strangers_meet_as_often_as_the_law_says() -> None:
    """(La + Lb + 2 delta + 1) / 2^32 for each pair: what an edge states is what happens."""
    rng, count = np.random.default_rng(3), 20_000
    numbers = rng.integers(0, WHOLE, count).tolist()
    lengths = rng.integers(0, 3000, count).tolist()
    meets = found([((low, length, False), None) for low, length in zip(numbers, lengths, strict=True)])
    expected = count * (count - 1) / 2 * (2 * np.mean(lengths) + 3) / WHOLE
    assert expected > 100
    assert abs(len(meets) - expected) < 5 * math.sqrt(expected)
