"""Exact placement for operator scale: a mixed-integer program solved by HiGHS, the objective's terms one by one.

Whole numbers: buckets of every segment on every server, and of every network function on every instance; instances that
run; network functions that use an instance; demands admitted. An instance is no busier than each of its users allows:
``load <= 1 - (1 - limit) used``. The flow between segments gives the servers a packet enters.

A server may run as many instances of a kind as carry all its load twice over, and at least ``COPIES_MIN``; where its
cores would do for more, the last two terms are not bounded.

Each term is minimised with those before it fixed at their least. The mean latency is convex in the loads of instances;
it is bounded from below by tangents, so its optimum is one within the tangents' error, and the copies are the fewest
with at most ``LATENCY_SLACK`` more of it.

Source: brief, "Traffic-level parallelism" (a MILP by HiGHS, terms in this order).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import highspy
import numpy as np

from apps.chains.engine.placement import Kind, Placement, PlacementTask, Terms, Way, Ways
from apps.chains.engine.placement_instances import LATENCY_SLACK
from apps.chains.engine.placement_solver import quiet_solver
from apps.chains.engine.placement_tail import plumbing_us

# Points where the number of packets in an instance is touched by a line.
TANGENTS: Final = (0.0, 0.05, 0.1, 0.16, 0.22, 0.3, 0.38, 0.46, 0.54, 0.62, 0.7, 0.76, 0.82, 0.87, 0.9)
COPIES_MIN: Final = 4
_TINY: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Exact:
    """What the solver found: ways (``None`` without an answer in time), bounds, and and buckets per instance."""

    ways: Ways | None
    bounds: Terms
    is_optimal: bool
    parts: dict[tuple[int, int, int], list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Model:
    """The program. ``share[demand, segment, server]`` and ``part[demand, nf, server, copy]`` count buckets."""

    task: PlacementTask
    limits: Sequence[float]
    askers: Sequence[int]
    solver: highspy.Highs = field(default_factory=quiet_solver)
    admitted: dict[int, Any] = field(default_factory=dict)
    share: dict[tuple[int, int, int], Any] = field(default_factory=dict)
    entered: dict[tuple[int, int, int], Any] = field(default_factory=dict)
    part: dict[tuple[int, int, int, int], Any] = field(default_factory=dict)
    runs: dict[tuple[str, int, int], Any] = field(default_factory=dict)
    inside: dict[tuple[str, int, int], Any] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    users: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    used: dict[tuple[int, int, int, int], Any] = field(default_factory=dict)
    least: dict[str, int] = field(default_factory=dict)
    is_cut: bool = False
    hint: dict[int, float] = field(default_factory=dict)

    def build(self) -> None:
        self.solver.setOptionValue("mip_rel_gap", 0.0)
        self.solver.setOptionValue("mip_abs_gap", _TINY)
        for number in self.askers:
            self._demand(number)
        for key in sorted(self.kinds):
            self._kind(key)
        for server in range(len(self.task.servers)):
            self._server(server)

    def _demand(self, number: int) -> None:
        demand, solver, whole = self.task.demands[number], self.solver, self.task.buckets
        servers = range(len(self.task.servers))
        self.admitted[number] = solver.addBinary()
        for index, nf in enumerate(demand.nfs):
            self.kinds[nf.kind.key] = nf.kind
            self.users.setdefault(nf.kind.key, []).append((number, index))
        for segment, nfs in enumerate(demand.segments):
            pins = {demand.nfs[nf].pinned_server for nf in nfs} - {""}
            for server in servers:
                may = pins <= {self.task.servers[server].name}
                self.share[number, segment, server] = solver.addIntegral(ub=whole if may else 0)
                self.entered[number, segment, server] = solver.addVariable(lb=0, ub=whole)
                came = self.share[number, segment - 1, server] if segment else 0
                solver.addConstr(
                    self.entered[number, segment, server] >= self.share[number, segment, server] - came
                )
            total = sum(self.share[number, segment, server] for server in servers)
            solver.addConstr(total == whole * self.admitted[number])

    def _copies(self, key: str) -> int:
        """Return how many instances of a kind a server may run: no more than carry it twice over, or ``COPIES_MIN``."""
        kind = self.kinds[key]
        if kind.is_single:
            return 1
        needed = 0.0
        for number, nf in self.users[key]:
            needed += 2 * self._unit(number, nf) * self.task.buckets / self.limits[number]
        copies = max(COPIES_MIN, math.ceil(needed) + 1, self.least.get(key, 0))
        if not kind.cores:
            return copies
        most = int(max(server.cores for server in self.task.servers) / kind.cores + _TINY)
        self.is_cut = self.is_cut or most > copies
        return max(1, min(copies, most))

    def _unit(self, number: int, nf: int) -> float:
        demand = self.task.demands[number]
        return demand.rate_pps * demand.nfs[nf].kind.service_us * 1e-6 / self.task.buckets

    def _kind(self, key: str) -> None:
        solver, copies = self.solver, range(self._copies(key))
        for server in range(len(self.task.servers)):
            for copy in copies:
                run = self.runs[key, server, copy] = solver.addBinary()
                if copy:
                    solver.addConstr(run <= self.runs[key, server, copy - 1])
                self._instance(key, server, copy)
            for number, nf in self.users[key]:
                segment = next(i for i, nfs in enumerate(self.task.demands[number].segments) if nf in nfs)
                parts = sum(self.part[number, nf, server, copy] for copy in copies)
                solver.addConstr(parts == self.share[number, segment, server])
        if self.kinds[key].is_single:
            solver.addConstr(sum(self.runs[key, server, 0] for server in range(len(self.task.servers))) <= 1)

    def _instance(self, key: str, server: int, copy: int) -> None:
        solver, whole = self.solver, self.task.buckets
        run, load = self.runs[key, server, copy], 0
        uses = []
        for number, nf in self.users[key]:
            part = self.part[number, nf, server, copy] = solver.addIntegral(ub=whole)
            used = self.used[number, nf, server, copy] = solver.addBinary()
            solver.addConstr(part <= whole * used)
            solver.addConstr(used <= run)
            load = load + self._unit(number, nf) * part
            uses.append((used, self.limits[number]))
        for used, limit in uses:
            solver.addConstr(load <= 1 - (1 - limit) * used)
        kind = self.kinds[key]
        inside = self.inside[key, server, copy] = solver.addVariable(lb=0)
        factor = (1 + kind.scv) / 2
        for at in TANGENTS:
            value = at + factor * at * at / (1 - at)
            slope = 1 + factor * at * (2 - at) / (1 - at) ** 2
            solver.addConstr(inside >= slope * load + (value - slope * at))

    def _server(self, server: int) -> None:
        entry, owned, carried = self.task.servers[server], [], []
        for (key, at, _), run in self.runs.items():
            if at == server and self.kinds[key].cores:
                owned.append(self.kinds[key].cores * run)
        for (number, _, at), entered in self.entered.items():
            if at == server:
                carried.append(self.task.demands[number].bps / self.task.buckets / 1e6 * entered)
        if owned:
            self.solver.addConstr(sum(owned) <= entry.cores)
        if carried:
            self.solver.addConstr(sum(carried) <= entry.link_bps / 1e6)

    def start(self, known: Placement) -> None:
        """Tell the solver a placement to begin with, unless it runs more instances than the program has."""
        numbers: dict[tuple[str, str], int] = {}
        spots = []
        for instance in known.instances:
            at = (instance.kind.key, instance.server)
            spots.append((*at, numbers.setdefault(at, 0)))
            numbers[at] += 1
        of_server = {server.name: index for index, server in enumerate(self.task.servers)}
        of_demand = {demand.name: number for number, demand in enumerate(self.task.demands)}
        counts = dict.fromkeys(self._whole_numbers(), 0.0)
        for chain in known.chains:
            number = of_demand[chain.demand.name]
            counts[self.admitted[number].index] = 1.0
            for nf, owner in ((nf, owner) for nf, row in enumerate(chain.owners) for owner in row):
                key, name, copy = spots[owner]
                server = of_server[name]
                if (key, server, copy) not in self.runs:
                    return
                counts[self.part[number, nf, server, copy].index] += 1.0
                counts[self.used[number, nf, server, copy].index] = 1.0
                counts[self.runs[key, server, copy].index] = 1.0
            for segment, nfs in enumerate(chain.demand.segments):
                for owner in chain.owners[nfs[0]]:
                    counts[self.share[number, segment, of_server[spots[owner][1]]].index] += 1.0
        self.hint = counts

    def _whole_numbers(self) -> list[int]:
        tables = (self.admitted, self.share, self.part, self.runs, self.used)
        return [row.index for table in tables for row in table.values()]

    def missed(self) -> Any:
        return sum(
            self.task.demands[number].weight * (1 - admitted) for number, admitted in self.admitted.items()
        )

    def crossed(self) -> Any:
        return sum(self.entered.values()) * (1 / self.task.buckets)

    def latency_us(self) -> Any:
        """Return packets under way, times a second: microseconds times packets per second."""
        inside = sum(self.inside.values()) * 1e6
        constants = self.task.constants
        for number, admitted in self.admitted.items():
            demand = self.task.demands[number]
            inside = inside + demand.rate_pps * plumbing_us(demand, constants, 0) * admitted
        for (number, _, _), entered in self.entered.items():
            hop_us = constants.hop_us * self.task.demands[number].rate_pps / self.task.buckets
            inside = inside + hop_us * entered
        return inside * 1e-6

    def copies(self) -> Any:
        return sum(self.runs.values())

    def minimise(self, term: Any, time_limit_s: float) -> tuple[float, float] | None:
        """Return the least value found and its bound; ``None`` without any answer in time."""
        for presolve in ("choose", "off"):
            self.solver.setOptionValue("presolve", presolve)
            self.solver.setOptionValue("time_limit", self.solver.getRunTime() + time_limit_s)
            self.solver.setObjective(term, highspy.ObjSense.kMinimize)
            if self.hint:
                indexes = np.array(sorted(self.hint), dtype=np.int32)
                values = np.array([self.hint[index] for index in indexes])
                self.solver.setSolution(len(indexes), indexes, values)
            self.solver.solve()
            # HiGHS 1.16 sometimes loses its own answer while it undoes what presolve did; without, it finds it.
            if self.solver.getModelStatus() != highspy.HighsModelStatus.kSolveError:
                break
        info = self.solver.getInfo()
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return None
        solution = self.solver.getSolution().col_value
        self.hint = {index: float(round(solution[index])) for index in self._whole_numbers()}
        return float(info.objective_function_value), float(info.mip_dual_bound)

    def ways(self) -> Ways:
        values = self.solver.getSolution().col_value
        found: Ways = [()] * len(self.task.demands)
        for number, admitted in self.admitted.items():
            if values[admitted.index] > 0.5:
                found[number] = self._ways_of(number, values)
        return found

    def parts(self) -> dict[tuple[int, int, int], list[int]]:
        values = self.solver.getSolution().col_value
        found: dict[tuple[int, int, int], list[int]] = {}
        for (number, nf, server, _), part in sorted(self.part.items()):
            found.setdefault((number, nf, server), []).append(round(values[part.index]))
        return found

    def _ways_of(self, number: int, values: Sequence[float]) -> tuple[Way, ...]:
        """Return ways with the shares that were found: buckets stay on their server where they can."""
        open_ways: list[tuple[tuple[int, ...], int]] = [((), self.task.buckets)]
        for segment in range(len(self.task.demands[number].segments)):
            left = {
                server: round(values[self.share[number, segment, server].index])
                for server in range(len(self.task.servers))
            }
            stayed, moving = [], []
            for servers, count in open_ways:
                stays = min(count, left[servers[-1]]) if servers else 0
                if stays:
                    left[servers[-1]] -= stays
                    stayed.append(((*servers, servers[-1]), stays))
                if count > stays:
                    moving.append((servers, count - stays))
            open_ways = stayed + _given_out(moving, left)
        return tuple(Way(servers, count) for servers, count in open_ways)


def _given_out(
    moving: list[tuple[tuple[int, ...], int]], left: dict[int, int]
) -> list[tuple[tuple[int, ...], int]]:
    found = []
    for servers, count in moving:
        for server in sorted(left):
            taken = min(count, left[server])
            if taken:
                found.append(((*servers, server), taken))
                left[server] -= taken
                count -= taken
    return found


def solve(
    task: PlacementTask,
    limits: Sequence[float],
    askers: Sequence[int],
    time_limit_s: float,
    known: Placement | None = None,
) -> Exact:
    """Return the best ways of the demands that may have a place at all.

    Args:
        time_limit_s: per term.
        known: a placement to begin with; terms in which its own bound proves it best are not asked for again.

    Complexity: exponential; seconds for some ten demands over eight servers.
    """
    model = _Model(task, limits, askers, least=_most_at_a_server(known))
    model.build()
    bounds = [0.0, 0.0, 0.0, 0.0]
    if not askers:
        return Exact([()] * len(task.demands), Terms(*bounds), True)
    ways: Ways | None = None
    parts: dict[tuple[int, int, int], list[int]] = {}
    is_optimal = True
    proven = _proven(known, model)
    if known is not None:
        model.start(known)
    for index, term in enumerate((model.missed(), model.crossed(), model.latency_us(), model.copies())):
        if index < len(proven):
            bounds[index] = proven[index]
            model.solver.addConstr(term <= proven[index] + _TINY * max(1.0, proven[index]))
            continue
        found = model.minimise(term, time_limit_s)
        if found is None:
            return Exact(ways, Terms(*bounds), False, parts)
        value, bounds[index] = found
        ways, parts = model.ways(), model.parts()
        is_optimal = is_optimal and value - bounds[index] <= 1e-4 * max(1.0, abs(value))
        slack = LATENCY_SLACK * value if index == 2 else _TINY * max(1.0, abs(value))
        if index < 3:
            model.solver.addConstr(term <= value + slack)
    rate = sum(task.demands[number].rate_pps for number in askers if ways and ways[number])
    bounds[2] = bounds[2] * 1e6 / rate if rate and not model.is_cut else 0.0
    bounds[3] = 0.0 if model.is_cut else bounds[3]
    return Exact(ways, Terms(*bounds), is_optimal, parts)


def _most_at_a_server(known: Placement | None) -> dict[str, int]:
    """Return, per kind, the most instances of it that a placement has on one server."""
    counts: dict[tuple[str, str], int] = {}
    for instance in known.instances if known is not None else ():
        at = (instance.kind.key, instance.server)
        counts[at] = counts.get(at, 0) + 1
    most: dict[str, int] = {}
    for (key, _), count in counts.items():
        most[key] = max(most.get(key, 0), count)
    return most


def _proven(known: Placement | None, model: _Model) -> tuple[float, ...]:
    """Return the first terms of a placement, without the hopeless demands, as far as its bounds prove them best."""
    if known is None:
        return ()
    asked = {model.task.demands[number].name for number in model.askers}
    lost = math.fsum(row.demand.weight for row in known.refused if row.demand.name not in asked)
    found = []
    for value, bound, rest in (
        (known.terms.missed, known.bounds.missed, lost),
        (known.terms.crossed, known.bounds.crossed, 0.0),
    ):
        if value - bound > _TINY:
            break
        found.append(max(0.0, value - rest))
    return tuple(found)
