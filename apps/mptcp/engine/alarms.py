"""JOIN floods: more joins than a connection or a pair of hosts can want within the window."""

from collections import Counter, deque
from typing import Any, Final

Name = tuple[Any, ...]
TOKEN: Final = "token"  # noqa: S105
HOSTS: Final = "hosts"


class JoinWatch:
    """Counts joins of the last seconds, by token and by pair of hosts.

    Args:
        window_s: how long a join counts.
        limit: joins with one token, or between two hosts, that are a flood.
    """

    def __init__(self, window_s: float, limit: int) -> None:
        self.window_s = window_s
        self.limit = limit
        self._recent: deque[tuple[float, tuple[Name, Name]]] = deque()
        self._counts: Counter[Name] = Counter()  # empty until there are joins enough to be a flood
        self._told: set[Name] = set()

    def join(self, at_s: float, token: int, client: tuple[int, int], server: tuple[int, int]) -> str | None:
        """Note a joining SYN; returns words when the flood begins."""
        names = ((TOKEN, token), (HOSTS, *client, *server))
        recent = self._recent
        recent.append((at_s, names))
        while recent[0][0] < at_s - self.window_s:
            for name in recent.popleft()[1]:
                self._uncount(name)
        if not self._counts:
            if len(recent) < self.limit:  # no name can have come so often
                return None
            self._counts = Counter(name for _, others in recent for name in others)
        else:
            self._counts.update(names)
        return self._tell(names)

    def _tell(self, names: tuple[Name, Name]) -> str | None:
        for name in names:
            if self._counts[name] >= self.limit and name not in self._told:
                self._told.add(name)
                what = f"with token {name[1]:08x}" if name[0] == TOKEN else "between two hosts"
                return f"{self._counts[name]} joins {what} within {self.window_s:g} s"
        return None

    def _uncount(self, name: Name) -> None:
        if not self._counts:
            return
        self._counts[name] -= 1
        if self._counts[name] * 2 < self.limit:
            self._told.discard(name)
        if not self._counts[name]:
            del self._counts[name]

    def as_json(self) -> list[Any]:
        """Return everything as plain lists."""
        return [[[at_s, *names] for at_s, names in self._recent], sorted(self._told)]

    def read_json(self, data: list[Any]) -> None:
        """Take what ``as_json`` wrote."""
        self._recent = deque((at_s, (tuple(one), tuple(other))) for at_s, one, other in data[0])
        self._counts = Counter(name for _, names in self._recent for name in names)
        self._told = {tuple(name) for name in data[1]}
