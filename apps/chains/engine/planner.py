"""Plans: the best hybrid chain for a chain and the servers at hand, or why there is none.

The search minimises ``planning_cost``, exactly up to ``EXACT_NFS_MAX`` network functions (``region_search``),
by windows beyond (``windows``). What it finds is then predicted with the distributions of ``latency``, and so
is the best sequential plan; the sequential one is taken unless the other is better in the mean and no worse in
the 99th percentile. So no plan is ever predicted worse than the chain as it was drawn.

A target for the 99th percentile that this plan misses is tried again without the margin, for times that do not vary,
and with the sequential plan; the first that meets it wins. If none does, the answer is ``Infeasible`` with the closest.

Source: brief, "From pairs to a hybrid chain", "Beneficial". Deviation: the 99th percentile is not minimised itself.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from apps.chains.engine.baselines import full_parallel_root, greedy_segments_root
from apps.chains.engine.blocks import is_valid_root, obligations
from apps.chains.engine.chain import NFS_MAX, Chain, CostConstants, Server
from apps.chains.engine.hybrid import Infeasible, Node, Plan, Prediction
from apps.chains.engine.latency import utilization_of
from apps.chains.engine.planning_cost import PlanningCost, cost_us, planning_cost
from apps.chains.engine.prediction import predict
from apps.chains.engine.region_search import Found, search
from apps.chains.engine.room import Room, cores_of, room_of
from apps.chains.engine.sequence import sequential_root
from apps.chains.engine.windows import search_windows
from nfvportal.lib.errors import InvalidInputError

__all__ = [
    "EXACT_NFS_MAX",
    "full_parallel_root",
    "greedy_segments_root",
    "hybridize",
    "is_valid_root",
    "predict",
    "sequential_plan",
]

EXACT_NFS_MAX: Final = 12
_NO_USAGE: Final[Mapping[str, float]] = MappingProxyType({})


def hybridize(
    chain: Chain,
    servers: Sequence[Server],
    constants: CostConstants,
    *,
    usage: Mapping[str, float] = _NO_USAGE,
) -> Plan | Infeasible:
    """Return the best plan for a chain, or why there is none.

    Args:
        chain: 1 to ``NFS_MAX`` network functions; pins are kept.
        servers: those at hand; equal servers are used in their order, fuller ones first.
        constants: what the plumbing costs; stored with the plan.
        usage: cores in use already, per server.

    Returns:
        A plan; or ``Infeasible`` with its witness and, where there is one, the best plan without that limit.

    Raises:
        InvalidInputError: ``nfs``, ``rate_pps`` or ``margin_ratio`` beyond their limits.

    Complexity: O(n 3^n) in arrays for n <= 12, about half a second for n = 12; O(n) such windows of 8 beyond.
    """
    _check(chain, constants)
    prepared = _prepare(chain, servers, constants, usage)
    if isinstance(prepared, Infeasible):
        return prepared
    room, sequential = prepared
    before = predict(chain, sequential, servers, constants)
    costs = planning_cost(chain, constants)
    found = _search(room, costs, sequential)
    after = predict(chain, found.root, servers, constants)
    if not _is_better(after, before):
        # The margin is what the search counts, the prediction has the last word.
        found, after = replace(found, root=sequential, cost_us=cost_us(costs, sequential)), before
    plan = _plan(chain, servers, constants, found, after, (sequential, before))
    if chain.slo_p99_us is None or after.p99_us <= chain.slo_p99_us:
        return plan
    return _meet_target(plan, room, costs, chain.slo_p99_us)


def sequential_plan(
    chain: Chain,
    servers: Sequence[Server],
    constants: CostConstants,
    *,
    usage: Mapping[str, float] = _NO_USAGE,
) -> Plan | Infeasible:
    """Return the best plan without parallel blocks, or why there is none; a target for latency is not looked at.

    Args, raises: as ``hybridize``.
    """
    _check(chain, constants)
    prepared = _prepare(chain, servers, constants, usage)
    if isinstance(prepared, Infeasible):
        return prepared
    _, root = prepared
    before = predict(chain, root, servers, constants)
    cost = cost_us(planning_cost(chain, constants), root)
    return _plan(chain, servers, constants, Found(root, cost, cost, True), before, (root, before))


def _check(chain: Chain, constants: CostConstants) -> None:
    if not 1 <= len(chain.nfs) <= NFS_MAX:
        raise InvalidInputError("nfs", f"must be 1 to {NFS_MAX} network functions, not {len(chain.nfs)}")
    if not (chain.rate_pps > 0 and math.isfinite(chain.rate_pps)):
        raise InvalidInputError("rate_pps", "must be above 0")
    if not 0 <= constants.margin_ratio < 1:
        raise InvalidInputError("margin_ratio", "must be 0 or more, and below 1")
    for number, nf in enumerate(chain.nfs):
        if not (nf.service.mean_us > 0 and math.isfinite(nf.service.mean_us)):
            raise InvalidInputError(f"nfs[{number}].service.mean_us", "must be above 0")
        if not (nf.service.scv >= 0 and math.isfinite(nf.service.scv)):
            raise InvalidInputError(f"nfs[{number}].service.scv", "must be 0 or more")


def _prepare(
    chain: Chain, servers: Sequence[Server], constants: CostConstants, usage: Mapping[str, float]
) -> tuple[Room, Node] | Infeasible:
    """Return the room and the best sequential plan, or why there is none: then there is no plan at all."""
    names = {server.name for server in servers}
    for nf in chain.nfs:
        rho = utilization_of(chain.rate_pps, nf.service.mean_us)
        if rho >= 1:
            most = 1e6 / nf.service.mean_us
            return Infeasible(
                "capacity",
                f"{nf.name} takes {nf.service.mean_us:g} us per packet, so it can do {most:,.0f} packets/s,"
                f" and the chain asks for {chain.rate_pps:,.0f}.",
            )
        if nf.pinned_server and nf.pinned_server not in names:
            witness = f"{nf.name} must run on {nf.pinned_server}, which is not at hand."
            return Infeasible("capacity", witness, _unpinned(chain, servers, constants, usage))
    room = room_of(chain, servers, usage)
    root = sequential_root(room)
    if root is not None:
        return room, root
    return _no_room(chain, servers, constants, usage)


def _unpinned(
    chain: Chain, servers: Sequence[Server], constants: CostConstants, usage: Mapping[str, float]
) -> Plan | None:
    free = replace(chain, nfs=tuple(replace(nf, pinned_server="") for nf in chain.nfs))
    return _best_of(hybridize(free, servers, constants, usage=usage)) if servers else None


def _best_of(answer: Plan | Infeasible) -> Plan | None:
    return answer if isinstance(answer, Plan) else answer.best


def _no_room(
    chain: Chain, servers: Sequence[Server], constants: CostConstants, usage: Mapping[str, float]
) -> Infeasible:
    """Return which limit leaves no plan at all: links, if the chain had a place without them, else cores."""
    if not servers:
        return Infeasible("capacity", "There is no server at hand.")
    wide = [replace(server, link_bps=math.inf) for server in servers]
    fast = hybridize(chain, wide, constants, usage=usage) if wide != list(servers) else None
    if fast is not None and not (isinstance(fast, Infeasible) and fast.kind == "capacity"):
        needed = chain.rate_pps * chain.packet_bytes * 8
        widest = max(servers, key=lambda server: server.link_bps)
        witness = (
            f"{chain.name} brings {needed / 1e6:,.1f} Mbit/s into and out of every server on its way; the fastest"
            f" link, {widest.name}'s, has {widest.link_bps / 1e6:,.1f} Mbit/s."
        )
        return Infeasible("link", witness, _best_of(fast))
    needs = sorted(((cores_of(chain, nf), nf.name) for nf in chain.nfs), reverse=True)
    total = sum(cores for cores, _ in needs)
    left = {server.name: max(0.0, server.cores - usage.get(server.name, 0.0)) for server in servers}
    shown = ", ".join(f"{name} {cores:.2f}" for name, cores in list(left.items())[:8])
    witness = (
        f"{chain.name} needs {total:.2f} cores at {chain.rate_pps:,.0f} packets/s, the most for {needs[0][1]}"
        f" ({needs[0][0]:.2f}); free are {sum(left.values()):.2f} ({shown}{', ...' if len(left) > 8 else ''})."
    )
    roomy = [replace(server, cores=math.inf) for server in servers]
    best = None
    if any(math.isfinite(server.cores) for server in servers):
        best = _best_of(hybridize(replace(chain, slo_p99_us=None), roomy, constants))
    return Infeasible("capacity", witness, best)


def _search(room: Room, costs: PlanningCost, sequential: Node) -> Found:
    """Return the best plan that needs no copies, unless one with copies is better by the margin once more."""
    plain = _search_once(room, costs.without_copies(), sequential)
    if not costs.copied:
        return plain
    copying = _search_once(room, costs, sequential)
    if copying.cost_us * costs.inflation <= plain.cost_us:
        return copying
    return plain


def _search_once(room: Room, costs: PlanningCost, sequential: Node) -> Found:
    if len(room.chain.nfs) > EXACT_NFS_MAX:
        return search_windows(room, costs, sequential)
    found = search(room, costs, sequential)
    if found is not None:
        return found
    spent = cost_us(costs, sequential)
    return Found(sequential, spent, min(spent, 2 * costs.hop_us + max(costs.nf_us)), False)


def _is_better(after: Prediction, before: Prediction) -> bool:
    return after.mean_us < before.mean_us and after.p99_us <= before.p99_us


def _plan(
    chain: Chain,
    servers: Sequence[Server],
    constants: CostConstants,
    found: Found,
    prediction: Prediction,
    sequential: tuple[Node, Prediction],
) -> Plan:
    return Plan(
        chain=chain,
        servers=tuple(servers),
        constants=constants,
        root=found.root,
        prediction=prediction,
        sequential_root=sequential[0],
        sequential=sequential[1],
        obligations=obligations(chain, found.root),
        is_optimal=found.is_exact,
        gap_ratio=0.0 if found.is_exact else max(0.0, 1 - found.bound_us / found.cost_us),
    )


def _others(room: Room, costs: PlanningCost, sequential: Node) -> Iterator[Found]:
    """Yield other plans for a target that the best one misses."""
    for figures in (
        replace(costs, inflation=1.0),
        replace(costs, inflation=1.0, exponent=32.0),
        replace(costs, exponent=32.0),
    ):
        yield _search(room, figures, sequential)
    spent = cost_us(costs, sequential)
    yield Found(sequential, spent, spent, False)


def _meet_target(plan: Plan, room: Room, costs: PlanningCost, target_us: float) -> Plan | Infeasible:
    best = plan
    for found in _others(room, costs, plan.sequential_root):
        prediction = predict(plan.chain, found.root, plan.servers, plan.constants)
        if prediction.p99_us >= best.prediction.p99_us:
            continue
        other = replace(
            plan,
            root=found.root,
            prediction=prediction,
            obligations=obligations(plan.chain, found.root),
            is_optimal=False,
            # Against the bound of the search that was asked first.
            gap_ratio=max(0.0, 1 - _bound(plan, costs) / cost_us(costs, found.root)),
        )
        if prediction.p99_us <= target_us:
            return other
        best = other
    witness = (
        f"99 % of the packets shall be through {plan.chain.name} within {target_us / 1000:,.3f} ms; the best plan found"
        f" needs {best.prediction.p99_us / 1000:,.3f} ms at {plan.chain.rate_pps:,.0f} packets/s, {_slowest(best)}."
    )
    return Infeasible("slo", witness, best)


def _bound(plan: Plan, costs: PlanningCost) -> float:
    return cost_us(costs, plan.root) * (1 - plan.gap_ratio)


def _slowest(plan: Plan) -> str:
    """Return the part that takes longest, in words."""
    stage = max(plan.prediction.stages, key=lambda stage: stage.mean_us)
    return (
        f"{stage.mean_us / 1000:,.3f} ms of that on average in {stage.label} ({stage.utilization:.0%} busy)"
    )
