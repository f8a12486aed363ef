"""From ways through servers to a placement: instances, buckets, predictions, loads, and what moved."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from apps.chains.engine.placement import (
    Demand,
    Kind,
    PlacedChain,
    PlacedInstance,
    Placement,
    PlacementTask,
    RefusedChain,
    ServerLoad,
    Terms,
    Way,
    Ways,
)
from apps.chains.engine.placement_instances import LATENCY_SLACK, least_instances, pack, pack_again, spread
from apps.chains.engine.placement_room import EPSILON, User
from apps.chains.engine.placement_tail import (
    plumbing_us,
    predicted_mean_us,
    predicted_p99_us,
    wait_us,
)
from apps.chains.engine.traffic_split import assign_buckets

# Kind, server, number of the instance on it.
Spot = tuple[str, str, int]
# Chain and network function -> instance of each bucket.
Before = Mapping[tuple[str, str], tuple[Spot, ...]]

# Demand, network function and server -> buckets on each instance of its kind there.
Parts = Mapping[tuple[int, int, int], Sequence[int]]


def spot_name(spot: Spot) -> str:
    """Return the name of an instance.

    >>> spot_name(("firewall", "server-1", 0))
    'firewall@server-1/1'
    """
    return f"{spot[0]}@{spot[1]}/{spot[2] + 1}"


def before_of(placement: Placement) -> dict[tuple[str, str], tuple[Spot, ...]]:
    """Return what a new placement compares itself with."""
    spots: list[Spot] = []
    numbers: dict[tuple[str, str], int] = defaultdict(int)
    for instance in placement.instances:
        at = (instance.kind.key, instance.server)
        spots.append((*at, numbers[at]))
        numbers[at] += 1
    return {
        (chain.demand.name, nf.name): tuple(spots[owner] for owner in owners)
        for chain in placement.chains
        for nf, owners in zip(chain.demand.nfs, chain.owners, strict=True)
    }


def ways_before(task: PlacementTask, demand: Demand, before: Before) -> tuple[Way, ...]:
    """Return the ways a chain took before; empty where it is new or its shape has changed."""
    numbers = {server.name: index for index, server in enumerate(task.servers)}
    rows = [before.get((demand.name, nf.name), ()) for nf in demand.nfs]
    if any(len(row) != task.buckets for row in rows):
        return ()
    found: dict[tuple[int, ...], int] = defaultdict(int)
    for bucket in range(task.buckets):
        way = _way_before(demand, rows, bucket, numbers)
        if way is not None:
            found[way] += 1
    return tuple(Way(servers, count) for servers, count in found.items())


def _way_before(
    demand: Demand, rows: Sequence[tuple[Spot, ...]], bucket: int, numbers: Mapping[str, int]
) -> tuple[int, ...] | None:
    """Return the servers of a bucket before, per segment; ``None`` where one is gone or a segment was torn."""
    servers = []
    for segment in demand.segments:
        there = {rows[nf][bucket][1] for nf in segment}
        server = there.pop()
        if there or server not in numbers:
            return None
        servers.append(numbers[server])
    return tuple(servers)


@dataclass(slots=True)
class _Builder:
    task: PlacementTask
    limits: Sequence[float]
    ways: Ways
    before: Before
    users: dict[tuple[str, int], list[User]] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    way_of: dict[int, tuple[int, ...]] = field(default_factory=dict)
    instances: list[PlacedInstance] = field(default_factory=list)
    index_of: dict[Spot, int] = field(default_factory=dict)
    owners: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    ran: dict[tuple[str, str], int] = field(default_factory=dict)
    parts: Parts | None = None

    def build(self) -> None:
        for key, name, at in {spot for row in self.before.values() for spot in row}:
            self.ran[key, name] = max(self.ran.get((key, name), 0), at + 1)
        for number, ways in enumerate(self.ways):
            if ways:
                self._route(number, ways)
        for server in range(len(self.task.servers)):
            self._run(server)

    def _route(self, number: int, ways: Sequence[Way]) -> None:
        """Choose the way of each bucket, and note who comes where."""
        demand, buckets = self.task.demands[number], self.task.buckets
        names = {server.name: index for index, server in enumerate(self.task.servers)}
        rows = [self.before.get((demand.name, nf.name), ()) for nf in demand.nfs]
        held = [-1] * buckets
        if all(len(row) == buckets for row in rows):
            known = {way.servers: index for index, way in enumerate(ways)}
            for bucket in range(buckets):
                was = _way_before(demand, rows, bucket, names)
                held[bucket] = known.get(was, -1) if was is not None else -1
        self.way_of[number] = assign_buckets([way.buckets for way in ways], held, buckets)
        counts: dict[tuple[int, int], int] = defaultdict(int)
        for way in ways:
            for segment, server in zip(demand.segments, way.servers, strict=True):
                for nf in segment:
                    counts[nf, server] += way.buckets
        for (nf, server), count in counts.items():
            kind = demand.nfs[nf].kind
            self.kinds[kind.key] = kind
            unit = demand.rate_pps * kind.service_us * 1e-6 / buckets
            user = User(self.limits[number], number, nf, unit, count)
            self.users.setdefault((kind.key, server), []).append(user)

    def _run(self, server: int) -> None:
        """Choose how many instances of each kind a server runs, and give out the buckets."""
        here = {key: users for (key, at), users in sorted(self.users.items()) if at == server}
        loads = {}
        free = self.task.servers[server].cores
        for key, users in here.items():
            least = least_instances(users)
            loads[key] = (self.kinds[key], math.fsum(user.unit * user.buckets for user in users), least)
            free -= least * self.kinds[key].cores
        for key, (kind, load, least) in loads.items():
            # An instance that ran keeps running where there is room: to stop it would move its buckets.
            more = self.ran.get((key, self.task.servers[server].name), 0) - least
            if more > 0 and not kind.is_single and more * kind.cores <= free + EPSILON:
                loads[key] = (kind, load, least + more)
                free -= more * kind.cores
        counts, _ = spread(loads, free, LATENCY_SLACK)
        for key, users in here.items():
            self._give(key, server, users, counts[key])

    def _give(self, key: str, server: int, users: list[User], count: int) -> None:
        name = self.task.servers[server].name
        coming = [self._coming(user, server) for user in users]
        held: list[dict[int, int]] = [defaultdict(int) for _ in users]
        earlier: list[list[int]] = []
        for index, user in enumerate(users):
            demand = self.task.demands[user.demand]
            row = self.before.get((demand.name, demand.nfs[user.nf].name), ())
            is_known = len(row) == self.task.buckets
            spots = [row[bucket] if is_known else ("", "", -1) for bucket in coming[index]]
            earlier.append([spot[2] if spot[:2] == (key, name) else -1 for spot in spots])
            for at in earlier[-1]:
                held[index][at] += at >= 0
        if self.parts is not None:
            counts = [list(self.parts[user.demand, user.nf, server]) for user in users]
            count = len(counts[0])
        else:
            has_any = any(at >= 0 for row in earlier for at in row)
            counts = pack_again(users, count, held) if has_any else pack(users, count)
        while count > 1 and not any(row[count - 1] for row in counts):
            count -= 1
        base = len(self.instances)
        for at in range(count):
            self.index_of[key, name, at] = base + at
            self.instances.append(self._instance((key, name, at), users, [row[at] for row in counts]))
        for user, buckets, taken, was in zip(users, coming, counts, earlier, strict=True):
            owners = self.owners.setdefault((user.demand, user.nf), [-1] * self.task.buckets)
            chosen = assign_buckets(taken, was, len(buckets))
            for bucket, at in zip(buckets, chosen, strict=True):
                owners[bucket] = base + at

    def _coming(self, user: User, server: int) -> list[int]:
        """Return the buckets of a chain whose way has a network function on a server."""
        segments = self.task.demands[user.demand].segments
        segment = next(index for index, nfs in enumerate(segments) if user.nf in nfs)
        ways = self.ways[user.demand]
        return [
            bucket
            for bucket, way in enumerate(self.way_of[user.demand])
            if ways[way].servers[segment] == server
        ]

    def _instance(self, spot: Spot, users: Sequence[User], row: Sequence[int]) -> PlacedInstance:
        busy = math.fsum(user.unit * count for user, count in zip(users, row, strict=True))
        limit = min((user.limit for user, count in zip(users, row, strict=True) if count), default=1.0)
        kind = self.kinds[spot[0]]
        return PlacedInstance(spot_name(spot), kind, spot[1], busy, limit, busy / kind.service_us * 1e6)

    def chain(self, number: int) -> PlacedChain:
        demand, ways, buckets = self.task.demands[number], self.ways[number], self.task.buckets
        owners = tuple(tuple(self.owners[number, nf]) for nf in range(len(demand.nfs)))
        busy = [max(self.instances[owner].busy for owner in set(row)) for row in owners]
        waits = []
        for row in owners:
            taken = [(self.instances[owner], count) for owner, count in Counter(row).items()]
            waits.append(sum(wait_us(one.kind, one.busy) * count for one, count in taken) / buckets)
        crossed = sum(way.visits * way.buckets for way in ways) / buckets
        most = max(way.visits for way in ways)
        servers = {self.task.servers[server].name for way in ways for server in way.servers}
        return PlacedChain(
            demand,
            owners,
            tuple(sorted(servers)),
            crossed,
            predicted_mean_us(demand, self.task.constants, crossed, waits),
            predicted_p99_us(demand, self.task.constants, most, busy),
            self.limits[number],
            self._moved(demand, owners),
        )

    def _moved(self, demand: Demand, owners: Sequence[Sequence[int]]) -> int:
        moved = 0
        for nf, row in zip(demand.nfs, owners, strict=True):
            was = self.before.get((demand.name, nf.name), ())
            if len(was) == len(row):
                moved += sum(
                    self.index_of.get(spot, -1) != owner for spot, owner in zip(was, row, strict=True)
                )
        return moved

    def loads(self) -> tuple[ServerLoad, ...]:
        owned: dict[str, float] = defaultdict(float)
        busy: dict[str, float] = defaultdict(float)
        for instance in self.instances:
            owned[instance.server] += instance.kind.cores
            busy[instance.server] += instance.kind.cores * instance.busy
        bps = [0.0] * len(self.task.servers)
        for demand, ways in zip(self.task.demands, self.ways, strict=True):
            for way in ways:
                previous = -1
                for server in way.servers:
                    if server != previous:
                        bps[server] += demand.bps * way.buckets / self.task.buckets
                    previous = server
        return tuple(
            ServerLoad(server, owned[server.name], busy[server.name], bps[index])
            for index, server in enumerate(self.task.servers)
        )


def answer_of(
    task: PlacementTask,
    limits: Sequence[float],
    ways: Ways,
    refused: Sequence[RefusedChain],
    *,
    method: str,
    before: Before | None = None,
    parts: Parts | None = None,
) -> Placement:
    """Return the placement that ways make; its bounds are still those of nothing known.

    Args:
        limits: per demand; ways: per demand, ``()`` for the refused ones; both in the task's order.
        before: the previous placement, to move few buckets.
        parts: buckets per instance, where a solver chose them.

    Complexity: O(demands x network functions x buckets).
    """
    builder = _Builder(task, limits, ways, before or {}, parts=parts)
    builder.build()
    chains = tuple(builder.chain(number) for number, found in enumerate(ways) if found)
    known = sum(
        task.buckets
        for chain in chains
        for nf in chain.demand.nfs
        if len((before or {}).get((chain.demand.name, nf.name), ())) == task.buckets
    )
    moved = sum(chain.moved_buckets for chain in chains)
    terms = Terms(
        math.fsum(row.demand.weight for row in refused),
        math.fsum(chain.crossed for chain in chains),
        mean_of(task, builder.instances, chains),
        float(len(builder.instances)),
    )
    return Placement(
        chains,
        tuple(refused),
        tuple(builder.instances),
        builder.loads(),
        terms,
        Terms(0.0, 0.0, 0.0, 0.0),
        method,
        False,
        moved,
        known - moved,
    )


def mean_of(task: PlacementTask, instances: Sequence[PlacedInstance], chains: Sequence[PlacedChain]) -> float:
    """Return the third term: time in network functions, added up, and plumbing, per packet of an admitted chain."""
    rate = math.fsum(chain.demand.rate_pps for chain in chains)
    if not rate:
        return 0.0
    inside = math.fsum(row.rate_pps * wait_us(row.kind, row.busy) for row in instances)
    outside = math.fsum(
        chain.demand.rate_pps * plumbing_us(chain.demand, task.constants, chain.crossed) for chain in chains
    )
    return (inside + outside) / rate
