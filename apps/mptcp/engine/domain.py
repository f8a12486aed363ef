"""The state of an association domain, and the two things that change who belongs together: unite and cut."""

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import kinship_kernel as kinship
from apps.mptcp.engine import packet_kernel as kernel
from apps.mptcp.engine.alarms import JoinWatch
from apps.mptcp.engine.alignment import work_space
from apps.mptcp.engine.blocking import Hosts
from apps.mptcp.engine.config import AssociatorConfig
from apps.mptcp.engine.evidence import FIRST_SOFT, Edges
from apps.mptcp.engine.hard_links import HardLinks
from apps.mptcp.engine.subflow_table import SubflowTable
from apps.mptcp.engine.union_find import Groups
from apps.mptcp.engine.values import AlarmKind, Change, ChangeKind

_NOTED_AT_ONCE: Final = 4096


class Domain:
    """Subflows, edges between them, and the connections they form. ``changes`` collects what subscribers are told."""

    def __init__(self, config: AssociatorConfig) -> None:
        self.config = config
        self.table = SubflowTable(config.max_subflows)
        self.groups = Groups()
        self.groups.grow(len(self.table.rows))
        self.edges = Edges()
        self.hosts = Hosts()
        self.hard = HardLinks(self.table, self.groups, self.edges, self.hosts)
        self.counts: NDArray[np.int64] = np.zeros(len(kernel.COUNT_NAMES), np.int64)
        self.joins = JoinWatch(config.window_s, config.join_flood_count)
        self.ended: set[int] = set()  # connections that are over
        self.suspects: set[int] = set()  # connections whose bytes were said not to add up
        self.now_s = 0.0
        self.changes: list[Change] = []
        self.work = work_space()

    def take_changes(self) -> tuple[Change, ...]:
        """Return what changed since the last call."""
        changes, self.changes = tuple(self.changes), []
        return changes

    def tell_notes(self) -> None:
        """Let ``changes`` have what compiled functions noted."""
        for kind, at_us, connection, other, subflow, is_handshake in self.hard.take_notes():
            at_s = at_us / 1e6
            if kind == kinship.UNITED:
                self._note_united(connection, other, subflow if subflow >= 0 else None, at_s)
            elif kind == kinship.KEY_CHANGED:
                words = f"{'MP_CAPABLE' if is_handshake else 'MP_FASTCLOSE'} carries another key than the handshake"
                alarm = AlarmKind.KEY_CHANGE
                self.changes.append(
                    Change(
                        ChangeKind.ALARM, self.now_s, connection, subflow=subflow, alarm=alarm, words=words
                    )
                )
            else:
                what = ChangeKind.CONNECTION_FOUND if kind == kinship.FOUND else ChangeKind.SUBFLOW_LEFT
                self.changes.append(Change(what, at_s, connection, None, subflow))

    def unite(self, i: int, j: int, flip: int, at_s: float) -> None:
        """Make one connection of two; the older one's id stays."""
        groups = self.groups
        younger = i if groups.label.item(i) > groups.label.item(j) else j
        is_single = groups.is_alone(younger)
        kept, gone = groups.unite(i, j, flip)
        subflow = self.table.ids.item(younger) if is_single else None
        self._note_united(kept, gone, subflow, at_s)

    def unite_all(self, ends: NDArray[np.int32], at_s: float) -> None:
        """Make one connection of each of many pairs: int32[pairs, 3] of row, row, flip."""
        done = self.groups.unite_all(ends)
        done[:, 2] = self.table.ids[done[:, 2]]
        # All at once, as Python's numbers, would take more room than their subflows.
        for start in range(0, len(done), _NOTED_AT_ONCE):
            for kept, gone, subflow, is_single in done[start : start + _NOTED_AT_ONCE].tolist():
                single = gone if subflow == gone else subflow  # mostly one number: let it be one object
                self._note_united(kept, gone, single if is_single else None, at_s)

    def _note_united(self, kept: int, gone: int, single: int | None, at_s: float) -> None:
        if gone in self.ended:
            self.ended.discard(gone)
            self.ended.add(kept)
        kind = ChangeKind.CONNECTIONS_MERGED if single is None else ChangeKind.SUBFLOW_JOINED
        self.changes.append(Change(kind, at_s, kept, gone, single))

    def weakest_between(self, i: int, j: int) -> int | None:
        """Return the weakest soft edge on the way between two rows of one connection; None when all are hard."""
        members = self.groups.members(i)
        mates: dict[int, list[tuple[int, int]]] = {}
        for index in self.edges.of_rows(members).tolist():
            edge = self.edges.all[index]
            one, other = int(edge["i"]), int(edge["j"])
            mates.setdefault(one, []).append((other, index))
            mates.setdefault(other, []).append((one, index))
        came: dict[int, tuple[int, int]] = {i: (i, -1)}
        pending = deque([i])
        while pending:
            row = pending.popleft()
            for mate, index in mates.get(row, ()):
                if mate not in came:
                    came[mate] = (row, index)
                    pending.append(mate)
        soft = []
        row = j
        while row in came and row != i:
            row, index = came[row]
            if self.edges.all[index]["kind"] >= FIRST_SOFT:
                soft.append(index)
        return max(soft, key=lambda index: float(self.edges.all[index]["false_probability"]), default=None)

    def cut(self, index: int) -> None:
        """Take an edge back; its connection splits. The part with the oldest subflow keeps the id."""
        edge = self.edges.all[index]
        i, label = int(edge["i"]), int(self.groups.label[int(edge["i"])])
        members = self.groups.members(i)
        edge["is_dead"] = 1
        self.regroup(members, label)

    def regroup(self, members: list[int], label: int) -> None:
        """Form the connections of some rows anew from their live edges."""
        groups, ids = self.groups, self.table.ids
        kinship.dissolve(groups.label, groups.following, groups.parity, ids, np.array(members, np.int32))
        for index in self.edges.of_rows(members).tolist():
            edge = self.edges.all[index]
            groups.unite(int(edge["i"]), int(edge["j"]), int(edge["flip"]))
        oldest = min(members, key=lambda row: int(ids[row]))
        for row in groups.members(oldest):
            groups.label[row] = label
        for part in sorted({int(groups.label[row]) for row in members} - {label}):
            self.changes.append(Change(ChangeKind.CONNECTION_SPLIT, self.now_s, label, other=part))

    def alarm(self, kind: AlarmKind, row: int, words: str) -> None:
        """Tell an operator."""
        label, subflow = self.groups.label.item(row), self.table.ids.item(row)
        self.changes.append(
            Change(ChangeKind.ALARM, self.now_s, label, subflow=subflow, alarm=kind, words=words)
        )
