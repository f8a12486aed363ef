"""The proof by running: a chain in sequence and its plan side by side must give equal bytes and equal states.

``run_table`` executes an operator table as the data plane does, without time: every operator has a queue, and a
seeded scheduler decides which of them goes next, so branches overtake each other as they may on real servers.
A packet that changes its server is parsed again from its bytes, as it would be there.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from apps.chains.engine.analysis import decrements_ttl
from apps.chains.engine.chain import Chain
from apps.chains.engine.compile import CLASSIFIER, compile_plan
from apps.chains.engine.hybrid import Copy, Node, Parallel, Series
from apps.chains.engine.merging import Merger
from apps.chains.engine.nfs.network_function import NetworkFunction, State
from apps.chains.engine.nfs.registry import MAKERS, make_nf
from apps.chains.engine.operators import Hop, Operator, OperatorKind, OperatorTable
from apps.chains.engine.packet import Packet, parse
from apps.chains.engine.profiles import ActionProfile
from apps.chains.engine.synthetic_nf import SyntheticNf, random_chain, random_root, synthetic_nfs
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource

SERVERS: Final = ("a", "b", "c")
_FRAMES: Final = 2000

TimedFrame = tuple[int, bytes]
Declare = Callable[[ActionProfile], ActionProfile]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out.

    Args:
        outputs: per packet, in the order of release: its number, and its bytes or ``None`` when it was dropped.
        states: per network function of the chain.
    """

    outputs: tuple[tuple[int, bytes | None], ...]
    states: tuple[State, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two outcomes part.

    Args:
        kind: ``order`` (packets missing or in another order), ``drop`` (dropped in one only), ``bytes``, or ``state``.
        index: number of the packet, or index of the network function for ``state``.
        detail: both sides, for people.
    """

    kind: str
    index: int
    detail: str


def run_sequential(nfs: Sequence[NetworkFunction], packets: Sequence[TimedFrame]) -> Outcome:
    """Return what the chain makes of packets, one after the other through all network functions."""
    outputs: list[tuple[int, bytes | None]] = []
    for number, (at_us, frame) in enumerate(packets, 1):
        packet = parse(frame)
        is_kept = all(nf.process(packet, at_us) for nf in nfs)
        outputs.append((number, bytes(packet.data) if is_kept else None))
    return Outcome(tuple(outputs), tuple(nf.state() for nf in nfs))


@dataclass(slots=True)
class _Item:
    """A packet or nil on its way to an operator."""

    number: int
    at_us: int
    packet: Packet | None
    branch: int
    dropped_by: int = -1


class _TableRun:
    """One execution of a table."""

    def __init__(
        self,
        table: OperatorTable,
        nfs: Sequence[NetworkFunction],
        rng: random.Random | None,
        has_shared_buffers: bool,
    ) -> None:
        self.table = table
        self.has_shared_buffers = has_shared_buffers
        self.nfs = nfs
        self.rng = rng
        self.outputs: list[tuple[int, bytes | None]] = []
        self.queues: dict[int, deque[_Item]] = {operator.id: deque() for operator in table.operators}
        self.mergers = {
            operator.id: Merger(operator.merge, is_checked=not has_shared_buffers)
            for operator in table.operators
            if operator.merge is not None
        }

    def run(self, packets: Sequence[TimedFrame]) -> None:
        """Let all packets in, and let operators work until nothing moves."""
        waiting = deque(enumerate(packets, 1))
        first = self.table.first
        while waiting or any(self.queues.values()):
            ready = [key for key, queue in self.queues.items() if queue]
            if waiting and (not ready or (self.rng is not None and self.rng.random() < 0.3)):
                number, (at_us, frame) = waiting.popleft()
                self._send(CLASSIFIER, Hop(first), _Item(number, at_us, parse(frame), 0))
                continue
            chosen = ready[-1] if self.rng is None else self.rng.choice(ready)
            self._step(self.table.by_id[chosen], self.queues[chosen].popleft())

    def _step(self, operator: Operator, item: _Item) -> None:
        if operator.kind is OperatorKind.EGRESS:
            self.outputs.append((item.number, None if item.packet is None else bytes(item.packet.data)))
        elif operator.kind is OperatorKind.MERGE:
            packet = item.packet
            if packet is not None and self.has_shared_buffers:
                # The merge writes into its base, and others may still be at work on that buffer.
                packet = packet.copy()
            released = self.mergers[operator.id].push(
                item.branch, item.number, packet, 0, at_us=item.at_us, dropped_by=item.dropped_by
            )
            for one in released:
                merged = _Item(one.packet_id, one.at_us, one.packet, 0, one.dropped_by)
                self._send(operator.server, operator.next[0], merged)
        elif operator.kind is OperatorKind.MIRROR:
            self._mirror(operator, item)
        else:
            assert operator.nf_index is not None
            if item.packet is not None and not self.nfs[operator.nf_index].process(item.packet, item.at_us):
                item.packet, item.dropped_by = None, operator.nf_index
            self._send(operator.server, operator.next[0], item)

    def _mirror(self, operator: Operator, item: _Item) -> None:
        """Give every branch bytes of its own (or one buffer to all that share); the last takes what is there."""
        last = len(operator.next) - 1
        shared: Packet | None = None
        for place, hop in enumerate(operator.next):
            packet = item.packet
            if packet is not None and hop.copy is Copy.HEADER:
                packet = packet.header_copy()
            elif packet is not None and hop.copy is Copy.SHARED and self.has_shared_buffers:
                shared = shared or (packet if place == last else packet.copy())
                packet = shared
            elif packet is not None and place != last:
                packet = packet.copy()
            self._send(operator.server, hop, _Item(item.number, item.at_us, packet, 0, item.dropped_by))

    def _send(self, server: str, hop: Hop, item: _Item) -> None:
        item.branch = hop.branch
        if item.packet is not None and self.table.by_id[hop.operator].server != server:
            item.packet = parse(bytes(item.packet.data), item.packet.is_header_only)
        self.queues[hop.operator].append(item)


def run_table(
    table: OperatorTable,
    nfs: Sequence[NetworkFunction],
    packets: Sequence[TimedFrame],
    *,
    schedule_seed: int | None = None,
    has_shared_buffers: bool = False,
) -> Outcome:
    """Return what a plan makes of packets.

    Two ways to treat branches that need no copy, and both must be right: with bytes of their own (as processes
    on real servers have them; merges then look for undeclared changes and drop what has one), or all on one
    buffer (what a plan means by "without a copy"; only where no network function decrements the TTL, since
    the merge adds up decrements).

    Args:
        nfs: network functions by their index in the chain.
        schedule_seed: which of the possible schedules; ``None``: every packet goes through before the next one comes.
        has_shared_buffers: the second way.
    """
    rng = None if schedule_seed is None else random.Random(schedule_seed)  # noqa: S311 - not a secret
    run = _TableRun(table, nfs, rng, has_shared_buffers)
    run.run(packets)
    return Outcome(tuple(run.outputs), tuple(nf.state() for nf in nfs))


def compare(
    sequential: Outcome, hybrid: Outcome, *, ignored_states: frozenset[int] = frozenset()
) -> Difference | None:
    """Return the first difference, ``None`` when there is none.

    Args:
        ignored_states: indexes of network functions whose state the operator declared advisory.
    """
    numbers = [number for number, _ in sequential.outputs], [number for number, _ in hybrid.outputs]
    if numbers[0] != numbers[1]:
        at = next(
            (k for k, (a, b) in enumerate(zip(*numbers, strict=False)) if a != b), min(map(len, numbers))
        )
        return Difference(
            "order", at, f"sequential {numbers[0][at : at + 3]}, hybrid {numbers[1][at : at + 3]}"
        )
    for (number, expected), (_, found) in zip(sequential.outputs, hybrid.outputs, strict=True):
        if expected == found:
            continue
        if expected is None or found is None:
            who = "hybrid" if found is None else "sequential"
            return Difference("drop", number, f"dropped by the {who} chain alone")
        return Difference("bytes", number, f"sequential {expected.hex()}, hybrid {found.hex()}")
    for index, (left, right) in enumerate(zip(sequential.states, hybrid.states, strict=True)):
        if left != right and index not in ignored_states:
            return Difference("state", index, f"sequential {left}, hybrid {right}")
    return None


def chain_nfs(chain: Chain) -> list[NetworkFunction]:
    """Return a new network function per instance: ours where the type has one, else one made from its profile.

    Raises:
        InvalidInputError: ``params.<field>`` of an instance breaks its limit.
    """
    made: Sequence[SyntheticNf] = synthetic_nfs(chain)
    return [
        make_nf(nf.type, nf.params) if nf.type in MAKERS else made[index]
        for index, nf in enumerate(chain.nfs)
    ]


def verify_plan(
    chain: Chain,
    root: Node,
    packets: Sequence[TimedFrame],
    *,
    schedule_seed: int | None = None,
    has_shared_buffers: bool = False,
    make_nfs: Callable[[], Sequence[NetworkFunction]] | None = None,
) -> Difference | None:
    """Return the first difference between a chain and its plan on packets, ``None`` when there is none.

    Two network functions with one shared state keep their order for each packet. But no chain whose parts work
    at the same time, sequential or not, keeps it between packets (the second may handle packet 1 after the first
    handled packet 2), so chains that have such a pair run packet by packet here.

    Args:
        make_nfs: makes the network functions anew; ``None``: ``chain_nfs``.
    """
    shared = [nf.profile.shared_state for nf in chain.nfs if nf.profile.shared_state]
    if len(set(shared)) < len(shared):
        schedule_seed = None
    make_nfs = make_nfs or (lambda: chain_nfs(chain))
    expected = run_sequential(make_nfs(), packets)
    found = run_table(
        compile_plan(chain, root),
        make_nfs(),
        packets,
        schedule_seed=schedule_seed,
        has_shared_buffers=has_shared_buffers and not any(decrements_ttl(nf.profile) for nf in chain.nfs),
    )
    advisory = frozenset(index for index, nf in enumerate(chain.nfs) if nf.is_state_advisory)
    return compare(expected, found, ignored_states=advisory)


@dataclass(frozen=True, slots=True)
class Case:
    """One random case; ``seed`` makes it again.

    Args:
        chain: what the network functions really do; ``declared``: what the planner is told (the same, but in mutants).
        root: a plan of what is declared.
    """

    seed: int
    chain: Chain
    declared: Chain
    root: Node
    packets: tuple[TimedFrame, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What a number of cases gave.

    Args:
        cases, parallel_cases: how many, and how many of them had a parallel block at all.
        packets: how many went through both.
        differences: seed of the case and what differed, at most ten.
        difference_count: all of them.
    """

    cases: int
    parallel_cases: int
    packets: int
    differences: tuple[tuple[int, Difference], ...]
    difference_count: int


def case_frames(seed: int) -> list[bytes]:
    """Return frames for cases to choose from: few flows, so that state matters, and many oddities."""
    mix = TrafficMix(flow_count=12, ipv6_ratio=0.35, tcp_ratio=0.6, odd_ratio=0.3, small_ratio=0.97)
    return list(TrafficSource(mix, seed).frames(_FRAMES))


def make_case(seed: int, frames: Sequence[bytes], declare: Declare | None = None) -> Case:
    """Return the case of a seed; ``declare`` makes the planner see other profiles than the truth."""
    rng = random.Random(seed)  # noqa: S311 - not a secret
    chain = random_chain(rng, rng.choice((2, 2, 3, 3, 4, 5, 6)))
    declared = chain
    if declare is not None:
        nfs = tuple(replace(nf, profile=declare(nf.profile)) for nf in chain.nfs)
        declared = replace(chain, nfs=nfs)
    root = random_root(rng, declared, SERVERS[: rng.randint(1, 3)], (*SERVERS, CLASSIFIER))
    at_us, packets = 0, []
    for _ in range(rng.randint(2, 5)):
        at_us += rng.randrange(1, 1000)
        packets.append((at_us, rng.choice(frames)))
    return Case(seed, chain, declared, root, tuple(packets))


def run_case(case: Case) -> Difference | None:
    """Return the difference in one case, ``None`` when there is none; cases take turns in sharing buffers."""
    return verify_plan(
        case.declared,
        case.root,
        case.packets,
        schedule_seed=case.seed,
        has_shared_buffers=case.seed % 2 == 1,
        make_nfs=lambda: synthetic_nfs(case.chain),
    )


def has_parallel(node: Node) -> bool:
    """Whether any part runs side by side with another."""
    return isinstance(node, Parallel) or (isinstance(node, Series) and any(map(has_parallel, node.parts)))


def run_cases(count: int, seed: int, *, frames: Sequence[bytes] | None = None) -> Report:
    """Run random cases with the seeds ``seed`` to ``seed + count - 1``. Complexity: about 1 ms per case."""
    frames = frames or case_frames(seed)
    parallel = packets = found = 0
    differences: list[tuple[int, Difference]] = []
    for number in range(seed, seed + count):
        case = make_case(number, frames)
        parallel += has_parallel(case.root)
        packets += len(case.packets)
        difference = run_case(case)
        if difference is not None:
            found += 1
            if len(differences) < 10:
                differences.append((number, difference))
    return Report(count, parallel, packets, tuple(differences), found)
