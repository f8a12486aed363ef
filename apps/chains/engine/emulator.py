"""A discrete-event emulator of operator tables: what-if, and latencies on a machine that is never too slow.

``emulate`` runs the same network functions and merges on packets as the data plane, in emulated time. ``latencies``
computes the times alone, for all packets at once, where nothing is dropped: a FIFO queue's departures follow from
its arrivals by Lindley's recursion, which is a running maximum. Both take the same drawn service times and agree.

Time passes like this, microseconds: a hop between machines ``hop_us``; to a network function and back
``local_hop_us``, half of it before; there the packet waits until the one before has left and takes its service time; a
mirror ``mirror_us`` and ``mirror_branch_us`` per branch; a merge ``merge_us`` and ``merge_branch_us`` per
branch after its last branch came; copies ``copy_us_per_kib``. Network functions run in parallel without limit:
contention for cores is the data plane's to show.

Source: brief, "Beneficial"; D. V. Lindley, "The theory of queues with a single server" (1952), equation 2.
"""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.chains.engine.chain import Chain, CostConstants
from apps.chains.engine.compile import CLASSIFIER
from apps.chains.engine.hybrid import Copy
from apps.chains.engine.merging import Merger
from apps.chains.engine.nfs.network_function import NetworkFunction, State
from apps.chains.engine.operators import Hop, Operator, OperatorKind, OperatorTable
from apps.chains.engine.packet import Packet, parse

Times = NDArray[np.float64]
_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Emulation:
    """What came of an emulation.

    Args:
        latencies_us: float64[packets], NaN for dropped ones.
        outputs: per packet, its bytes or ``None`` when it was dropped.
        states: per network function.
        utilizations: per network function, busy share of the time from the first arrival to the last departure.
        counters: of all merges.
    """

    latencies_us: Times
    outputs: tuple[bytes | None, ...]
    states: tuple[State, ...]
    utilizations: tuple[float, ...]
    counters: Counter[str]


def draw_arrivals(rate_pps: float, packets: int, rng: np.random.Generator) -> Times:
    """Return Poisson arrivals, float64[packets], microseconds, ascending."""
    return np.cumsum(rng.exponential(1e6 / rate_pps, packets))


def draw_services(chain: Chain, packets: int, rng: np.random.Generator) -> Times:
    """Return service times, float64[nfs, packets], microseconds: constant for scv 0, else gamma with mean and scv."""
    rows = []
    for nf in chain.nfs:
        mean, scv = nf.service.mean_us, nf.service.scv
        rows.append(rng.gamma(1 / scv, mean * scv, packets) if scv > 0 else np.full(packets, mean))
    return np.array(rows).reshape(len(chain.nfs), packets)


def latencies(
    table: OperatorTable, chain: Chain, costs: CostConstants, arrivals_us: Times, services_us: Times
) -> Times:
    """Return the latency of every packet when none is dropped, float64[packets], microseconds.

    Args:
        arrivals_us: float64[packets], ascending.
        services_us: float64[nfs, packets].

    Complexity: O(operators x packets) in arrays, about 0.1 us per packet and operator.
    """
    at: dict[int, list[Times]] = {operator.id: [] for operator in table.operators}
    first = table.by_id[table.first]
    at[table.first].append(arrivals_us + _travel_us(costs, CLASSIFIER, first))
    for operator in table.operators:
        times = at[operator.id]
        ready = times[0] if len(times) == 1 else np.maximum.reduce(times)
        if operator.kind is OperatorKind.EGRESS:
            return np.asarray(ready - arrivals_us)
        if operator.kind is OperatorKind.NF:
            assert operator.nf_index is not None
            half_us = costs.local_hop_us / 2
            ready = departures(ready + half_us, services_us[operator.nf_index]) + half_us
        else:
            ready = ready + _work_us(operator, costs)
        for hop in operator.next:
            then = table.by_id[hop.operator]
            copy_us = _copy_us(hop, costs, chain.packet_bytes, chain.header_bytes)
            at[hop.operator].append(ready + copy_us + _travel_us(costs, operator.server, then))
    raise AssertionError("a table ends with its egress")


def departures(arrivals_us: Times, services_us: Times) -> Times:
    """Return when packets leave a FIFO queue with one server.

    >>> departures(np.array([0.0, 1.0, 9.0]), np.array([3.0, 2.0, 1.0]))
    array([ 3.,  5., 10.])
    """
    done = np.cumsum(services_us)
    return np.asarray(done + np.maximum.accumulate(arrivals_us - (done - services_us)))


def _travel_us(costs: CostConstants, server: str, operator: Operator) -> float:
    return costs.hop_us if operator.server != server else 0.0


def _work_us(operator: Operator, costs: CostConstants) -> float:
    if operator.kind is OperatorKind.MIRROR:
        return costs.mirror_us + costs.mirror_branch_us * len(operator.next)
    assert operator.merge is not None
    return costs.merge_us + costs.merge_branch_us * operator.merge.branch_count


def _copy_us(hop: Hop, costs: CostConstants, packet_bytes: float, header_bytes: float) -> float:
    if hop.copy is Copy.SHARED:
        return 0.0
    return costs.copy_us_per_kib / _KIB * (header_bytes if hop.copy is Copy.HEADER else packet_bytes)


@dataclass(slots=True)
class _Item:
    number: int
    at_us: int
    packet: Packet | None
    branch: int = 0
    dropped_by: int = -1


class _Emulator:
    def __init__(
        self,
        table: OperatorTable,
        chain: Chain,
        nfs: Sequence[NetworkFunction],
        costs: CostConstants,
        services_us: Times,
    ) -> None:
        self.table = table
        self.chain = chain
        self.nfs = nfs
        self.costs = costs
        self.services_us = services_us
        self.events: list[tuple[float, int, int, _Item]] = []
        self.order = count()
        self.free_us = [0.0] * len(nfs)
        self.busy_us = [0.0] * len(nfs)
        self.done_us: dict[int, float] = {}
        self.outputs: dict[int, bytes | None] = {}
        self.mergers = {
            operator.id: Merger(operator.merge, timeout_us=1 << 60, entries_max=1 << 40)
            for operator in table.operators
            if operator.merge is not None
        }

    def send(self, now_us: float, server: str, hop: Hop, item: _Item) -> None:
        operator = self.table.by_id[hop.operator]
        item.branch = hop.branch
        at_us = now_us + _travel_us(self.costs, server, operator)
        heapq.heappush(self.events, (at_us, next(self.order), hop.operator, item))

    def run(self) -> None:
        while self.events:
            now_us, _, identity, item = heapq.heappop(self.events)
            operator = self.table.by_id[identity]
            if operator.kind is OperatorKind.NF:
                self._serve(now_us, operator, item)
            elif operator.kind is OperatorKind.MIRROR:
                self._mirror(now_us, operator, item)
            elif operator.kind is OperatorKind.MERGE:
                self._merge(now_us, operator, item)
            else:
                self.done_us[item.number] = now_us
                self.outputs[item.number] = None if item.packet is None else bytes(item.packet.data)

    def _serve(self, now_us: float, operator: Operator, item: _Item) -> None:
        """Packets arrive in the order of events, and leave in it: when one leaves is known as it comes."""
        index = operator.nf_index
        assert index is not None
        half_us = self.costs.local_hop_us / 2
        begins_us = max(now_us + half_us, self.free_us[index])
        if item.packet is not None:
            took_us = float(self.services_us[index, item.number])
            begins_us += took_us
            self.busy_us[index] += took_us
            if not self.nfs[index].process(item.packet, item.at_us):
                item.packet, item.dropped_by = None, index
        self.free_us[index] = begins_us
        self.send(begins_us + half_us, operator.server, operator.next[0], item)

    def _mirror(self, now_us: float, operator: Operator, item: _Item) -> None:
        now_us += _work_us(operator, self.costs)
        for hop in operator.next:
            packet = item.packet
            if packet is not None:
                packet = packet.header_copy() if hop.copy is Copy.HEADER else packet.copy()
            copy_us = _copy_us(hop, self.costs, self.chain.packet_bytes, self.chain.header_bytes)
            self.send(
                now_us + copy_us,
                operator.server,
                hop,
                _Item(item.number, item.at_us, packet, 0, item.dropped_by),
            )

    def _merge(self, now_us: float, operator: Operator, item: _Item) -> None:
        released = self.mergers[operator.id].push(
            item.branch, item.number, item.packet, int(now_us), at_us=item.at_us, dropped_by=item.dropped_by
        )
        for one in released:
            merged = _Item(one.packet_id, one.at_us, one.packet, 0, one.dropped_by)
            self.send(now_us + _work_us(operator, self.costs), operator.server, operator.next[0], merged)


def emulate(
    table: OperatorTable,
    chain: Chain,
    nfs: Sequence[NetworkFunction],
    costs: CostConstants,
    frames: Sequence[bytes],
    arrivals_us: Times,
    services_us: Times,
) -> Emulation:
    """Run packets through an operator table in emulated time, with network functions and merges as they are.

    Args:
        nfs: one per network function of the chain, fresh or with their state; they are changed.
        frames: one per arrival.
        arrivals_us: float64[packets], ascending. services_us: float64[nfs, packets].

    Complexity: O(packets x operators x log(in flight)), some 20 us per packet and operator.
    """
    emulator = _Emulator(table, chain, nfs, costs, services_us)
    for number, (at_us, frame) in enumerate(zip(arrivals_us, frames, strict=True)):
        item = _Item(number, int(at_us), parse(frame))
        emulator.send(float(at_us), CLASSIFIER, Hop(table.first), item)
    emulator.run()
    size = len(frames)
    outputs = tuple(emulator.outputs[number] for number in range(size))
    done = np.array([emulator.done_us[number] for number in range(size)])
    times = np.where([data is None for data in outputs], np.nan, done - arrivals_us)
    span_us = float(done.max() - arrivals_us[0]) if size else 1.0
    counters: Counter[str] = Counter()
    for merger in emulator.mergers.values():
        counters += merger.counters
    return Emulation(
        np.asarray(times),
        outputs,
        tuple(nf.state() for nf in nfs),
        tuple(busy / span_us for busy in emulator.busy_us),
        counters,
    )
