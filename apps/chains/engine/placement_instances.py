"""Instances on servers: how many of each kind, and which buckets each takes.

Cores that are left go to instances that lower the mean latency most (``spread``), as latency comes before copies in the
objective; what the last per cent of latency would cost in copies is not spent. Buckets are packed strictest chains
first, evenly as far as limits allow (``pack``); on a new plan what is there stays where it is as far as limits allow
(``pack_again``).

Source: ours. The mean number of packets in m instances that share a load evenly is convex in m, so that the
greedy choice per server is the best one for even loads.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import Final

from apps.chains.engine.placement import Kind
from apps.chains.engine.placement_room import EPSILON, INSTANCES_MAX, User, instances_needed
from apps.chains.engine.placement_tail import wait_us

# Share of the mean latency that fewer copies may cost.
LATENCY_SLACK: Final = 0.01
# Per user, its buckets per instance.
Counts = list[list[int]]


def in_system(kind: Kind, load: float, count: int) -> float:
    """Return the mean number of packets in ``count`` instances that share a load evenly; infinite when overloaded."""
    if not load:
        return 0.0
    return load / kind.service_us * wait_us(kind, load / count)


def spread(
    loads: Mapping[str, tuple[Kind, float, int]], free_cores: float, slack: float
) -> tuple[dict[str, int], float]:
    """Return how many instances of each kind a server runs, and the packets in them.

    Args:
        loads: kind -> itself, its load in instances, the fewest instances that carry it.
        free_cores: beyond those that the fewest own.
        slack: stop when all cores together would lower the number of packets by no more than this share.

    >>> nat = Kind("nat", "nat", 10.0)
    >>> spread({"nat": (nat, 0.8, 1)}, 1.0, 0.0)[0]
    {'nat': 2}
    """
    counts = {key: least for key, (_, _, least) in loads.items()}
    total = sum(in_system(kind, load, counts[key]) for key, (kind, load, _) in loads.items())
    steps: list[tuple[float, str]] = []
    heap = [(-_gain(*loads[key][:2], counts[key]), key) for key in sorted(loads)]
    heapq.heapify(heap)
    while heap:
        gain, key = heapq.heappop(heap)
        kind, load, _ = loads[key]
        if gain >= 0 or kind.cores > free_cores + EPSILON:
            continue
        free_cores -= kind.cores
        total += gain * kind.cores
        counts[key] += 1
        steps.append((gain * kind.cores, key))
        heapq.heappush(heap, (-_gain(kind, load, counts[key]), key))
    # The last steps gain least; those that together gain no more than the slack are taken back.
    most = total * (1 + slack)
    while slack and steps and total - steps[-1][0] <= most:
        gain, key = steps.pop()
        total -= gain
        counts[key] -= 1
    return counts, total


def packets_in(loads: Mapping[str, tuple[Kind, float, int]], free_cores: float) -> float:
    """Return the packets that ``spread`` leaves on a server when it spends all cores that help."""
    return spread(loads, free_cores, 0.0)[1]


def _gain(kind: Kind, load: float, count: int) -> float:
    """Return what one more instance takes off the number of packets, per core; single kinds gain nothing."""
    if kind.is_single or not kind.cores or not load or count >= INSTANCES_MAX:
        return 0.0
    gained = in_system(kind, load, count) - in_system(kind, load, count + 1)
    return gained / kind.cores


def pack(users: Sequence[User], count: int) -> Counts:
    """Return the buckets of each user on each of ``count`` instances; as even as limits allow.

    Args:
        users: of one kind on one server; ``count``: at least ``instances_needed`` of them in ascending order.
    """
    order = sorted(range(len(users)), key=lambda index: users[index])
    found = _packed(users, order, count, is_even=True)
    if found is None:
        found = _packed(users, order, count, is_even=False)
    assert found is not None
    return found


def _packed(users: Sequence[User], order: Sequence[int], count: int, *, is_even: bool) -> Counts | None:
    counts = [[0] * count for _ in users]
    left = math.fsum(user.unit * user.buckets for user in users)
    at, room = -1, 0.0
    for index in order:
        user = users[index]
        missing = user.buckets
        while missing:
            taken = min(missing, int((room + EPSILON) / user.unit)) if at >= 0 else 0
            if not taken:
                at += 1
                if at == count:
                    return None
                # Rounded up by a bucket, as what is left over would have no place on the last instance.
                share = left / (count - at) + user.unit if is_even else user.limit
                room = min(user.limit, share)
                continue
            counts[index][at] += taken
            missing -= taken
            room -= taken * user.unit
            left -= taken * user.unit
    return counts


def pack_again(users: Sequence[User], count: int, held: Sequence[Mapping[int, int]]) -> Counts:
    """Return as ``pack`` does, but with buckets where they were, as far as limits allow.

    Args:
        held: per user, instance -> buckets that were there and still come here.
    """
    counts = [[0] * count for _ in users]
    for index, user in enumerate(users):
        left = user.buckets
        for at in range(count):
            counts[index][at] = min(left, held[index].get(at, 0))
            left -= counts[index][at]
    for index in sorted(range(len(users)), key=lambda index: users[index]):
        if not _fill(users, counts, index, users[index].buckets - sum(counts[index])):
            return pack(users, count)
    for at in range(count):
        if not _relieve(users, counts, at):
            return pack(users, count)
    return counts


def _busy(users: Sequence[User], counts: Counts, at: int) -> float:
    return math.fsum(user.unit * row[at] for user, row in zip(users, counts, strict=True))


def _limit(users: Sequence[User], counts: Counts, at: int) -> float:
    return min((user.limit for user, row in zip(users, counts, strict=True) if row[at]), default=math.inf)


def _fill(users: Sequence[User], counts: Counts, index: int, missing: int, but: int = -1) -> bool:
    """Give a user's missing buckets to the instances with most room, those it is on first."""
    user = users[index]
    while missing:
        rooms = [
            (
                counts[index][at] > 0,
                min(user.limit, _limit(users, counts, at)) - _busy(users, counts, at),
                -at,
            )
            for at in range(len(counts[index]))
            if at != but
        ]
        fitting = [entry for entry in rooms if entry[1] + EPSILON >= user.unit]
        if not fitting:
            return False
        _, room, negative = max(fitting)
        taken = min(missing, int((room + EPSILON) / user.unit))
        counts[index][-negative] += taken
        missing -= taken
    return True


def _relieve(users: Sequence[User], counts: Counts, at: int) -> bool:
    """Take buckets off an instance until it is within its limit: from the strictest users first."""
    for index in sorted(range(len(users)), key=lambda index: users[index]):
        over = _busy(users, counts, at) - _limit(users, counts, at)
        if over <= EPSILON:
            return True
        if not counts[index][at]:
            continue
        moved = min(counts[index][at], math.ceil(over / users[index].unit - EPSILON))
        counts[index][at] -= moved
        if not _fill(users, counts, index, moved, but=at):
            return False
    return _busy(users, counts, at) - _limit(users, counts, at) <= EPSILON


def is_within(users: Sequence[User], counts: Counts) -> bool:
    """Whether every instance is within the limits of all its users."""
    return all(
        _busy(users, counts, at) <= _limit(users, counts, at) + 1e-6
        for at in range(len(counts[0]) if counts else 0)
    )


def least_instances(users: Sequence[User]) -> int:
    """Return the fewest instances that carry users in any order given."""
    return instances_needed(sorted(users))
