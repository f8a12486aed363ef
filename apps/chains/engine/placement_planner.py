"""Placements: which server and instances each of many chains gets, or why a chain gets none.

Few demands are placed exactly (``placement_exact``), many by decomposition: ways chosen one after the other and
repaired (``placement_search``), measured against a linear program (``placement_bounds``). Each answer says how far it
could be from the best in each term of the objective; see ``placement`` for what is minimised.

With a previous placement the decomposition is used, however few the demands, and chains stay where they are as long as
that refuses nobody more: few buckets move, at the price of some latency.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from apps.chains.engine.hybrid import Infeasible
from apps.chains.engine.placement import Demand, Kind, Placement, PlacementTask, RefusedChain, Terms, Ways
from apps.chains.engine.placement_answer import Before, answer_of, ways_before
from apps.chains.engine.placement_balance import Balance
from apps.chains.engine.placement_bounds import Relaxation, crossed_bound, later_bounds, missed_bound
from apps.chains.engine.placement_exact import solve
from apps.chains.engine.placement_search import Search, is_better
from apps.chains.engine.placement_tail import busy_limit, idle_tail_us, plumbing_us
from nfvportal.lib.errors import InvalidInputError

__all__ = ["Effort", "decompose", "place", "place_exactly"]

DEMANDS_MAX: Final = 5000
EXACT_SIZE_MAX: Final = 40


def _never() -> bool:
    return False


def _quiet(ratio: float, words: str) -> None:
    del ratio, words


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try.

    Args:
        exact_s: seconds per term for the exact solver; 0 for the decomposition alone.
        trials: servers on which each refused or crossing chain tries an exchange.
        seed: of what is chosen at random.
        is_over: asked between rounds; true stops what only improves the answer or its bound.
        progress: told the share done and a few words; may raise to stop.
    """

    exact_s: float = 5.0
    trials: int = 8
    seed: int = 1
    is_over: Callable[[], bool] = _never
    progress: Callable[[float, str], None] = _quiet


_EFFORT: Final = Effort()


@dataclass(frozen=True, slots=True)
class _Prepared:
    limits: tuple[float, ...]
    askers: tuple[int, ...]
    refused: dict[int, RefusedChain] = field(default_factory=dict)

    @property
    def lost(self) -> float:
        return math.fsum(row.demand.weight for row in self.refused.values())


def place(
    task: PlacementTask, *, before: Before | None = None, effort: Effort = _EFFORT
) -> Placement | Infeasible:
    """Return a placement; or why there is none at all.

    Args:
        before: the previous placement (``before_of``); chains in it stay where they are as far as possible.

    Raises:
        InvalidInputError: ``demands``, ``servers`` or a number in them is beyond its limit.
    """
    _check(task)
    if not task.servers:
        return Infeasible("capacity", "There is no server at hand.")
    size = sum(len(demand.nfs) for demand in task.demands)
    is_small = size <= EXACT_SIZE_MAX and size * len(task.servers) <= 8 * EXACT_SIZE_MAX
    if effort.exact_s > 0 and is_small and not before:
        other = decompose(task, effort=effort)
        found = place_exactly(task, effort=effort, known=other)
        if found is None or _rank(other) < _rank(found):
            return other
        return found
    return decompose(task, before=before, effort=effort)


def _rank(placement: Placement) -> tuple[float, ...]:
    terms = placement.terms
    return tuple(round(value, 6) for value in (terms.missed, terms.crossed, terms.mean_us, terms.copies))


def place_exactly(
    task: PlacementTask, *, effort: Effort = _EFFORT, known: Placement | None = None
) -> Placement | None:
    """Return the best placement, proven where ``is_optimal``; ``None`` if nothing was found in time.

    Args:
        known: a placement to begin with, with its bounds.

    Complexity: exponential; see ``placement_exact``.
    """
    _check(task)
    prepared = _prepare(task)
    found = solve(task, prepared.limits, prepared.askers, effort.exact_s, known)
    if found.ways is None:
        return None
    refused = _refusals(task, prepared, found.ways)
    answer = answer_of(task, prepared.limits, found.ways, refused, method="exact", parts=found.parts)
    later = later_bounds(task, prepared.limits, found.ways, found.bounds.crossed)
    bounds = Terms(
        found.bounds.missed + prepared.lost,
        found.bounds.crossed,
        max(found.bounds.mean_us, later.mean_us),
        max(found.bounds.copies, later.copies),
    )
    return replace(answer, bounds=_at_most(bounds, answer.terms), is_optimal=found.is_optimal)


def _at_most(bounds: Terms, terms: Terms) -> Terms:
    """Return bounds that are not above what was found: where the solver's tolerance put them there."""
    return Terms(
        *(
            max(0.0, min(getattr(bounds, name), getattr(terms, name)))
            for name in ("missed", "crossed", "mean_us", "copies")
        )
    )


def decompose(task: PlacementTask, *, before: Before | None = None, effort: Effort = _EFFORT) -> Placement:
    """Return a good placement and bounds of the best.

    Complexity: O(demands x servers x network functions x users per instance) per order tried, with a linear program of
    2 servers + demands rows; 1000 demands over 100 servers in a minute.
    """
    _check(task)
    prepared = _prepare(task)
    ways, score = _search(task, prepared, before, effort)
    effort.progress(0.6, "bounding what any placement could do")
    relaxation = Relaxation(task, prepared.limits, prepared.askers)
    missed = missed_bound(relaxation, ways, score[0], effort.is_over)
    admitted = math.fsum(task.demands[number].weight for number in prepared.askers if ways[number])
    effort.progress(0.8, "bounding the servers crossed")
    crossed = crossed_bound(relaxation, ways, admitted, score[1], effort.is_over)
    effort.progress(0.9, "giving out buckets")
    refused = _refusals(task, prepared, ways)
    answer = answer_of(task, prepared.limits, ways, refused, method="decomposition", before=before)
    later = later_bounds(task, prepared.limits, ways, crossed)
    bounds = replace(later, missed=missed + prepared.lost, crossed=crossed)
    return replace(answer, bounds=_at_most(bounds, answer.terms))


def _search(
    task: PlacementTask, prepared: _Prepared, before: Before | None, effort: Effort
) -> tuple[Ways, tuple[float, float]]:
    """Return the best ways of several orders; with a previous placement, its own if that refuses no more."""
    best: tuple[Search, tuple[float, float]] | None = None
    if before:
        search = Search(task, prepared.limits, prepared.askers, Random(effort.seed))  # noqa: S311 - no secret
        order = _orders(task, prepared)[0]
        was = {n: ways_before(task, task.demands[n], before) for n in order}
        search.keep({number: ways for number, ways in was.items() if ways})
        search.fill(order)
        search.repair(effort.trials)
        best = search, search.score(prepared.askers)
        if best[1][0] <= 0:
            return search.ways, best[1]
    kept = best
    for number, order in enumerate(_orders(task, prepared)):
        effort.progress(0.05 + 0.2 * number, "placing chains")
        search = Search(task, prepared.limits, prepared.askers, Random(effort.seed + number))  # noqa: S311
        search.fill(order)
        search.repair(effort.trials)
        score = search.score(prepared.askers)
        if best is None or (is_better(score, best[1]) and not (before and score[0] >= best[1][0])):
            best = search, score
        if score[0] <= 0 and score[1] <= len(prepared.askers) + 1e-9:
            break
        if effort.is_over():
            break
    assert best is not None
    if best is not kept:
        effort.progress(0.5, "balancing servers")
        Balance(best[0].room).run(prepared.askers, effort.is_over)
    return best[0].ways, best[1]


def _orders(task: PlacementTask, prepared: _Prepared) -> list[list[int]]:
    """Return orders to place demands in: those worth most per core, and large ones, first."""
    cores = {
        number: sum(
            nf.kind.cores * task.demands[number].rate_pps * nf.kind.service_us / prepared.limits[number]
            for nf in task.demands[number].nfs
        )
        for number in prepared.askers
    }

    def is_bound(number: int) -> bool:
        return any(nf.pinned_server for nf in task.demands[number].nfs)

    by_worth = sorted(
        prepared.askers, key=lambda n: (-task.demands[n].weight / max(cores[n], 1e-12), not is_bound(n), n)
    )
    by_size = sorted(prepared.askers, key=lambda n: (-task.demands[n].weight, not is_bound(n), -cores[n], n))
    return [by_size, by_worth]


def _prepare(task: PlacementTask) -> _Prepared:
    """Return the limits of demands, and who can have no place whatever the others do."""
    limits = tuple(busy_limit(demand, task.constants) for demand in task.demands)
    refused = {}
    for number, demand in enumerate(task.demands):
        reason = _hopeless(task, demand, limits[number])
        if reason is not None:
            refused[number] = RefusedChain(demand, *reason)
    askers = tuple(number for number in range(len(task.demands)) if number not in refused)
    return _Prepared(limits, askers, refused)


def _pools(task: PlacementTask, limits: Sequence[float]) -> dict[str, float]:
    """Return, per single kind, its load by all demands that it could take."""
    loads: dict[str, float] = {}
    for demand, limit in zip(task.demands, limits, strict=True):
        for nf in demand.nfs:
            if nf.kind.is_single and limit > 0:
                load = demand.rate_pps * nf.kind.service_us * 1e-6
                loads[nf.kind.key] = loads.get(nf.kind.key, 0.0) + load
    return loads


def _hopeless(task: PlacementTask, demand: Demand, limit: float) -> tuple[str, str] | None:
    """Return why a demand cannot have a place, alone with all servers; ``None`` where it might."""
    names = {server.name for server in task.servers}
    if limit <= 0:
        least_us = idle_tail_us(demand) + plumbing_us(demand, task.constants, len(demand.segments))
        assert demand.slo_p99_us is not None
        return (
            "slo",
            f"Even on idle instances it takes up to {least_us / 1000:,.3g} ms at the 99th percentile;"
            f" the target is {demand.slo_p99_us / 1000:,.3g} ms.",
        )
    for nf in demand.nfs:
        if nf.pinned_server and nf.pinned_server not in names:
            return "pin", f"{nf.name} must run on {nf.pinned_server}, which is not at hand."
        found = _too_much(task, demand, nf.name, nf.kind, limit)
        if found is not None:
            return found
    part = demand.bps / (1 if any(nf.kind.is_single for nf in demand.nfs) else task.buckets)
    widest = max(server.link_bps for server in task.servers)
    if part > widest:
        return "link", f"It sends {part:,.0f} bit/s one way, and the widest link carries {widest:,.0f}."
    return None


def _too_much(
    task: PlacementTask, demand: Demand, name: str, kind: Kind, limit: float
) -> tuple[str, str] | None:
    load = demand.rate_pps * kind.service_us * 1e-6
    most = limit * 1e6 / kind.service_us
    if kind.is_single and load > limit:
        return (
            "single",
            f"All packets of {name} share state, so one instance must take {demand.rate_pps:,.0f} packets/s;"
            f" at most {limit:.0%} busy, as the target asks, it takes {most:,.0f}.",
        )
    if load / task.buckets > limit:
        return (
            "capacity",
            f"One of {task.buckets} buckets of {name} is {demand.rate_pps / task.buckets:,.0f} packets/s;"
            f" an instance at most {limit:.0%} busy takes {most:,.0f}.",
        )
    if kind.cores > max(server.cores for server in task.servers):
        return "capacity", f"An instance of {name} owns {kind.cores:g} cores, and no server has as many."
    return None


def _refusals(task: PlacementTask, prepared: _Prepared, ways: Ways) -> list[RefusedChain]:
    """Return all refused demands in their order, each with what stood against it."""
    owned = math.fsum(_cores_of(task, number, prepared) for number, found in enumerate(ways) if found)
    pools = _pools(task, prepared.limits)
    refused = []
    for number, demand in enumerate(task.demands):
        if number in prepared.refused:
            refused.append(prepared.refused[number])
        elif not ways[number]:
            refused.append(RefusedChain(demand, *_no_room(task, number, prepared, owned, pools)))
    return refused


def _cores_of(task: PlacementTask, number: int, prepared: _Prepared) -> float:
    demand = task.demands[number]
    return sum(
        nf.kind.cores
        * (
            1.0
            if nf.kind.is_single
            else demand.rate_pps * nf.kind.service_us * 1e-6 / prepared.limits[number]
        )
        for nf in demand.nfs
    )


def _no_room(
    task: PlacementTask, number: int, prepared: _Prepared, owned: float, pools: dict[str, float]
) -> tuple[str, str]:
    demand = task.demands[number]
    needed, spare = _cores_of(task, number, prepared), sum(server.cores for server in task.servers)
    for nf in demand.nfs:
        if nf.kind.is_single and pools[nf.kind.key] > prepared.limits[number]:
            most = prepared.limits[number] * 1e6 / nf.kind.service_us
            return (
                "single",
                f"{nf.name} shares the state of {nf.kind.key} with other chains, so one instance must take all"
                f" their packets; at most {prepared.limits[number]:.0%} busy it takes {most:,.0f} packets/s.",
            )
    left = "which leaves too little" if owned + needed > spare else "and what is left is in pieces too small"
    return (
        "capacity",
        f"With instances at most {prepared.limits[number]:.0%} busy it needs at least {needed:.2f} cores;"
        f" the admitted chains need {owned:,.1f} of {spare:,.1f}, {left}.",
    )


def _check(task: PlacementTask) -> None:
    if not 0 < len(task.demands) <= DEMANDS_MAX:
        raise InvalidInputError("chains", f"must be 1 to {DEMANDS_MAX}")
    if len({demand.name for demand in task.demands}) != len(task.demands):
        raise InvalidInputError("chains", "must have different names")
    if not 1 <= task.buckets <= 1024:
        raise InvalidInputError("buckets", "must be 1 to 1024")
    kinds: dict[str, Kind] = {}
    for index, demand in enumerate(task.demands):
        numbers = {"rate_pps": demand.rate_pps, "weight": demand.weight}
        for name, value in numbers.items():
            if not (value > 0 and math.isfinite(value)):
                raise InvalidInputError(f"chains[{index}].{name}", "must be above 0")
        for position, nf in enumerate(demand.nfs):
            if not (nf.kind.service_us > 0 and math.isfinite(nf.kind.service_us)):
                raise InvalidInputError(f"chains[{index}].nfs[{position}].service", "must be above 0")
            if kinds.setdefault(nf.kind.key, nf.kind) != nf.kind:
                raise InvalidInputError(
                    f"chains[{index}].nfs[{position}]", f"must be of one kind {nf.kind.key}"
                )
