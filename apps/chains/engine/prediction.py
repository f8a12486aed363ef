"""What a hybrid chain is predicted to do: latency stage by stage, bytes, processor time.

The graph is walked as ``compile`` lays it out: a block's mirror is where the packet is, branches on one other server
are mirrored and merged there first. The processor's capacity is not modelled beyond its limit: each network function
is a queue of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from apps.chains.engine import latency
from apps.chains.engine.chain import Chain, CostConstants, NfInstance, Server
from apps.chains.engine.compile import CLASSIFIER, compile_plan, exit_server, groups_of
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Prediction, Stage, leaves
from apps.chains.engine.latency import Latency, Wait
from apps.chains.engine.operators import OperatorKind, OperatorTable


@dataclass(frozen=True, slots=True)
class _Flow:
    """What a packet brings along: where it is, how many come, and the longest wait so far with its service's scv."""

    where: str
    rate_pps: float
    waited_us: float = 0.0
    waited_scv: float = 0.0


@dataclass(slots=True)
class _Walk:
    chain: Chain
    constants: CostConstants
    drop_ratios: Sequence[float]
    step_us: float
    stages: list[Stage] = field(default_factory=list)

    def part(self, node: Node, flow: _Flow) -> tuple[Latency, _Flow]:
        if isinstance(node, Nf):
            return self._nf(node, flow)
        if isinstance(node, Parallel):
            return self._block(node, flow)
        found = []
        for part in node.parts:
            time, flow = self.part(part, flow)
            found.append(time)
        return latency.in_series(found), flow

    def hop_us(self, source: str, target: str) -> float:
        if source == target:
            return 0.0
        self.stages.append(Stage(f"hop {source} to {target}", self.constants.hop_us))
        return self.constants.hop_us

    def _nf(self, node: Nf, flow: _Flow) -> tuple[Latency, _Flow]:
        nf = self.chain.nfs[node.index]
        before_us = self.hop_us(flow.where, node.server)
        wait, behind = _waits(nf, flow)
        time = latency.queue(nf.service.mean_us, nf.service.scv, behind, self.step_us)
        time = time.plus(self.constants.local_hop_us)
        rho = latency.utilization_of(flow.rate_pps, nf.service.mean_us)
        self.stages.append(Stage(nf.name, time.mean_us, rho))
        dropped = self.drop_ratios[node.index] if self.drop_ratios else 0.0
        longest = max((flow.waited_us, flow.waited_scv), (wait.mean_us, nf.service.scv))
        return time.plus(before_us), _Flow(node.server, flow.rate_pps * (1 - dropped), *longest)

    def _block(self, node: Parallel, flow: _Flow) -> tuple[Latency, _Flow]:
        groups = groups_of(node, flow.where)
        home = flow.where if len(groups) > 1 else groups[0][0]
        end = exit_server(node)
        before_us = self.hop_us(flow.where, home) + self._mirror(node, home, range(len(node.branches)))
        starts = _Flow(home, flow.rate_pps, flow.waited_us, flow.waited_scv)
        times: dict[str, list[Latency]] = {}
        flows: list[_Flow] = []
        for server, members in groups:
            is_remote = server != home and len(members) > 1
            local_us = self._mirror(node, server, members) if is_remote else 0.0
            for member in members:
                time, after = self.part(node.branches[member], starts)
                times.setdefault(after.where, []).append(time.plus(local_us))
                flows.append(after)
        arrivals: list[Latency] = []
        for server, branches in times.items():
            if server == end:
                arrivals += branches
                continue
            merge_us = self._merge(server, len(branches)) if len(branches) > 1 else 0.0
            arrivals.append(self._join(node, branches).plus(merge_us + self.hop_us(server, end)))
        merged = self._join(node, arrivals).plus(before_us + self._merge(end, len(arrivals)))
        survivors = math.prod(after.rate_pps / flow.rate_pps for after in flows)
        longest = max((after.waited_us, after.waited_scv) for after in flows)
        return merged, _Flow(end, flow.rate_pps * survivors, *longest)

    def _join(self, node: Parallel, branches: list[Latency]) -> Latency:
        if len(branches) < 2:
            return branches[0]
        services = [self.chain.nfs[leaf.index].service for leaf in leaves(node)]
        rho = fmean(latency.utilization_of(self.chain.rate_pps, service.mean_us) for service in services)
        scv = fmean(service.scv for service in services)
        return latency.joined(branches, latency.shared_arrivals_factor(len(branches), rho, scv))

    def _mirror(self, node: Parallel, server: str, members: Sequence[int]) -> float:
        sizes = {
            Copy.SHARED: 0.0,
            Copy.HEADER: self.chain.header_bytes,
            Copy.FULL: self.chain.packet_bytes,
        }
        copied = sum(sizes[node.copies[member]] for member in members)
        costs = self.constants
        took_us = costs.mirror_us + costs.mirror_branch_us * len(members)
        took_us += costs.copy_us_per_kib * copied / 1024
        self.stages.append(Stage(f"mirror on {server}", took_us))
        return took_us

    def _merge(self, server: str, count: int) -> float:
        took_us = self.constants.merge_us + self.constants.merge_branch_us * count
        self.stages.append(Stage(f"merge on {server}", took_us))
        return took_us


def _waits(nf: NfInstance, flow: _Flow) -> tuple[Wait, Wait]:
    """Return the wait as if arrivals were Poisson, and behind what the packet has waited for already."""
    wait = latency.mg1_wait(flow.rate_pps, nf.service.mean_us, nf.service.scv)
    return wait, latency.after_upstream(wait, nf.service.scv, flow.waited_us, flow.waited_scv)


def _step_us(chain: Chain) -> float:
    """Return the width of the grid's cells: 14 standard deviations of the sequential chain must fit."""
    waits = [mg1_of(chain, nf) for nf in chain.nfs]
    mean = sum(nf.service.mean_us + wait.mean_us for nf, wait in zip(chain.nfs, waits, strict=True))
    variance = sum(
        nf.service.scv * nf.service.mean_us**2 + wait.second_us2 - wait.mean_us**2
        for nf, wait in zip(chain.nfs, waits, strict=True)
    )
    return (mean + 14 * math.sqrt(variance)) / (latency.GRID - 1)


def mg1_of(chain: Chain, nf: NfInstance) -> Wait:
    """Return the wait before a network function at the chain's rate."""
    return latency.mg1_wait(chain.rate_pps, nf.service.mean_us, nf.service.scv)


def predict(
    chain: Chain,
    root: Node,
    servers: Sequence[Server],
    constants: CostConstants,
    *,
    drop_ratios: Sequence[float] = (),
) -> Prediction:
    """Return what a hybrid chain is predicted to do at the chain's rate.

    Args:
        chain, root: what runs, and where.
        servers: those that ``root`` names; their capacity is the planner's to keep.
        constants: what the plumbing costs.
        drop_ratios: share of packets each network function drops, 0..1, in chain order; those after it have less to
            do, those beside it have not. Empty for none.

    Returns:
        Latencies of packets that are delivered; infinite where a network function is overloaded. Wire bytes count each
        frame between two machines once, without encapsulation; copied bytes are those of declared copies.

    Complexity: O(n G log G) for a grid of G = 2048 cells; some milliseconds.
    """
    table = compile_plan(chain, root)
    wire, copied = _bytes(chain, table)
    crossed = len({leaf.server for leaf in leaves(root)})
    cpu_us = _cpu_us(chain, table, constants, copied)
    if any(math.isinf(mg1_of(chain, nf).mean_us) for nf in chain.nfs):
        stages = tuple(
            Stage(nf.name, math.inf, latency.utilization_of(chain.rate_pps, nf.service.mean_us))
            for nf in chain.nfs
            if math.isinf(mg1_of(chain, nf).mean_us)
        )
        return Prediction(math.inf, math.inf, math.inf, stages, wire, copied, cpu_us, crossed)
    walk = _Walk(chain, constants, drop_ratios, _step_us(chain))
    time, flow = walk.part(root, _Flow(CLASSIFIER, chain.rate_pps))
    time = time.plus(walk.hop_us(flow.where, CLASSIFIER))
    return Prediction(
        mean_us=time.mean_us,
        p50_us=time.percentile_us(0.5),
        p99_us=time.percentile_us(0.99) + constants.tail_us,
        stages=tuple(walk.stages),
        wire_bytes_per_packet=wire,
        copied_bytes_per_packet=copied,
        cpu_us_per_packet=cpu_us,
        servers_crossed=crossed,
    )


def frames_of(chain: Chain, table: OperatorTable) -> list[tuple[str, str, float]]:
    """Return every frame that one packet causes between two machines: from, to, mean bytes."""
    size = {table.first: chain.packet_bytes}
    frames = []
    start = table.by_id[table.first].server
    if start != CLASSIFIER:
        frames.append((CLASSIFIER, start, chain.packet_bytes))
    for operator in table.operators:
        for hop in operator.next:
            carries = chain.header_bytes if hop.copy == Copy.HEADER else size[operator.id]
            target = table.by_id[hop.operator].server
            size[hop.operator] = max(size.get(hop.operator, 0.0), carries)
            if target != operator.server:
                frames.append((operator.server, target, carries))
    return frames


def _bytes(chain: Chain, table: OperatorTable) -> tuple[float, float]:
    wire = sum(size for _, _, size in frames_of(chain, table))
    sizes = {Copy.SHARED: 0.0, Copy.HEADER: chain.header_bytes, Copy.FULL: chain.packet_bytes}
    return wire, sum(sizes[hop.copy] for operator in table.operators for hop in operator.next)


def _cpu_us(chain: Chain, table: OperatorTable, costs: CostConstants, copied: float) -> float:
    took_us = costs.copy_us_per_kib * copied / 1024
    for operator in table.operators:
        if operator.kind == OperatorKind.NF:
            assert operator.nf_index is not None
            service = chain.nfs[operator.nf_index].service
            took_us += costs.local_hop_us + (0.0 if service.is_waiting else service.mean_us)
        elif operator.kind == OperatorKind.MIRROR:
            took_us += costs.mirror_us + costs.mirror_branch_us * len(operator.next)
        elif operator.kind == OperatorKind.MERGE:
            assert operator.merge is not None
            took_us += costs.merge_us + costs.merge_branch_us * operator.merge.branch_count
    return took_us
