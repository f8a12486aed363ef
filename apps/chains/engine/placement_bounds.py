"""What no placement goes below: a linear program over ways, by column generation.

Relaxed are whole instances (a network function owns cores in proportion to its load over its limit; a single kind that
only one network function uses owns them whole), whole buckets, and that single kinds are not split. What is left:

    a column is a demand on one way; cores and links of servers limit the columns together

For every price of cores and links, and every value of a demand, the cheapest way of each demand is found exactly, by
dynamic programming over segments and servers; what the prices then say is a bound (Lagrange), whether or not the
program was solved to its end. So rounding inside the solver cannot make a bound wrong.

- missed: the least weight refused.
- crossed: the fewest servers crossed by placements that refuse no more than was found.
- mean latency: of the demands admitted; every kind's instances share its load evenly (convexity), the servers' cores
  are one pool and may be used in parts; every packet visits no fewer servers than the crossed bound says.
- copies: of the demands admitted; every kind has as many instances as its load over the loosest limits needs.

The last two are those of the admitted demands, as they depend on which are.

Source: Dantzig and Wolfe 1960; Farley 1990 (bounds before the end). Rows: 2 servers + demands.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import highspy
import numpy as np
from numpy.typing import NDArray

from apps.chains.engine.placement import Kind, PlacementTask, Terms, Ways
from apps.chains.engine.placement_instances import in_system
from apps.chains.engine.placement_solver import quiet_solver
from apps.chains.engine.placement_tail import plumbing_us

Values = NDArray[np.float64]
ROUNDS_MAX: Final = 60
_CALM: Final = 1e-6


@dataclass(slots=True)
class Prices:
    """Per server, of a core and of a bit/s; and of a unit of weight that must be admitted."""

    cores: Values
    bps: Values
    weight: float = 0.0


@dataclass(slots=True)
class Ask:
    """Demands of the same number of segments, as arrays.

    Args:
        demands: which. cores: float64[demands, segments, servers], infinite where pinned elsewhere.
        bps: float64[demands].
    """

    demands: list[int]
    cores: Values
    bps: Values


@dataclass(slots=True)
class Relaxation:
    """The linear program of a task; ``limits`` per demand, ``askers``: those that may have a place."""

    task: PlacementTask
    limits: Sequence[float]
    askers: Sequence[int]
    asks: list[Ask] = field(init=False)
    capacity: Values = field(init=False)
    links: Values = field(init=False)
    row_of: dict[int, tuple[Ask, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        servers = self.task.servers
        self.capacity = np.array([server.cores for server in servers])
        self.links = np.array([server.link_bps for server in servers])
        uses: dict[str, int] = defaultdict(int)
        for number in self.askers:
            for nf in self.task.demands[number].nfs:
                uses[nf.kind.key] += 1
        by_length: dict[int, list[int]] = defaultdict(list)
        for number in self.askers:
            by_length[len(self.task.demands[number].segments)].append(number)
        self.asks = [self._ask(numbers, uses) for _, numbers in sorted(by_length.items())]
        self.row_of = {number: (ask, row) for ask in self.asks for row, number in enumerate(ask.demands)}

    def _ask(self, numbers: list[int], uses: dict[str, int]) -> Ask:
        demands = [self.task.demands[number] for number in numbers]
        cores = np.zeros((len(numbers), len(demands[0].segments), len(self.task.servers)))
        names = [server.name for server in self.task.servers]
        for row, (number, demand) in enumerate(zip(numbers, demands, strict=True)):
            for column, segment in enumerate(demand.segments):
                for nf in segment:
                    kind, pin = demand.nfs[nf].kind, demand.nfs[nf].pinned_server
                    load = demand.rate_pps * kind.service_us * 1e-6
                    is_whole = kind.is_single and uses[kind.key] == 1
                    cores[row, column] += kind.cores * (1.0 if is_whole else load / self.limits[number])
                    if pin:
                        cores[row, column, [name != pin for name in names]] = math.inf
        return Ask(numbers, cores, np.array([demand.bps for demand in demands]))

    def cheapest(self, prices: Prices, per_visit: float) -> dict[int, tuple[float, tuple[int, ...]]]:
        """Return, per demand, the price of its cheapest way, and the way. Complexity: O(segments x servers) each."""
        found = {}
        for ask in self.asks:
            with np.errstate(invalid="ignore"):
                costs = np.where(np.isinf(ask.cores), math.inf, ask.cores * prices.cores)
            enter = per_visit + ask.bps[:, None] * prices.bps
            best = costs[:, 0] + enter
            came: list[NDArray[np.int64]] = []
            here = np.arange(best.shape[1])
            for column in range(1, costs.shape[1]):
                other = best.argmin(axis=1)
                switched = np.take_along_axis(best, other[:, None], 1) + enter
                came.append(np.where(best <= switched, here, other[:, None]))
                best = costs[:, column] + np.minimum(best, switched)
            last = best.argmin(axis=1)
            for row, number in enumerate(ask.demands):
                way = [int(last[row])]
                for previous in reversed(came):
                    way.append(int(previous[row, way[-1]]))
                found[number] = (float(best[row, last[row]]), tuple(reversed(way)))
        return found

    def spent(self, prices: Prices) -> float:
        """Return what all cores and links are worth."""
        return float(prices.cores @ self.capacity + prices.bps @ self.links)

    def missed_at(self, prices: Prices) -> float:
        """Return the bound on refused weight that prices give."""
        found = self.cheapest(prices, 0.0)
        weights = {number: self.task.demands[number].weight for number in self.askers}
        gained = math.fsum(max(0.0, weight - found[number][0]) for number, weight in weights.items())
        return math.fsum(weights.values()) - self.spent(prices) - gained

    def crossed_at(self, prices: Prices, admitted: float) -> float:
        """Return the bound on servers crossed that prices give, when at least a weight is admitted."""
        found = self.cheapest(prices, 1.0)
        gained = math.fsum(
            max(0.0, prices.weight * self.task.demands[number].weight - found[number][0])
            for number in self.askers
        )
        return prices.weight * admitted - self.spent(prices) - gained


@dataclass(slots=True)
class _Program:
    """The program of the columns known so far, in the solver. Rows: cores, links, demands, the admitted weight."""

    relaxation: Relaxation
    per_visit: float
    admitted: float
    solver: highspy.Highs = field(init=False)
    row_of: dict[int, int] = field(default_factory=dict)
    known: set[tuple[int, tuple[int, ...]]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.solver = quiet_solver()
        relaxation, infinite = self.relaxation, highspy.kHighsInf
        for limit in relaxation.capacity:
            self.solver.addRow(-infinite, float(limit), 0, np.array([], dtype=np.int32), np.array([]))
        for limit in relaxation.links:
            self.solver.addRow(-infinite, float(limit) / 1e6, 0, np.array([], dtype=np.int32), np.array([]))
        for number in relaxation.askers:
            self.row_of[number] = self.solver.getNumRow()
            self.solver.addRow(-infinite, 1.0, 0, np.array([], dtype=np.int32), np.array([]))
        if self.admitted:
            self.solver.addRow(self.admitted, infinite, 0, np.array([], dtype=np.int32), np.array([]))

    def add(self, number: int, way: tuple[int, ...]) -> bool:
        """Add a column; return whether it is new."""
        if (number, way) in self.known:
            return False
        self.known.add((number, way))
        relaxation = self.relaxation
        ask, row = relaxation.row_of[number]
        demand, count = relaxation.task.demands[number], len(relaxation.task.servers)
        entries: dict[int, float] = defaultdict(float)
        previous, visits = -1, 0
        for column, server in enumerate(way):
            entries[server] += float(ask.cores[row, column, server])
            if server != previous:
                entries[count + server] += demand.bps / 1e6
                visits += 1
            previous = server
        entries[self.row_of[number]] = 1.0
        if self.admitted:
            entries[self.solver.getNumRow() - 1] = demand.weight
        cost = self.per_visit * visits - (0.0 if self.admitted else demand.weight)
        indexes = np.array(sorted(entries), dtype=np.int32)
        self.solver.addCol(
            cost, 0.0, highspy.kHighsInf, len(entries), indexes, np.array([entries[i] for i in indexes])
        )
        return True

    def prices(self) -> Prices | None:
        """Solve, and return what the solver says of the limits; ``None`` where it found no answer."""
        self.solver.run()
        if self.solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        duals = np.array(self.solver.getSolution().row_dual)
        count = len(self.relaxation.task.servers)
        weight = max(0.0, float(duals[-1])) if self.admitted else 0.0
        return Prices(
            np.maximum(0.0, -duals[:count]), np.maximum(0.0, -duals[count : 2 * count]) / 1e6, weight
        )


def missed_bound(relaxation: Relaxation, ways: Ways, goal: float, is_over: Callable[[], bool]) -> float:
    """Return a lower bound on the weight refused among ``askers``.

    Args:
        ways: known ones, to start from; goal: what was found, so that nothing more is to be proven.
        is_over: whether to stop here; the bound is right at any time.
    """
    if goal <= 0 or not relaxation.askers:
        return 0.0
    program = _Program(relaxation, 0.0, 0.0)

    def profit(number: int, price: float) -> float:
        return relaxation.task.demands[number].weight - price

    start = max(
        (_even(relaxation, price) for price in _ladder(relaxation)), key=relaxation.missed_at, default=None
    )
    return max(
        0.0,
        _generate(program, ways, relaxation.missed_at, profit, start, goal, is_over),
    )


def crossed_bound(
    relaxation: Relaxation, ways: Ways, admitted: float, goal: float, is_over: Callable[[], bool]
) -> float:
    """Return a lower bound on servers crossed by placements that admit at least a weight; see ``missed_bound``."""
    if not admitted:
        return 0.0
    weights = sorted((relaxation.task.demands[number].weight for number in relaxation.askers), reverse=True)
    trivial, rest = 0.0, admitted
    for weight in weights:
        trivial += min(1.0, max(0.0, rest) / weight)
        rest -= weight
    if trivial >= goal - _CALM:
        return min(trivial, goal)
    program = _Program(relaxation, 1.0, admitted * (1 - 1e-9))

    def profit(number: int, price: float) -> float:
        return -price

    def bound(prices: Prices) -> float:
        return relaxation.crossed_at(prices, admitted)

    return max(trivial, _generate(program, ways, bound, profit, None, goal, is_over))


def _ladder(relaxation: Relaxation) -> Values:
    """Return prices of a core at which demands are just worth their cores."""
    rates = []
    for ask in relaxation.asks:
        least = ask.cores.min(axis=2).sum(axis=1)
        for number, cores in zip(ask.demands, least, strict=True):
            if math.isfinite(cores) and cores > 0:
                rates.append(relaxation.task.demands[number].weight / cores)
    return np.unique(np.quantile(rates, np.linspace(0, 1, 33))) if rates else np.array([])


def _even(relaxation: Relaxation, price: float) -> Prices:
    return Prices(np.full(len(relaxation.capacity), price), np.zeros(len(relaxation.capacity)))


def _generate(
    program: _Program,
    ways: Ways,
    bound: Callable[[Prices], float],
    profit: Callable[[int, float], float],
    start: Prices | None,
    goal: float,
    is_over: Callable[[], bool],
) -> float:
    """Return the best bound met while columns are added; prices are drawn towards those of the best bound."""
    for number in program.relaxation.askers:
        for way in ways[number]:
            program.add(number, way.servers)
    centre, best = start, bound(start) if start is not None else -math.inf
    for _ in range(ROUNDS_MAX):
        prices = program.prices()
        if prices is None or is_over():
            break
        added = 0
        for trial in ([_between(centre, prices)] if centre is not None else []) + [prices]:
            value = bound(trial)
            if value > best:
                best, centre = value, trial
            added += _add_columns(program, trial, profit)
        if not added or best >= goal - _CALM * max(1.0, goal):
            break
    return min(best, goal)


def _add_columns(program: _Program, prices: Prices, profit: Callable[[int, float], float]) -> int:
    found = program.relaxation.cheapest(prices, program.per_visit)
    demands = program.relaxation.task.demands
    return sum(
        program.add(number, way)
        for number, (price, way) in found.items()
        if math.isfinite(price) and profit(number, price - prices.weight * demands[number].weight) > -_CALM
    )


def _between(one: Prices, other: Prices) -> Prices:
    return Prices((one.cores + other.cores) / 2, (one.bps + other.bps) / 2, (one.weight + other.weight) / 2)


def later_bounds(task: PlacementTask, limits: Sequence[float], ways: Ways, crossed: float) -> Terms:
    """Return bounds of mean latency and copies for the demands that ways admit; the first two terms are 0.

    Args:
        crossed: bound on servers crossed, over all admitted demands.
    """
    loads: dict[str, tuple[Kind, float, float]] = {}
    rate = outside = 0.0
    slowest = math.inf
    for number, demand in enumerate(task.demands):
        if not ways[number]:
            continue
        rate += demand.rate_pps
        outside += demand.rate_pps * plumbing_us(demand, task.constants, 1)
        slowest = min(slowest, demand.rate_pps)
        for nf in demand.nfs:
            load = demand.rate_pps * nf.kind.service_us * 1e-6
            _, whole, limited = loads.get(nf.kind.key, (nf.kind, 0.0, 0.0))
            loads[nf.kind.key] = (nf.kind, whole + load, limited + load / limits[number])
    if not rate:
        return Terms(0.0, 0.0, 0.0, 0.0)
    admitted = sum(bool(found) for found in ways)
    outside += task.constants.hop_us * slowest * max(0.0, crossed - admitted)
    copies = sum(1.0 if kind.is_single else math.ceil(limited - 1e-6) for kind, _, limited in loads.values())
    inside = _least_inside(list(loads.values()), sum(server.cores for server in task.servers))
    return Terms(0.0, 0.0, (inside * 1e6 + outside) / rate, copies)


def _least_inside(loads: list[tuple[Kind, float, float]], cores: float) -> float:
    """Return the least packets in instances that own so many cores in all, and may be parts.

    For a price of cores each kind's count is where one more part would gain as much; the price by bisection.
    """
    free = [entry for entry in loads if entry[0].cores > 0 and not entry[0].is_single]
    fixed = math.fsum(
        in_system(kind, load, 1) if kind.is_single else load for kind, load, _ in loads
        if kind.is_single or not kind.cores
    )  # fmt: skip
    cores -= sum(kind.cores for kind, _, _ in loads if kind.is_single)

    def dual(price: float) -> float:
        total = -price * cores
        for kind, load, _ in free:
            count = load * _count_per_load(kind, price)
            total += _smooth(kind, load, count) + price * kind.cores * count
        return total

    low, high = 1e-12, 1e12
    for _ in range(200):
        third = (high / low) ** (1 / 3)
        if dual(low * third) < dual(high / third):
            low *= third
        else:
            high /= third
    return fixed + max(dual(math.sqrt(low * high)), math.fsum(load for _, load, _ in free))


def _smooth(kind: Kind, load: float, count: float) -> float:
    """Return the packets in a count of instances that may be a part."""
    busy = load / count
    return load * (1 + busy * (1 + kind.scv) / (2 * (1 - busy)))


def _count_per_load(kind: Kind, price: float) -> float:
    """Return instances per load where one more costs what it gains: x = 1 + sqrt(k / price), k = (1 + scv) / 2 cores.

    With x instances per unit of load the packets are load (1 + k' / (x - 1)); their slope is -k' / (x - 1)^2.
    """
    return 1 + math.sqrt((1 + kind.scv) / 2 / (price * kind.cores))
