"""Ways for many chains: placed one after the other, then repaired by exchanges; half of the decomposition.

A chain is put, in this order, whole onto the server where it needs the fewest further cores; spread over several
servers, each packet on one; in runs of segments over several servers. Chains that find no place, or cross servers, then
push others off a server; the exchange stands if the first two terms of the objective got better.

Source: ours; best fit and ejection chains as known for bin packing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from apps.chains.engine.placement import PlacementTask, Way, Ways
from apps.chains.engine.placement_room import EPSILON, Room

WAYS_MAX: Final = 8
PREFIXES_KEPT: Final = 6
ENDS_KEPT: Final = 2
EVICTED_MAX: Final = 12


@dataclass(slots=True)
class Search:
    """Chains on servers, as far as found.

    Args:
        task: demands and servers; limits: per demand; askers: the demands that may have a place at all.
        rng: to choose which exchanges are tried.
    """

    task: PlacementTask
    limits: Sequence[float]
    askers: Sequence[int]
    rng: Random
    room: Room = field(init=False)

    def __post_init__(self) -> None:
        self.room = Room(self.task, self.limits)

    @property
    def ways(self) -> Ways:
        """Ways per demand; those with the same servers are one."""
        return [merged(ways) for ways in self.room.ways]

    def score(self, demands: Iterable[int]) -> tuple[float, float]:
        """Return the first two terms of the objective over some demands."""
        missed = crossed = 0.0
        for number in demands:
            ways = self.room.ways[number]
            if not ways:
                missed += self.task.demands[number].weight
            crossed += sum(way.visits * way.buckets for way in ways) / self.task.buckets
        return missed, crossed

    def fill(self, order: Iterable[int]) -> None:
        """Place what has no place yet, in an order."""
        for number in order:
            if not self.room.ways[number]:
                self.place(number)

    def place(self, number: int, left: int | None = None) -> bool:
        """Place a chain, or what is left of it; nothing changes if there is no room for all of it."""
        left = self.task.buckets if left is None else left
        before = self.room.ways[number]
        way = self._whole(number, left)
        if way is None and not any(nf.kind.is_single for nf in self.task.demands[number].nfs):
            left = self._spread(number, left)
            if not left:
                return True
        if way is None and len(self.room.ways[number]) < WAYS_MAX:
            way = self._runs(number, left)
        if way is not None:
            self.room.add(number, way)
            return True
        self._restore({number: before})
        return False

    def _all(self, number: int) -> range:
        return range(len(self.room.segments[number]))

    def _candidates(self, number: int) -> Iterable[int]:
        """Return the servers that may take a whole chain."""
        names = {nf.pinned_server for nf in self.task.demands[number].nfs} - {""}
        servers = range(len(self.task.servers))
        if not names:
            return servers
        return [server for server in servers if self.task.servers[server].name in names]

    def _whole(self, number: int, buckets: int) -> Way | None:
        best, chosen = (math.inf, math.inf), -1
        for server in self._candidates(number):
            extra = self.room.extra_cores(number, buckets, self._all(number), server)
            if math.isinf(extra):
                continue
            rank = (extra, self.room.cores[server] - extra)
            if rank < best:
                best, chosen = rank, server
        return None if chosen < 0 else Way((chosen,) * len(self._all(number)), buckets)

    def _spread(self, number: int, left: int) -> int:
        """Place all buckets, each whole on a server, or none; return how many are left."""
        before, asked = self.room.ways[number], left
        fitting = sorted((self._most(number, left, server), -server) for server in self._candidates(number))
        if sum(most for most, _ in fitting[-WAYS_MAX:]) < left:
            return left
        while left and fitting and len(self.room.ways[number]) < WAYS_MAX:
            _, chosen = fitting.pop()
            most = self._most(number, left, -chosen)
            if most:
                self.room.add(number, Way((-chosen,) * len(self._all(number)), most))
                left -= most
        if left:
            self._restore({number: before})
            return asked
        return 0

    def _most(self, number: int, left: int, server: int) -> int:
        """Return how many buckets of a whole chain fit onto a server. Complexity: O(log buckets) trials."""
        if math.isinf(self.room.extra_cores(number, 1, self._all(number), server)):
            return 0
        low, high = 1, left
        while low < high:
            middle = (low + high + 1) // 2
            if math.isinf(self.room.extra_cores(number, middle, self._all(number), server)):
                high = middle - 1
            else:
                low = middle
        return low

    def _runs(self, number: int, buckets: int) -> Way | None:
        """Return a way over several servers with the fewest visits, then the fewest further cores."""
        count = len(self._all(number))
        if count < 2:
            return None
        reach: list[list[tuple[int, float, tuple[int, ...]]]] = [[] for _ in range(count + 1)]
        reach[0] = [(0, 0.0, ())]
        for start in range(count):
            extras = [self._run_extras(number, buckets, start, server) for server in self._servers()]
            for visits, cores, servers in _best(reach[start]):
                for server, run in enumerate(extras):
                    if servers and server == servers[-1]:
                        continue
                    for length, extra in enumerate(run, 1):
                        entry = (visits + 1, cores + extra, (*servers, *(server,) * length))
                        reach[start + length].append(entry)
        for _, _, servers in sorted(reach[count])[: 3 * PREFIXES_KEPT]:
            way = Way(servers, buckets)
            if self.room.fits(number, way):
                return way
        return None

    def _servers(self) -> range:
        return range(len(self.task.servers))

    def _run_extras(self, number: int, buckets: int, start: int, server: int) -> list[float]:
        """Return the further cores of the first one, two ... segments from ``start`` on; ends where no more fit."""
        found: list[float] = []
        for end in range(start + 1, len(self._all(number)) + 1):
            extra = self.room.extra_cores(number, buckets, range(start, end), server)
            if math.isinf(extra):
                break
            found.append(extra)
        return found

    def repair(self, trials: int) -> None:
        """Give chains without place, then those that cross servers, a place at the cost of others that find another."""
        for number in self._wanting():
            for server in self._tempting(number, trials):
                if self._exchange(number, server):
                    break

    def _wanting(self) -> list[int]:
        demands = self.task.demands
        refused = [number for number in self.askers if not self.room.ways[number]]
        refused.sort(key=lambda number: (-demands[number].weight, number))
        crossing = [n for n in self.askers if any(way.visits > 1 for way in self.room.ways[n])]
        return refused + crossing

    def _tempting(self, number: int, trials: int) -> list[int]:
        servers = list(self._candidates(number))
        self.rng.shuffle(servers)
        servers.sort(key=lambda server: -self.room.cores[server])
        half = trials - trials // 2
        return servers[:half] + self.rng.sample(servers[half:], min(trials // 2, len(servers[half:])))

    def _exchange(self, number: int, server: int) -> bool:
        """Push chains off a server until one fits; return whether that was better, else undo it.

        It must fit there whole, unless pins or single kinds tear it apart; then anywhere.
        """
        saved = {number: self.room.remove(number)}
        guests = self._guests(server)
        whole = Way((server,) * len(self._all(number)), self.task.buckets)
        is_torn = self._is_torn(number, server)
        while not (self.place(number) if is_torn else self.room.fits(number, whole)):
            guest = next(guests, None)
            if guest is None or len(saved) > EVICTED_MAX:
                self._restore(saved)
                return False
            saved[guest] = self.room.remove(guest)
        before = self._score_of(saved)
        if not is_torn:
            self.room.add(number, whole)
        for guest in sorted(saved, key=lambda guest: (-self.task.demands[guest].weight, guest)):
            if guest != number:
                self.place(guest)
        if is_better(self.score(saved), before):
            return True
        self._restore(saved)
        return False

    def _is_torn(self, number: int, server: int) -> bool:
        """Whether a chain cannot be whole on a server, whoever else is there."""
        name = self.task.servers[server].name
        return any(
            nf.pinned_server not in ("", name)
            or (nf.kind.is_single and self.room.homes.get(nf.kind.key, (server, 0))[0] != server)
            for nf in self.task.demands[number].nfs
        )

    def _guests(self, server: int) -> Iterator[int]:
        """Yield the chains on a server: those that cost least to lose first, large ones before small ones."""
        there = {user.demand for (_, at), users in self.room.users.items() if at == server for user in users}
        demands = self.task.demands
        return iter(sorted(there, key=lambda guest: (demands[guest].weight, -demands[guest].rate_pps, guest)))

    def _score_of(self, saved: dict[int, tuple[Way, ...]]) -> tuple[float, float]:
        missed = sum(self.task.demands[number].weight for number, ways in saved.items() if not ways)
        crossed = sum(way.visits * way.buckets for ways in saved.values() for way in ways)
        return missed, crossed / self.task.buckets

    def _restore(self, saved: dict[int, tuple[Way, ...]]) -> None:
        for number in saved:
            self.room.remove(number)
        for number, ways in saved.items():
            for way in ways:
                self.room.add(number, way)

    def keep(self, ways: dict[int, tuple[Way, ...]]) -> None:
        """Put chains where they were, as many of their buckets as fit; the rest finds another place."""
        for number, was in ways.items():
            left = self.task.buckets
            for way in was:
                if self.room.fits(number, way):
                    self.room.add(number, way)
                    left -= way.buckets
            if left and not self.place(number, left):
                self.room.remove(number)


def is_better(found: tuple[float, float], than: tuple[float, float]) -> bool:
    """Whether the first terms of one placement are below those of another; what rounding does is no difference."""
    if abs(found[0] - than[0]) > EPSILON * (1 + abs(than[0])):
        return found[0] < than[0]
    return found[1] < than[1] - EPSILON * (1 + abs(than[1]))


def _best(entries: list[tuple[int, float, tuple[int, ...]]]) -> list[tuple[int, float, tuple[int, ...]]]:
    """Return the best beginnings of ways, few of them ending on one server: single kinds may forbid the very best."""
    found: list[tuple[int, float, tuple[int, ...]]] = []
    ends: dict[int, int] = {}
    for entry in sorted(entries):
        end = entry[2][-1] if entry[2] else -1
        ends[end] = ends.get(end, 0) + 1
        if ends[end] <= ENDS_KEPT:
            found.append(entry)
        if len(found) == PREFIXES_KEPT:
            break
    return found


def merged(ways: Sequence[Way]) -> tuple[Way, ...]:
    """Return ways with those of the same servers as one."""
    counts: dict[tuple[int, ...], int] = {}
    for way in ways:
        counts[way.servers] = counts.get(way.servers, 0) + way.buckets
    return tuple(Way(servers, buckets) for servers, buckets in counts.items())
