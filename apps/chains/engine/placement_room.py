"""What servers have left while chains are placed: how many instances the chains on a server need, exactly.

For one kind on one server only the users' loads and limits count. Taking the strictest users first and opening the next
instance when the current one is full needs the fewest instances, as an instance that holds a strict user is limited
for all of its users anyway; buckets are not split.
"""

import math
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from apps.chains.engine.placement import Kind, PlacementTask, Way

EPSILON: Final = 1e-9
INSTANCES_MAX: Final = 256


class User(NamedTuple):
    """One network function of one chain on one server; users sort by their limits.

    Args:
        limit: how busy its instances may be.
        demand, nf: which.
        unit: load of one bucket, share of an instance's time.
        buckets: how many.
    """

    limit: float
    demand: int
    nf: int
    unit: float
    buckets: int


def instances_needed(users: Iterable[User]) -> int:
    """Return the fewest instances that carry users in ascending order of their limits; beyond limits: a great number.

    Complexity: O(users + instances).
    """
    count, room = 0, 0.0
    for limit, _, _, unit, left in users:
        while left:
            taken = int((room + EPSILON) / unit)
            if not taken:
                count, room = count + 1, limit
                taken = int((room + EPSILON) / unit)
                if not taken or count > INSTANCES_MAX:
                    return 1 << 30
            if taken >= left:
                room -= left * unit
                break
            left -= taken
            room -= taken * unit
    return count


@dataclass(slots=True)
class Room:
    """Servers with the chains placed so far.

    Args:
        task: demands and servers; limits: per demand, its busy limit.
    """

    task: PlacementTask
    limits: Sequence[float]
    users: dict[tuple[str, int], list[User]] = field(default_factory=dict)
    counts: dict[tuple[str, int], int] = field(default_factory=dict)
    cores: list[float] = field(default_factory=list)
    bps: list[float] = field(default_factory=list)
    # Single kinds: server and how many users hold them there.
    homes: dict[str, tuple[int, int]] = field(default_factory=dict)
    ways: list[tuple[Way, ...]] = field(default_factory=list)
    segments: list[tuple[tuple[int, ...], ...]] = field(default_factory=list)
    units: list[tuple[float, ...]] = field(default_factory=list)
    kinds: dict[str, Kind] = field(default_factory=dict)
    keys_at: list[set[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cores = [server.cores for server in self.task.servers]
        self.bps = [server.link_bps for server in self.task.servers]
        self.kinds = {nf.kind.key: nf.kind for entry in self.task.demands for nf in entry.nfs}
        self.keys_at = [set() for _ in self.task.servers]
        self.ways = [()] * len(self.task.demands)
        self.units = [
            tuple(entry.rate_pps * nf.kind.service_us * 1e-6 / self.task.buckets for nf in entry.nfs)
            for entry in self.task.demands
        ]
        self.segments = [demand.segments for demand in self.task.demands]

    def extra_cores(self, demand: int, buckets: int, segments: Sequence[int], server: int) -> float:
        """Return the cores that more instances would own for segments of a chain; infinite where they do not fit.

        Complexity: O(network functions x users per kind and server).
        """
        entry = self.task.demands[demand]
        if entry.bps * buckets / self.task.buckets > self.bps[server] * (1 + EPSILON):
            return math.inf
        extra, free, name = 0.0, self.cores[server] + EPSILON, self.task.servers[server].name
        fresh: dict[str, list[int]] = {}
        for segment in segments:
            for nf in self.segments[demand][segment]:
                placed = entry.nfs[nf]
                if placed.pinned_server and placed.pinned_server != name:
                    return math.inf
                fresh.setdefault(placed.kind.key, []).append(nf)
        for key, nfs in fresh.items():
            kind = entry.nfs[nfs[0]].kind
            if kind.is_single and self.homes.get(key, (server, 0))[0] != server:
                return math.inf
            users = list(self.users.get((key, server), ()))
            for nf in nfs:
                insort(users, self._user(demand, nf, buckets))
            count = instances_needed(users)
            if count > (1 if kind.is_single else INSTANCES_MAX):
                return math.inf
            extra += (count - self.counts.get((key, server), 0)) * kind.cores
            if extra > free:
                return math.inf
        return extra

    def _user(self, demand: int, nf: int, buckets: int) -> User:
        return User(self.limits[demand], demand, nf, self.units[demand][nf], buckets)

    def add(self, demand: int, way: Way) -> None:
        """Place a share of a chain; the caller has seen that it fits."""
        self._change(demand, way, 1)
        self.ways[demand] = (*self.ways[demand], way)

    def fits(self, demand: int, way: Way) -> bool:
        """Whether a share of a chain can be added: tried, as its runs may meet on a server."""
        entry = self.task.demands[demand]
        for nf, server in self._spots(demand, way):
            kind = entry.nfs[nf].kind
            if entry.nfs[nf].pinned_server not in ("", self.task.servers[server].name):
                return False
            if kind.is_single and self.homes.get(kind.key, (server, 0))[0] != server:
                return False
        if any(
            entry.nfs[nf].kind.key == entry.nfs[other].kind.key and server != there
            for nf, server in self._spots(demand, way)
            if entry.nfs[nf].kind.is_single
            for other, there in self._spots(demand, way)
        ):
            return False
        self._change(demand, way, 1)
        is_right = self.is_right_at(set(way.servers), {nf.kind.key for nf in entry.nfs})
        self._change(demand, way, -1)
        return is_right

    def is_right_at(self, servers: Iterable[int], keys: Iterable[str]) -> bool:
        """Whether servers are within their limits, as far as some kinds are concerned."""
        keys = tuple(keys)
        for server in servers:
            if self.cores[server] < -EPSILON or self.bps[server] < -EPSILON * (
                1 + self.task.servers[server].link_bps
            ):
                return False
            if any(
                self.counts.get((key, server), 0) > (1 if key in self.homes else INSTANCES_MAX)
                for key in keys
            ):
                return False
        return True

    def remove(self, demand: int) -> tuple[Way, ...]:
        """Take a chain away, and return how it was placed."""
        ways = self.ways[demand]
        for way in ways:
            self._change(demand, way, -1)
        self.ways[demand] = ()
        return ways

    def _spots(self, demand: int, way: Way) -> list[tuple[int, int]]:
        return [
            (nf, server)
            for segment, server in zip(self.segments[demand], way.servers, strict=True)
            for nf in segment
        ]

    def _change(self, demand: int, way: Way, sign: int) -> None:
        entry = self.task.demands[demand]
        for nf, server in self._spots(demand, way):
            kind = entry.nfs[nf].kind
            spot = (kind.key, server)
            users = self.users.setdefault(spot, [])
            known = [user for user in users if (user.demand, user.nf) == (demand, nf)]
            buckets = sign * way.buckets + (known[0].buckets if known else 0)
            if known:
                users.remove(known[0])
            if buckets:
                insort(users, self._user(demand, nf, buckets))
            count = instances_needed(users)
            self.cores[server] -= (count - self.counts.get(spot, 0)) * kind.cores
            self.counts[spot] = count
            (self.keys_at[server].add if users else self.keys_at[server].discard)(kind.key)
            if kind.is_single:
                self._house(kind.key, server, sign)
        previous = -1
        for server in way.servers:
            if server != previous:
                self.bps[server] -= sign * entry.bps * way.buckets / self.task.buckets
            previous = server

    def _house(self, key: str, server: int, sign: int) -> None:
        _, users = self.homes.get(key, (server, 0))
        if users + sign:
            self.homes[key] = (server, users + sign)
        else:
            self.homes.pop(key)
