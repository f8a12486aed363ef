"""Network functions made from a profile: they do exactly what it declares, as much of it as they can.

What such a function writes, remembers and drops is a hash of all it may read and remember, so a plan that lets
it see a wrong value, miss a packet or see one too many shows in output or state. Random chains and random hybrid graphs
of them are what the differential test runs.

What a profile means here, where the catalogue leaves room: a field that is written and also read may be left alone for
some packets, one that is only written gets a new value every time; ``ttl_dec`` takes one off the TTL and is then
the only change to it; ``len_change`` makes the payload longer or shorter and needs it in reads and writes;
``adds_header`` and ``removes_header`` insert and remove an authentication header.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from apps.chains.engine.analysis import analyse, decrements_ttl, reads_of, writes_of
from apps.chains.engine.chain import Chain, NfInstance, ServiceTime
from apps.chains.engine.fields import FIVE_TUPLE, PAYLOAD_FIELDS, Field
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series, Verdict, VerdictKind, leaves
from apps.chains.engine.nfs.network_function import State
from apps.chains.engine.nfs.settings import Settings
from apps.chains.engine.packet import Packet
from apps.chains.engine.profiles import ActionProfile, Flag, StateScope

_PACKED_ORDER: Final = {field: index for index, field in enumerate(Field)}
# Writing the protocol would change what all bytes behind mean: that is a change of structure, not of a field.
WRITABLE: Final = tuple(field for field in Field if field is not Field.IP_PROTO)


def _digest(*parts: object) -> bytes:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


class SyntheticNf:
    """A network function that obeys its profile and uses all of it.

    Args:
        profile: what it does.
        seed: makes it differ from others with the same profile.
        pool: memory shared with others of the same ``shared_state``; ``None`` for its own.
    """

    def __init__(self, profile: ActionProfile, seed: int, pool: dict[str, str] | None = None) -> None:
        self.profile = profile
        self.seed = seed
        self.counters: Counter[str] = Counter()
        self.wait_us = 0
        self._memory: dict[str, str] = {} if pool is None else pool
        self._has_memory = profile.state is not StateScope.NONE or bool(profile.shared_state)
        self._reads = sorted(reads_of(profile), key=_PACKED_ORDER.__getitem__)
        self._keys = [field for field in self._reads if field in FIVE_TUPLE]
        self._drop_reads = sorted(profile.drop_reads, key=_PACKED_ORDER.__getitem__)
        self._writes = sorted(writes_of(profile), key=_PACKED_ORDER.__getitem__)

    def process(self, packet: Packet, at_us: int) -> bool:
        """Read, remember, decide, write."""
        values = [packet.get(field) for field in self._reads]
        size = packet.ip_bytes if values else 0
        seen = _digest(self.seed, values, size, at_us)
        memory = self._remember(packet, seen) if self._has_memory else b""
        if self.profile.drops:
            tested = [packet.get(field) for field in self._drop_reads]
            # Without memory or fields to test, only the classifier's clock is left to decide by.
            clock = at_us if not tested and not memory else 0
            if _digest(self.seed, tested, memory, clock)[0] < 64:
                self.counters["dropped"] += 1
                return False
        self._write(packet, seen, memory)
        self._restructure(packet, seen)
        return True

    def _remember(self, packet: Packet, seen: bytes) -> bytes:
        is_per_flow = self.profile.state is StateScope.FLOW and not self.profile.shared_state
        key = _digest([packet.get(field) for field in self._keys]).hex() if is_per_flow else "all"
        memory = _digest(self._memory.get(key, ""), seen)
        self._memory[key] = memory.hex()
        return memory

    def _write(self, packet: Packet, seen: bytes, memory: bytes) -> None:
        has_len_change = Flag.LEN_CHANGE in self.profile.flags
        for field in self._writes:
            chosen = _digest(seen, memory, field.value)
            if field in self.profile.reads and chosen[0] < 48:
                continue
            if field is not Field.PAYLOAD:
                packet.set(field, int.from_bytes(chosen, "big"))
                continue
            payload = packet.get(field)
            if isinstance(payload, bytes):
                size = len(payload) + (chosen[1] % 9 - 4 if has_len_change else 0)
                packet.set(field, (chosen * (max(size, 0) // 16 + 1))[: max(size, 0)])
        if decrements_ttl(self.profile):
            ttl = packet.get(Field.IP_TTL)
            if isinstance(ttl, int):
                packet.set(Field.IP_TTL, max(ttl - 1, 0))

    def _restructure(self, packet: Packet, seen: bytes) -> None:
        if self.profile.removes_header:
            packet.remove_ah()
        if self.profile.adds_header:
            packet.add_ah(256 + self.seed % 1000, int.from_bytes(seen[:4], "big"), seen[4:])

    def state(self) -> State:
        """Return the memory."""
        return {"memory": dict(sorted(self._memory.items()))}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from ``state``."""
        settings = Settings(state, "state", ("memory",))
        memory = settings.values.get("memory")
        if not isinstance(memory, Mapping):
            settings.refuse("memory", "must be an object")
        self._memory.clear()
        self._memory.update({str(key): str(value) for key, value in memory.items()})


def synthetic_nfs(chain: Chain) -> list[SyntheticNf]:
    """Return a new network function per instance of a chain; those with one ``shared_state`` share their memory."""
    pools: dict[str, dict[str, str]] = {}
    return [
        SyntheticNf(
            nf.profile,
            index,
            pools.setdefault(nf.profile.shared_state, {}) if nf.profile.shared_state else None,
        )
        for index, nf in enumerate(chain.nfs)
    ]


def random_profile(rng: random.Random, pool: Sequence[Field]) -> ActionProfile:
    """Return a profile over a few fields; the fewer, the more often two profiles meet."""
    writable = [field for field in pool if field in WRITABLE]
    # Rich profiles forbid everything, so most are kept modest: else random graphs would hardly ever be parallel.
    busy = rng.choice((0.1, 0.25, 0.5))
    reads: set[Field] = {field for field in pool if rng.random() < busy}
    writes: set[Field] = {field for field in writable if rng.random() < busy}
    flags = {Flag.TTL_DEC} if rng.random() < 0.12 else set()
    if rng.random() < 0.04:
        flags.add(Flag.LEN_CHANGE)
        reads |= PAYLOAD_FIELDS
        writes |= PAYLOAD_FIELDS
    if rng.random() < 0.03:
        flags.add(rng.choice(list(Flag)[:8]))
    drops = rng.random() < 0.2
    return ActionProfile(
        reads=frozenset(reads),
        writes=frozenset(writes),
        adds_header=rng.random() < 0.1,
        removes_header=rng.random() < 0.06,
        drops=drops,
        drop_reads=frozenset(field for field in pool if rng.random() < busy) if drops else frozenset(),
        flags=frozenset(flags),
        state=rng.choice((StateScope.NONE, StateScope.FLOW, StateScope.SHARED)),
        shared_state="pool" if rng.random() < 0.08 else "",
    )


def random_chain(rng: random.Random, nf_count: int) -> Chain:
    """Return a chain of synthetic network functions, profiles over three to eight fields of its own."""
    fields = rng.sample(list(Field), rng.randint(3, 8))
    return Chain(
        "random",
        tuple(
            NfInstance(
                f"nf{index}",
                "synthetic",
                random_profile(rng, fields),
                ServiceTime(10.0),
                is_state_advisory=rng.random() < 0.1,
            )
            for index in range(nf_count)
        ),
        1000.0,
    )


def random_root(
    rng: random.Random, chain: Chain, servers: Sequence[str], merge_servers: Sequence[str]
) -> Node:
    """Return a hybrid chain that keeps every order obligation, parallel wherever it may and a coin agrees."""
    verdicts = analyse(chain)
    return _random_node(rng, chain, verdicts, list(range(len(chain.nfs))), servers, merge_servers)


def _random_node(
    rng: random.Random,
    chain: Chain,
    verdicts: Sequence[Sequence[Verdict | None]],
    indexes: list[int],
    servers: Sequence[str],
    merge_servers: Sequence[str],
) -> Node:
    if len(indexes) == 1:
        return Nf(indexes[0], rng.choice(servers))
    groups = _independent_groups(verdicts, indexes)
    if len(groups) > 1 and rng.random() < 0.85:
        branches = _gathered(rng, groups)
        nodes = [_random_node(rng, chain, verdicts, part, servers, merge_servers) for part in branches]
        nodes = [
            inner for node in nodes for inner in (node.branches if isinstance(node, Parallel) else [node])
        ]
        nodes.sort(key=lambda node: min(leaf.index for leaf in leaves(node)))
        return Parallel(tuple(nodes), random_copies(rng, chain, verdicts, nodes), rng.choice(merge_servers))
    cut = rng.randint(1, len(indexes) - 1)
    parts: list[Node] = []
    for half in (indexes[:cut], indexes[cut:]):
        node = _random_node(rng, chain, verdicts, half, servers, merge_servers)
        parts += node.parts if isinstance(node, Series) else [node]
    return Series(tuple(parts))


def _is_no(verdicts: Sequence[Sequence[Verdict | None]], i: int, j: int) -> bool:
    verdict = verdicts[min(i, j)][max(i, j)]
    return verdict is not None and verdict.kind is VerdictKind.NO


def _independent_groups(
    verdicts: Sequence[Sequence[Verdict | None]], indexes: Sequence[int]
) -> list[list[int]]:
    """Return the connected parts under "must keep the order": no pair across two of them is refused."""
    groups: list[list[int]] = []
    for index in indexes:
        tied = [group for group in groups if any(_is_no(verdicts, other, index) for other in group)]
        groups = [group for group in groups if group not in tied]
        groups.append(sorted([index, *(other for group in tied for other in group)]))
    return groups


def _gathered(rng: random.Random, groups: list[list[int]]) -> list[list[int]]:
    """Return the groups, some of them put together, at least two left."""
    count = rng.randint(2, len(groups))
    rng.shuffle(groups)
    branches = groups[:count]
    for group in groups[count:]:
        chosen = rng.randrange(count)
        branches[chosen] = sorted(branches[chosen] + group)
    return branches


def random_copies(
    rng: random.Random, chain: Chain, verdicts: Sequence[Sequence[Verdict | None]], nodes: Sequence[Node]
) -> tuple[Copy, ...]:
    """Return what each branch works on: sharing where every pair agrees, headers where they suffice, else all."""
    members = [[leaf.index for leaf in leaves(node)] for node in nodes]
    copies = [
        Copy.FULL
        if any(chain.nfs[index].profile.needs_payload for index in part) or rng.random() < 0.2
        else Copy.HEADER
        for part in members
    ]
    if Copy.FULL not in copies:
        copies[rng.randrange(len(copies))] = Copy.FULL
    sharing: list[int] = []
    for branch in rng.sample(range(len(nodes)), len(nodes)):
        others = [index for other in sharing for index in members[other]]
        pairs = [verdicts[min(i, j)][max(i, j)] for i in members[branch] for j in others]
        if all(verdict is not None and verdict.kind is VerdictKind.OK for verdict in pairs):
            sharing.append(branch)
    if len(sharing) > 1 or rng.random() < 0.5:
        for branch in sharing:
            copies[branch] = Copy.SHARED
    return tuple(copies)
