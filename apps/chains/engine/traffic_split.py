"""How much of a demand each of several instances of a network function gets.

``optimal_split`` minimises the mean latency over M/M/1 instances; ``tail_split`` keeps a percentile on every instance;
``proportional_split`` is what load balancers do, for comparison. Rates are packets per second.

Source: brief, "Traffic-level parallelism": lambda_k = mu_k - sqrt(mu_k) (sum mu - Lambda) / sum sqrt(mu), instances
with a negative share left out; P(T <= L) >= p on an M/M/1 queue means lambda_k <= mu_k - ln(1 / (1 - p)) / L.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nfvportal.lib.errors import InvalidInputError

INSTANCES_MAX = 1024


@dataclass(frozen=True, slots=True)
class Refused:
    """A demand that cannot be served; ``witness`` says by how much, in one sentence."""

    witness: str
    capacity_pps: float


def optimal_split(mu_pps: Sequence[float], demand_pps: float) -> tuple[float, ...] | Refused:
    """Return the rates that minimise the mean latency over all packets.

    Args:
        mu_pps: service rate of each instance, above 0.
        demand_pps: total, at least 0.

    Raises:
        InvalidInputError: a rate is out of its range.

    Complexity: O(n log n).

    >>> [round(rate, 3) for rate in optimal_split((10, 6, 3, 1), 12)]
    [6.968, 3.651, 1.339, 0.041]
    """
    _check(mu_pps, demand_pps)
    capacity = math.fsum(mu_pps)
    if demand_pps >= capacity:
        return Refused(
            f"{demand_pps:,.0f} packets/s are asked for, and the instances do {capacity:,.0f}.", capacity
        )
    rates = [0.0] * len(mu_pps)
    # The fastest instances carry load first, so those in use are a beginning of this order.
    order = sorted(range(len(mu_pps)), key=lambda index: -mu_pps[index])
    while order:
        spare = (math.fsum(mu_pps[i] for i in order) - demand_pps) / math.fsum(
            math.sqrt(mu_pps[i]) for i in order
        )
        if mu_pps[order[-1]] - math.sqrt(mu_pps[order[-1]]) * spare >= 0:
            break
        order.pop()
    for index in order:
        rates[index] = mu_pps[index] - math.sqrt(mu_pps[index]) * spare
    return tuple(rates)


def proportional_split(mu_pps: Sequence[float], demand_pps: float) -> tuple[float, ...]:
    """Return rates in proportion to what each instance can do."""
    _check(mu_pps, demand_pps)
    return tuple(demand_pps * mu / math.fsum(mu_pps) for mu in mu_pps)


def tail_split(
    mu_pps: Sequence[float], demand_pps: float, limit_s: float, share: float = 0.99
) -> tuple[float, ...] | Refused:
    """Return the rates of least mean latency with which every instance keeps a percentile.

    Args:
        limit_s: latency that ``share`` of the packets of each instance must not exceed, above 0.

    Complexity: O(n^2 log n): instances at their limit are fixed there, the others share the rest.
    """
    _check(mu_pps, demand_pps)
    if not limit_s > 0 or not 0 < share < 1:
        raise InvalidInputError("limit_s", "must be above 0, with a share between 0 and 1")
    most = [max(0.0, mu - math.log(1 / (1 - share)) / limit_s) for mu in mu_pps]
    capacity = math.fsum(most)
    if demand_pps > capacity:
        return Refused(
            f"With {share:.0%} of the packets within {limit_s * 1000:g} ms the instances take at most"
            f" {capacity:,.0f} packets/s, and {demand_pps:,.0f} are asked for.",
            capacity,
        )
    rates: dict[int, float] = {}
    left = list(range(len(mu_pps)))
    while left:
        rest = demand_pps - math.fsum(rates.values())
        found = optimal_split([mu_pps[index] for index in left], max(rest, 0.0))
        assert not isinstance(found, Refused)
        over = [index for index, rate in zip(left, found, strict=True) if rate > most[index]]
        if not over:
            rates |= dict(zip(left, found, strict=True))
            break
        rates |= {index: most[index] for index in over}
        left = [index for index in left if index not in over]
    return tuple(rates[index] for index in range(len(mu_pps)))


def mean_latency_s(mu_pps: Sequence[float], rates_pps: Sequence[float]) -> float:
    """Return the mean time of a packet over M/M/1 instances; ``inf`` when one is overloaded."""
    total = math.fsum(rates_pps)
    if any(rate >= mu for mu, rate in zip(mu_pps, rates_pps, strict=True) if rate):
        return math.inf
    return (
        math.fsum(rate / (mu - rate) for mu, rate in zip(mu_pps, rates_pps, strict=True)) / total
        if total
        else 0.0
    )


def _check(mu_pps: Sequence[float], demand_pps: float) -> None:
    if not 0 < len(mu_pps) <= INSTANCES_MAX or not all(mu > 0 and math.isfinite(mu) for mu in mu_pps):
        raise InvalidInputError("mu_pps", f"must be 1 to {INSTANCES_MAX} rates above 0")
    if not (demand_pps >= 0 and math.isfinite(demand_pps)):
        raise InvalidInputError("demand_pps", "must be 0 or more")


def assign_buckets(shares: Sequence[float], before: Sequence[int], buckets: int = 256) -> tuple[int, ...]:
    """Return which instance each flow-hash bucket goes to, moving as few buckets as the shares allow.

    Stateful network functions see all packets of a flow on one instance, so whole buckets move. Every instance gets
    its share rounded down or up (largest remainder); of what it has too much, the last buckets leave.

    Args:
        shares: wanted share of each instance, at least 0, with a sum above 0.
        before: instance of each bucket until now, -1 for none; empty at the beginning.

    Complexity: O(buckets + instances log instances).

    >>> assign_buckets((0.5, 0.5), (0, 0, 0, 0), 4)
    (0, 0, 1, 1)
    """
    if not shares or min(shares) < 0 or not math.fsum(shares) > 0 or buckets < 1:
        raise InvalidInputError("shares", "must be 0 or more, with a sum above 0, for at least one bucket")
    total = math.fsum(shares)
    exact = [share / total * buckets for share in shares]
    counts = [int(value) for value in exact]
    held = [0] * len(shares)
    for owner in before:
        if 0 <= owner < len(shares):
            held[owner] += 1
    # Who holds more than its rounded-down count keeps one more first: that saves a move.
    spare = buckets - sum(counts)
    order = sorted(range(len(shares)), key=lambda k: (counts[k] - held[k] >= 0, counts[k] - exact[k], k))
    for index in [k for k in order if exact[k] > counts[k]][:spare]:
        counts[index] += 1
    room = list(counts)
    assigned = [-1] * buckets
    for bucket, owner in enumerate(before[:buckets]):
        if 0 <= owner < len(shares) and room[owner]:
            assigned[bucket], room[owner] = owner, room[owner] - 1
    free = [owner for owner, left in enumerate(room) for _ in range(left)]
    for bucket in range(buckets):
        if assigned[bucket] < 0:
            assigned[bucket] = free.pop(0)
    return tuple(assigned)
