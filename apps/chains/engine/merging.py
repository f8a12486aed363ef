"""How the branches of a parallel block become one packet again: field by field, in the order of packet ids.

``merge_packets`` is a function; ``Merger`` is a machine without clock. Per packet id, with the heads of all branches:

| heads | decision (fate) | released |
|---|---|---|
| all have the smallest id, all are packets | merged | the merged packet |
| all have it, at least one is nil | dropped | nil, naming the NF that comes first in the chain |
| all have it, an undeclared field changed (checked only) | conflict | nil |
| none is empty, one head is larger | lost: that branch is FIFO, so it lost the packet | nil |
| some branch is empty | wait; after ``timeout_us``, timed out | nil |
| the table is full | as after the time-out; counted ``table_full`` as well | nil |

Waiting for the empty branch even where another one has lost the packet costs nothing (what comes next needs that
branch as well), and makes every fate independent of who was first. What arrives with an id that was decided, or out
of order in its branch, is ``late`` and ignored. Ids never come back: who carries them in fewer bits widens them
first.

Source: the brief, "Merge". Deviation: fields are taken from declared write sets in chain order; combining differences
by XOR is wrong when two network functions write one field.
"""

from collections import Counter, deque
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from apps.chains.engine.fields import Field
from apps.chains.engine.operators import MergeRule
from apps.chains.engine.packet import Packet
from apps.chains.engine.packet_fields import GETTERS

TIMEOUT_US: Final = 200_000
ENTRIES_MAX: Final = 8192


class Conflict(NamedTuple):
    """An undeclared change.

    Args:
        field: what differs although it must not.
        branch: who did it; with ``suspects`` more than one, the first of them.
        suspects: branches that may have done it: two that disagree cannot tell which of them holds the original.
    """

    field: Field
    branch: int
    suspects: tuple[int, ...]


def merge_packets(
    rule: MergeRule, branches: Sequence[Packet], *, is_checked: bool = False, original: Packet | None = None
) -> Packet | Conflict:
    """Return the base branch's packet, changed in place into what the sequential chain would have made.

    Overlaid fields come from the branch that writes them last in chain order; checksums follow each change
    (RFC 1624), lengths and structure are the base's, the TTL loses what other branches took from it.

    Args:
        branches: ``rule.branch_count`` packets; header-only in, header-only out, as far as the base is.
        is_checked: whether to look for undeclared changes first (``original`` makes that exact, and implies it).

    Complexity: O(overlays), about 3 us each; checked, O(fields x branches) and linear in the payload. Where all
        branches hold the same bytes, which is the rule, nothing but that is looked at.
    """
    assert len(branches) == rule.branch_count
    base = branches[rule.base]
    if original is None and not rule.ttl_decrements and _are_alike(base, branches):
        return base
    for packet in branches:
        packet.read()
    if is_checked or original is not None:
        conflict = find_conflict(rule, branches, original)
        if conflict is not None:
            return conflict
    for field, branch in rule.overlays:
        value = branches[branch].get(field)
        if value is not None:
            base.set(field, value)
    if rule.ttl_decrements:
        ttl = base.get(Field.IP_TTL)
        if isinstance(ttl, int):
            base.set(Field.IP_TTL, max(ttl - rule.ttl_decrements, 0))
    return base


def _are_alike(base: Packet, branches: Sequence[Packet]) -> bool:
    """Whether all branches hold the base's bytes, as far as they have any: then every field is the same in all."""
    data = base.data
    for branch in branches:
        if branch.data != data and not (branch.is_header_only and data.startswith(branch.data)):
            return False
    return True


def find_conflict(
    rule: MergeRule, branches: Sequence[Packet], original: Packet | None = None
) -> Conflict | None:
    """Return the first undeclared change that can be seen, in the order of ``Field``.

    Branches that do not declare a field all hold its original value. Without ``original`` they are compared with each
    other, so a field that only one branch leaves alone cannot be checked, and of two that disagree both are suspects.
    """
    for field, silent in _silent_branches(rule, 1 if original is not None else 2):
        getter = GETTERS[field]
        if field is Field.PAYLOAD:
            silent = tuple(index for index in silent if not branches[index].is_header_only)
        values = [getter(branches[index]) for index in silent]
        if original is not None:
            expected = getter(original)
        elif not values or values.count(values[0]) == len(values):
            continue
        else:
            expected = max(values, key=values.count)
            if values.count(expected) * 2 <= len(values):
                return Conflict(field, silent[0], silent)
        suspects = tuple(index for index, value in zip(silent, values, strict=True) if value != expected)
        if suspects:
            return Conflict(field, suspects[0], suspects)
    return None


@lru_cache(maxsize=1024)
def _silent_branches(rule: MergeRule, count_min: int) -> tuple[tuple[Field, tuple[int, ...]], ...]:
    """Return the fields that at least so many branches do not declare, and which branches these are."""
    silent = {
        field: tuple(index for index, writes in enumerate(rule.writes) if field not in writes)
        for field in Field
    }
    return tuple((field, branches) for field, branches in silent.items() if len(branches) >= count_min)


def undeclared_writes(before: Packet, after: Packet, writes: frozenset[Field]) -> tuple[Field, ...]:
    """Return the fields that one network function changed without declaring them, in the order of ``Field``.

    Exact, unlike the merge's check; costs a copy of each packet and about 30 us.
    """
    return tuple(field for field in Field if field not in writes and before.get(field) != after.get(field))


class Fate(StrEnum):
    """What was decided about a packet."""

    MERGED = "merged"
    DROPPED = "dropped"
    CONFLICT = "conflict"
    LOST = "lost"
    TIMED_OUT = "timed_out"


class Released(NamedTuple):
    """A decided packet; what is not merged goes on as a nil.

    Args:
        packet: the merged packet, ``None`` for a nil.
        at_us: the classifier's time of the packet.
        dropped_by: index in the chain of the network function that dropped it, -1 otherwise or when unknown.
        branch: branch that lost it, did not deliver in time or broke its profile; -1 otherwise.
        waited_us: of what all branches delivered, from the first of them to the last.
    """

    packet_id: int
    packet: Packet | None
    at_us: int
    fate: Fate
    dropped_by: int = -1
    branch: int = -1
    conflict: Conflict | None = None
    waited_us: int = 0


# What waits in a branch: packet id, packet, the classifier's time, time of arrival, who dropped it. A bare tuple:
# a named one would cost as much as all the rest of a push.
Entry = tuple[int, Packet | None, int, int, int]


class Merger:
    """One merge operator of one path and epoch. Transitions: see the module.

    Args:
        rule: how to merge.
        timeout_us: how long the others wait for a branch that is silent.
        entries_max: packets and nils held at most, over all branches; at least ``rule.branch_count``.
        is_checked: look for undeclared changes (the debug mode).

    Attributes:
        counters: ``merged, dropped, conflict, lost, timed_out, table_full, late``.
        dropped_by: per index in the chain, drops decided here; -1 for unknown.
        lost_by, timed_out_by, conflict_by: per branch.
        depth: packets and nils held.
        last_id: the newest id decided, -1 at the start.
    """

    def __init__(
        self,
        rule: MergeRule,
        *,
        timeout_us: int = TIMEOUT_US,
        entries_max: int = ENTRIES_MAX,
        is_checked: bool = False,
    ) -> None:
        assert rule.branch_count >= 2
        assert entries_max >= rule.branch_count
        self.rule = rule
        self.timeout_us = timeout_us
        self.entries_max = entries_max
        self.is_checked = is_checked
        self.counters: Counter[str] = Counter()
        self.dropped_by: Counter[int] = Counter()
        self.lost_by: Counter[int] = Counter()
        self.timed_out_by: Counter[int] = Counter()
        self.conflict_by: Counter[int] = Counter()
        self.depth = 0
        self.last_id = -1
        self._queues: tuple[deque[Entry], ...] = tuple(deque() for _ in range(rule.branch_count))

    def push(
        self,
        branch: int,
        packet_id: int,
        packet: Packet | None,
        now_us: int,
        *,
        at_us: int = 0,
        dropped_by: int = -1,
    ) -> list[Released]:
        """Take a packet (``None``: a nil) of a branch; return what is decided now, in the order of ids.

        Args:
            now_us: any clock that never goes back; only ``expire`` compares with it.
            at_us: the classifier's time of the packet, handed through.
            dropped_by: of a nil, the index of the network function that dropped it.

        Complexity: O(branches) per decided packet.
        """
        queue = self._queues[branch]
        if packet_id <= self.last_id or (queue and packet_id <= queue[-1][0]):
            self.counters["late"] += 1
            return []
        queue.append((packet_id, packet, at_us, now_us, dropped_by))
        self.depth += 1
        released: list[Released] = []
        # Only the head of a branch can decide anything; behind it, the others' news is already known.
        if len(queue) == 1 and all(self._queues):
            self._decide_ready(released)
        while self.depth > self.entries_max:
            self.counters["table_full"] += 1
            released.append(self._give_up())
            self._decide_ready(released)
        return released

    def decide(self, entries: Sequence[Entry]) -> list[Released]:
        """Return what is decided about a packet that all branches have delivered, past the table.

        For blocks whose branches neither lose nor reorder; whoever calls it never calls ``push``. A packet older than
        the newest decided is late, as in ``push``.

        Args:
            entries: one per branch, all of one packet.
        """
        packet_id = entries[0][0]
        if packet_id <= self.last_id:
            self.counters["late"] += len(entries)
            return []
        return [self._fuse(packet_id, entries)]

    def decide_alike(self, packet_id: int) -> bool:
        """Count a packet as merged that ``decide`` would return unchanged; return whether it goes on, not late."""
        if packet_id <= self.last_id:
            self.counters["late"] += self.rule.branch_count
            return False
        self.last_id = packet_id
        self.counters[Fate.MERGED] += 1
        return True

    def expire(self, now_us: int) -> list[Released]:
        """Return what is decided because a branch was silent for too long."""
        released: list[Released] = []
        while self.depth and self._oldest_us() + self.timeout_us <= now_us:
            released.append(self._give_up())
            self._decide_ready(released)
        return released

    def next_expiry_us(self) -> int | None:
        """Return when ``expire`` has something to do, ``None`` while nothing waits."""
        return self._oldest_us() + self.timeout_us if self.depth else None

    def snapshot(self) -> dict[str, object]:
        """Return all counters and the depth as JSON values."""
        return {
            **{str(name): self.counters[name] for name in (*Fate, "table_full", "late")},
            "dropped_by": {str(index): count for index, count in sorted(self.dropped_by.items())},
            "lost_by": {str(index): count for index, count in sorted(self.lost_by.items())},
            "timed_out_by": {str(index): count for index, count in sorted(self.timed_out_by.items())},
            "conflict_by": {str(index): count for index, count in sorted(self.conflict_by.items())},
            "depth": self.depth,
        }

    def _next_id(self) -> int:
        return min(queue[0][0] for queue in self._queues if queue)

    def _oldest_us(self) -> int:
        """Return when the next packet to decide first arrived."""
        packet_id = self._next_id()
        return min(queue[0][3] for queue in self._queues if queue and queue[0][0] == packet_id)

    def _decide_ready(self, released: list[Released]) -> None:
        """Decide packets for as long as the heads alone tell."""
        queues = self._queues
        while all(queues):
            heads = [queue[0][0] for queue in queues]
            packet_id = heads[0]
            if heads.count(packet_id) == len(heads):
                released.append(self._merge(packet_id))
            else:
                packet_id = min(heads)
                lost = next(index for index, head in enumerate(heads) if head != packet_id)
                self.lost_by[lost] += 1
                released.append(self._take_nil(packet_id, Fate.LOST, lost))

    def _merge(self, packet_id: int) -> Released:
        entries = [queue.popleft() for queue in self._queues]
        self.depth -= len(entries)
        return self._fuse(packet_id, entries)

    def _fuse(self, packet_id: int, entries: Sequence[Entry]) -> Released:
        self.last_id = packet_id
        at_us = entries[0][2]
        packets = [entry[1] for entry in entries if entry[1] is not None]
        if len(packets) != len(entries):
            known = [entry[4] for entry in entries if entry[1] is None and entry[4] >= 0]
            dropped_by = min(known, default=-1)
            self.counters[Fate.DROPPED] += 1
            self.dropped_by[dropped_by] += 1
            return Released(packet_id, None, at_us, Fate.DROPPED, dropped_by)
        merged = merge_packets(self.rule, packets, is_checked=self.is_checked)
        if isinstance(merged, Conflict):
            self.counters[Fate.CONFLICT] += 1
            self.conflict_by[merged.branch] += 1
            return Released(packet_id, None, at_us, Fate.CONFLICT, -1, merged.branch, merged)
        self.counters[Fate.MERGED] += 1
        arrivals = [entry[3] for entry in entries]
        waited_us = max(arrivals) - min(arrivals)
        return Released(packet_id, merged, at_us, Fate.MERGED, waited_us=waited_us)

    def _give_up(self) -> Released:
        """Time the oldest packet out; the heads alone could not decide it, so some branch is empty."""
        silent = next(index for index, queue in enumerate(self._queues) if not queue)
        self.timed_out_by[silent] += 1
        return self._take_nil(self._next_id(), Fate.TIMED_OUT, silent)

    def _take_nil(self, packet_id: int, fate: Fate, branch: int) -> Released:
        at_us = 0
        for queue in self._queues:
            if queue and queue[0][0] == packet_id:
                at_us = queue.popleft()[2]
                self.depth -= 1
        self.last_id = packet_id
        self.counters[fate] += 1
        return Released(packet_id, None, at_us, fate, -1, branch)
