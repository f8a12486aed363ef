"""Floods of joins against a twin that counts anew each time."""

from hypothesis import given
from hypothesis import strategies as st

from apps.mptcp.engine.alarms import JoinWatch

WINDOW_S, LIMIT = 10.0, 4
joins = st.lists(st.tuples(st.floats(0, 4), st.integers(1, 3), st.integers(1, 3)), max_size=60)


class Twin:
    """All joins ever, and for each name whether its flood was told and not yet over."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, tuple[object, object]]] = []
        self.told: set[object] = set()

    def join(self, at_s: float, token: int, host: int) -> bool:
        """Return whether a flood begins."""
        names = (("token", token), ("host", host))
        before = self.seen
        self.seen = [one for one in before if one[0] >= at_s - WINDOW_S]
        if len(self.seen) < len(before):
            gone = {name for one in before if one not in self.seen for name in one[1]}
            self.told -= {name for name in gone if 2 * self.count(name) < LIMIT}
        self.seen.append((at_s, names))
        for name in names:
            if self.count(name) >= LIMIT and name not in self.told:
                self.told.add(name)
                return True
        return False

    def count(self, name: object) -> int:
        return sum(name in names for _, names in self.seen)


@given(joins)
def test_floods_are_told_when_they_begin(events: list[tuple[float, int, int]]) -> None:
    watch, twin, at_s = JoinWatch(WINDOW_S, LIMIT), Twin(), 0.0
    for after_s, token, host in events:
        at_s += after_s
        words = watch.join(at_s, token, (0, host), (0, 9))
        assert (words is not None) == twin.join(at_s, token, host)


@given(joins)
def test_a_watch_goes_on_where_it_was_written_down(events: list[tuple[float, int, int]]) -> None:
    watch, at_s = JoinWatch(WINDOW_S, LIMIT), 0.0
    for after_s, token, host in events:
        at_s += after_s
        other = JoinWatch(WINDOW_S, LIMIT)
        other.read_json(watch.as_json())
        assert other.join(at_s, token, (0, host), (0, 9)) == watch.join(at_s, token, (0, host), (0, 9))
