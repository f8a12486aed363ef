"""The planner, dumb: every assignment of network functions to servers, every series-parallel graph, every home.

Costs are counted anew from the sentences of ``planning_cost``; only its figures are shared. ``best_cost_us`` goes over
all graphs by recursion over lists of indexes, ``all_nodes`` writes every graph down (small chains only).
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any

from apps.chains.engine.blocks import is_valid_root
from apps.chains.engine.chain import Chain, CostConstants, NfInstance, Server, ServiceTime
from apps.chains.engine.fields import Field
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series
from apps.chains.engine.planning_cost import PlanningCost, cost_us, planning_cost
from apps.chains.engine.profiles import ActionProfile, Flag, StateScope
from apps.chains.engine.region_search import search
from apps.chains.engine.room import cores_of, room_of
from apps.chains.engine.sequence import sequential_root

HOME = "classifier"
Part = tuple[int, ...]


def random_profile(rng: random.Random) -> ActionProfile:
    """Return a profile of few fields, so that some pairs conflict and some do not."""
    fields = (Field.IP_SRC, Field.DST_PORT, Field.IP_TOS, Field.PAYLOAD)
    reads = frozenset(rng.sample(fields, rng.randint(0, 2)))
    flags = {Flag.TERMINATES} if rng.random() < 0.05 else set()
    drops = rng.random() < 0.25
    return ActionProfile(
        reads=reads,
        writes=frozenset(rng.sample(fields, rng.choice((0, 0, 0, 1, 2)))),
        adds_header=rng.random() < 0.08,
        drops=drops,
        drop_reads=reads if drops else frozenset(),
        flags=frozenset(flags),
        state=StateScope.FLOW,
    )


def random_chain(rng: random.Random, length: int) -> Chain:
    """Return a chain of made-up network functions."""
    nfs = tuple(
        NfInstance(
            f"nf-{index}",
            "made-up",
            random_profile(rng),
            ServiceTime(rng.uniform(5, 200), rng.choice((0.0, 0.3, 1.0, 2.0)), rng.random() < 0.1),
        )
        for index in range(length)
    )
    return Chain("made-up", nfs, rate_pps=rng.uniform(200, 4500))


def random_constants(rng: random.Random) -> CostConstants:
    """Return costs of plumbing, cheap or dear."""
    return replace(
        CostConstants(),
        hop_us=rng.choice((0.5, 5.0, 30.0, 100.0)),
        merge_branch_us=rng.choice((0.2, 1.0, 15.0)),
        margin_ratio=rng.choice((0.0, 0.05, 0.15)),
    )


def random_servers(rng: random.Random, cores: float, number: int) -> list[Server]:
    """Return servers that are tight for a chain that needs so many cores."""
    tight = rng.choice((1.05, 1.3, 1.6, 2.5))
    if rng.random() < 0.5:
        return [Server(f"s{index}", max(0.05, cores * tight / number)) for index in range(number)]
    return [Server(f"s{index}", max(0.05, cores * tight * rng.uniform(0.25, 0.9))) for index in range(number)]


def partitions(part: Part) -> Iterator[list[Part]]:
    """Yield every way to split a set into nonempty sets."""
    if not part:
        yield []
        return
    rest = part[1:]
    for size in range(len(rest) + 1):
        for friends in combinations(rest, size):
            chosen = (part[0], *friends)
            for others in partitions(tuple(index for index in rest if index not in friends)):
                yield [chosen, *others]


Memo = dict[tuple[object, ...], Any]


class Twin:
    """Least costs for one assignment of network functions to servers.

    Args:
        memo: what assignments that agree on a part share; the same dictionary for all of one instance.
    """

    def __init__(self, costs: PlanningCost, servers: Sequence[str], memo: Memo | None = None) -> None:
        self.costs, self.servers = costs, servers
        self.homes = [*dict.fromkeys(servers), HOME]
        self._known: Memo = {} if memo is None else memo
        self._homes_key = frozenset(self.homes)

    def _remembered(self, work: Callable[..., Any], part: Part, *rest: object) -> Any:
        """Return what ``work`` gives for a part; it depends on nothing but the part's servers and these arguments."""
        key = (work.__name__, part, tuple(self.servers[index] for index in part), self._homes_key, *rest)
        if key not in self._known:
            self._known[key] = work(part, *rest)
        return self._known[key]

    def best(self, part: Part, where: str, never: frozenset[str]) -> dict[str, float]:
        """Return the least cost by where the packet is afterwards; machines in ``never`` are not touched."""
        found: dict[str, float] = self._remembered(self._best, part, where, never)
        return found

    def lines(self, part: Part, where: str, never: frozenset[str]) -> dict[str, float]:
        """Return the same for what is no block."""
        found: dict[str, float] = self._remembered(self._lines, part, where, never)
        return found

    def total_us(self) -> float:
        """Return the least cost of the whole chain."""
        ends = self.best(tuple(range(len(self.servers))), HOME, frozenset())
        return min(cost + self.hop(end, HOME) for end, cost in ends.items())

    def hop(self, source: str, target: str) -> float:
        return 0.0 if source == target else self.costs.hop_us

    def _best(self, part: Part, where: str, never: frozenset[str]) -> dict[str, float]:
        ends = dict(self.lines(part, where, never))
        for home in self.homes:
            if home in never or len(part) == 1:
                continue
            cost: float | None = self._remembered(self._cheapest_block, part, home, never)
            if cost is not None:
                ends[home] = min(ends.get(home, 1e99), self.hop(where, home) + cost)
        return ends

    def _cheapest_block(self, part: Part, home: str, never: frozenset[str]) -> float | None:
        """Return the least cost of all blocks of a part at a home: refused pairs share a branch, the rest is tried."""
        clumps = self._clumps(part)
        costs = []
        for way in partitions(tuple(range(len(clumps)))):
            branches = [tuple(sorted(sum((clumps[number] for number in group), ()))) for group in way]
            cost = self.block(branches, home, never) if len(branches) > 1 else None
            if cost is not None:
                costs.append(cost)
        return min(costs, default=None)

    def _clumps(self, part: Part) -> list[Part]:
        """Return what must stay in one branch because of refused pairs, directly or through others."""
        clumps: list[Part] = []
        for index in part:
            near = [one for one in clumps if self.crossing([one, (index,)], self.costs.refused)]
            clumps = [one for one in clumps if one not in near]
            clumps.append(tuple(sorted(sum(near, (index,)))))
        return clumps

    def _lines(self, part: Part, where: str, never: frozenset[str]) -> dict[str, float]:
        if len(part) == 1:
            server = self.servers[part[0]]
            if server in never:
                return {}
            return {server: self.hop(where, server) + self.costs.nf_us[part[0]]}
        ends: dict[str, float] = {}
        for cut in range(1, len(part)):
            for middle, before in self.best(part[:cut], where, never).items():
                for end, after in self.best(part[cut:], middle, never).items():
                    ends[end] = min(ends.get(end, 1e99), before + after)
        return ends

    def block(self, branches: list[Part], home: str, never: frozenset[str]) -> float | None:
        """Return the cost of a block mirrored and merged at ``home``; ``None`` where it may not be."""
        if self.crossing(branches, self.costs.refused):
            return None
        units: list[tuple[Part, float]] = []
        groups: dict[str, list[Part]] = {}
        for branch in branches:
            on = {self.servers[index] for index in branch}
            if home in on and len(on) > 1:
                return None
            if on == {home}:
                units.append((branch, self.alone(branch, home)))
            elif len(on) == 1:
                groups.setdefault(on.pop(), []).append(branch)
            else:
                ends = self.lines(branch, home, never | {home})
                if not ends:
                    return None
                units.append((branch, min(cost + self.hop(end, home) for end, cost in ends.items())))
        if set(groups) & never or (len(groups) == 1 and not units):
            # All on one other server: the block lives there.
            return None
        ways = product(*(self.bundles(tuple(members), server) for server, members in groups.items()))
        return min(self.joined(units + [unit for bundle in way for unit in bundle]) for way in ways)

    def bundles(self, members: tuple[Part, ...], server: str) -> list[list[tuple[Part, float]]]:
        """Return every way to send branches to their server, some of them as one."""
        part = tuple(sorted(sum(members, ())))
        found: list[list[tuple[Part, float]]] = self._remembered(self._bundles, part, server, members)
        return found

    def _bundles(self, part: Part, server: str, members: tuple[Part, ...]) -> list[list[tuple[Part, float]]]:
        del part
        found = []
        for way in partitions(tuple(range(len(members)))):
            bundle = []
            for group in way:
                parts = [members[number] for number in group]
                inside = self.alone(parts[0], server)
                if len(parts) > 1:
                    block = self.block(parts, server, frozenset())
                    assert block is not None
                    inside = block
                bundle.append((tuple(sorted(sum(parts, ()))), inside + 2 * self.costs.hop_us))
            found.append(bundle)
        return found

    def alone(self, branch: Part, server: str) -> float:
        """Return the cost of a branch that stays on one server."""
        others = frozenset(home for home in self.homes if home != server)
        return self.lines(branch, server, others)[server]

    def joined(self, units: list[tuple[Part, float]]) -> float:
        costs = self.costs
        powers = 0.0
        for branch, time in units:
            full = any(costs.needs_payload[index] for index in branch)
            overhead = costs.full_us if full else costs.header_us
            powers += math.pow(time + overhead, costs.exponent)
        factor = costs.inflation
        return (costs.block_us + math.pow(powers, 1 / costs.exponent)) * factor

    @staticmethod
    def crossing(branches: Sequence[Part], pairs: frozenset[tuple[int, int]]) -> bool:
        return any(
            (min(a, b), max(a, b)) in pairs
            for one, other in combinations(branches, 2)
            for a, b in product(one, other)
        )


def best_cost_us(chain: Chain, costs: PlanningCost, servers: Sequence[Server]) -> float | None:
    """Return the least cost over all assignments that servers have the cores for; ``None`` where there is none."""
    need = [0.0 if nf.service.is_waiting else nf.service.mean_us * chain.rate_pps / 1e6 for nf in chain.nfs]
    found: list[float] = []
    memo: Memo = {}
    for names in product([server.name for server in servers], repeat=len(chain.nfs)):
        if len({server.cores for server in servers}) == 1:
            order = list(dict.fromkeys(names))
            if order != [server.name for server in servers][: len(order)]:
                continue
        used = {server.name: 0.0 for server in servers}
        for name, cores in zip(names, need, strict=True):
            used[name] += cores
        pins_kept = all(nf.pinned_server in ("", name) for nf, name in zip(chain.nfs, names, strict=True))
        if pins_kept and all(used[server.name] <= server.cores + 1e-9 for server in servers):
            found.append(Twin(costs, names, memo).total_us())
    return min(found, default=None)


def all_nodes(costs: PlanningCost, servers: Sequence[str], part: Part) -> Iterator[Node]:
    """Yield every graph of a part on given servers, with every choice of homes."""
    yield from _all_lines(costs, servers, part)
    homes = [*dict.fromkeys(servers), HOME]
    for branches in partitions(part):
        if len(branches) < 2 or Twin.crossing(branches, costs.refused):
            continue
        choices = [list(_all_lines(costs, servers, branch)) for branch in branches]
        for home, chosen in product(homes, product(*choices)):
            yield Parallel(tuple(chosen), (Copy.FULL,) * len(chosen), home)


def _all_lines(costs: PlanningCost, servers: Sequence[str], part: Part) -> Iterator[Node]:
    if len(part) == 1:
        yield Nf(part[0], servers[part[0]])
    for cut in range(1, len(part)):
        fronts = [node for node in all_nodes(costs, servers, part[:cut]) if not isinstance(node, Series)]
        for front, rest in product(fronts, list(all_nodes(costs, servers, part[cut:]))):
            yield Series((front, *(rest.parts if isinstance(rest, Series) else (rest,))))


# Network functions and servers; 8 network functions on one server have up to 10^5 graphs.
SIZES = ((1, 2), (2, 2), (2, 3), (3, 2), (3, 3), (4, 2), (4, 3), (5, 1), (5, 2), (6, 1), (7, 1), (8, 1))


def _near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9)


def checked_instance(seed: int, sizes: Sequence[tuple[int, int]] = SIZES) -> str:
    """Compare the search with brute force on one random instance.

    Returns:
        ``none`` (neither finds a plan), ``exact`` (equal), ``bounded`` (not claimed to be the best, and within its
        bound), ``beyond`` (cheaper than every graph of the twin's class), or what differs.
    """
    rng = random.Random(seed)
    length, number = rng.choice(sizes)
    chain, constants = random_chain(rng, length), random_constants(rng)
    servers = random_servers(rng, sum(cores_of(chain, nf) for nf in chain.nfs), number)
    costs = planning_cost(chain, constants)
    if seed % 2:
        costs = costs.without_copies()
    want = best_cost_us(chain, costs, servers)
    room = room_of(chain, servers, {})
    row = sequential_root(room)
    if want is None or row is None:
        return "none" if want is None and row is None else "only one of both finds a place"
    found = search(room, costs, row)
    if found is None or is_valid_root(chain, found.root):
        return "not a plan"
    if not _near(cost_us(costs, found.root), found.cost_us):
        return "the graph does not cost what the search says"
    if found.bound_us > want * (1 + 1e-9):
        return "the bound is too high"
    if found.is_exact:
        if found.cost_us < want * (1 - 1e-9):
            # Packing gave a branch away from home a way over its home: no graph of the twin's, and cheaper.
            return "beyond"
        return "exact" if _near(found.cost_us, want) else f"cost {found.cost_us}, least {want}"
    return "bounded" if found.cost_us >= want * (1 - 1e-9) else "better than brute force"
