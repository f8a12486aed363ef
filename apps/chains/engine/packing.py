"""Which server runs which region: as few servers as possible, none beyond its cores.

Source: ours; exhaustive with the usual pruning. Complexity: exponential in the number of regions, cut off by a budget.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

BUDGET: Final = 20_000
_EPSILON: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Item:
    """What one server must take as a whole.

    Args:
        cores: needed, 0 or more.
        pin: the only server that may take it; empty for any.
    """

    cores: float
    pin: str = ""


@dataclass(frozen=True, slots=True)
class Packing:
    """Answer.

    Args:
        servers: per item, its server; ``None`` where none was found.
        is_proof: whether the search was complete, so that ``None`` means that there is none.
    """

    servers: tuple[str, ...] | None
    is_proof: bool = True


@dataclass(slots=True)
class _Search:
    items: Sequence[Item]
    free: dict[str, float]
    apart: Collection[tuple[int, int]]
    accept: Callable[[tuple[str, ...]], bool]
    kinds: Mapping[str, object]
    limit: int = 0
    spent: int = 0

    def run(self, placed: dict[int, str], order: Sequence[int]) -> tuple[str, ...] | None:
        self.spent += 1
        if self.spent > BUDGET:
            return None
        if len(placed) == len(order):
            found = tuple(placed[item] for item in range(len(order)))
            return found if self.accept(found) else None
        item = order[len(placed)]
        for server in self._candidates(item, placed):
            self.free[server] -= self.items[item].cores
            placed[item] = server
            found_later = self.run(placed, order)
            del placed[item]
            self.free[server] += self.items[item].cores
            if found_later is not None:
                return found_later
        return None

    def _candidates(self, item: int, placed: dict[int, str]) -> list[str]:
        """Return the servers that may take an item: those in use first; of unused equal ones only the first."""
        need = self.items[item]
        used = set(placed.values())
        never = {
            placed[b if a == item else a]
            for a, b in self.apart
            if item in (a, b) and (b if a == item else a) in placed
        }
        pins = {entry.pin for entry in self.items}
        seen: set[tuple[float, object]] = set()
        chosen, fresh = [], []
        for server, free in self.free.items():
            if server in never or free + _EPSILON < need.cores or need.pin not in ("", server):
                continue
            if server in used:
                chosen.append(server)
            elif len(used) < self.limit and (server in pins or (free, self.kinds.get(server)) not in seen):
                fresh.append(server)
                if server not in pins:
                    seen.add((free, self.kinds.get(server)))
        return chosen + fresh


def pack(
    items: Sequence[Item],
    free_cores: dict[str, float],
    apart: Collection[tuple[int, int]] = (),
    accept: Callable[[tuple[str, ...]], bool] = lambda servers: True,
    kinds: Mapping[str, object] = MappingProxyType({}),
) -> Packing:
    """Return servers for items, as few as possible.

    Args:
        items: what to place.
        free_cores: per server, in the order of preference.
        apart: pairs of items that must not share a server.
        accept: a last word on a complete placement (links).
        kinds: what else tells servers apart; those with equal free cores and kinds are tried once, in their order.

    >>> pack([Item(0.6), Item(0.5), Item(0.4)], {"a": 1.0, "b": 1.0}).servers
    ('a', 'b', 'a')
    """
    order = sorted(range(len(items)), key=lambda item: (not items[item].pin, -items[item].cores, item))
    is_proof = True
    for limit in range(1, min(len(items), len(free_cores)) + 1):
        search = _Search(items, dict(free_cores), apart, accept, kinds, limit)
        found = search.run({}, order)
        if found is not None:
            return Packing(found)
        is_proof = is_proof and search.spent <= BUDGET
    return Packing(None, is_proof)
