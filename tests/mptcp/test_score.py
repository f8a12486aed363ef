"""The score of an association, against a twin that looks at every pair."""

from itertools import combinations
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.support.mptcp_score import Found, Truth, score
from tests.support.mptcp_traffic import Recording, TrueSubflow, flow_key


def truth_of(connections: list[int]) -> Truth:
    """Return a truth in which subflow n, of port n, belongs to a connection."""
    subflows = tuple(
        TrueSubflow(flow_key("10.0.0.1", port, "10.0.0.2", 443), connection, 0.0, 1.0)
        for port, connection in enumerate(connections, 1)
    )
    return Truth(Recording((), Path(), subflows))


def found(port: int, *, is_seen: bool = True, at_s: float = 0.5) -> Found:
    """Return subflow ``port`` as an observer tells it."""
    return Found(flow_key("10.0.0.2", 443, "10.0.0.1", port), at_s, at_s, is_seen)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_pairs_like_a_twin_that_looks_at_each(choices: list[tuple[int, int]]) -> None:
    truth = truth_of([connection for connection, _ in choices])
    groups: dict[int, list[Found]] = {}
    for port, (_, group) in enumerate(choices, 1):
        groups.setdefault(group, []).append(found(port))
    answer = score(groups.values(), truth)
    pairs = list(combinations(choices, 2))
    true = [pair for pair in pairs if pair[0][0] == pair[1][0]]
    claimed = [pair for pair in pairs if pair[0][1] == pair[1][1]]
    right = [pair for pair in true if pair in claimed]
    assert answer.recall == (len(right) / len(true) if true else 1.0)
    assert answer.precision == (len([p for p in claimed if p in true]) / len(claimed) if claimed else 1.0)
    assert (answer.pair_count, answer.unseen_ratio, answer.unknown_count) == (len(true), 0.0, 0)


def test_exact_connections_unseen_and_unknown_ones() -> None:
    truth = truth_of([0, 0, 0, 1, 1, 2])
    answer = score([[found(1), found(2)], [found(4), found(5)], [found(3), found(99)]], truth)
    assert (answer.exact_ratio, answer.unknown_count) == (0.5, 1)
    assert answer.unseen_ratio == 1 / 6
    assert (answer.recall, answer.missed_pair_count) == (0.5, 2)


def test_who_showed_no_number_does_not_count_as_missed_but_as_unseen() -> None:
    truth = truth_of([0, 0, 0])
    answer = score([[found(1), found(2)], [found(3, is_seen=False)]], truth)
    assert (answer.recall, answer.unseen_ratio, answer.sampled_unseen_count) == (1.0, 1 / 3, 1)
    assert answer.recall_of_sampled == 1 / 3
    wrong = score([[found(1), found(2)], [found(3, is_seen=False)]], truth_of([0, 1, 0]))
    assert wrong.precision == 0.0


def test_a_port_that_is_used_again_is_told_apart_by_time() -> None:
    key = flow_key("10.0.0.1", 1, "10.0.0.2", 443)
    truth = Truth(Recording((), Path(), (TrueSubflow(key, 0, 0.0, 5.0), TrueSubflow(key, 1, 6.0, 9.0))))
    for first_s, last_s, connection in ((0.0, 5.1, 0), (5.9, 9.0, 1), (4.0, 6.5, 0), (9.5, 9.9, 1)):
        owner = truth.owner(key, first_s, last_s)
        assert owner is not None
        assert owner.connection == connection
