"""Which subflows form one Multipath TCP connection: a machine that packets step and seconds tick.

- step: records learn the packets; handshakes, joins and ends are judged at once (T1, T2, T4).
  Changes: found, joined, merged, left.
- tick: a sweep tries soft links again and seeks new ones (T3, T5 to T7); the silent are forgotten.
  Changes: joined, merged, split, ended, left, alarm.

Hard links join for good. Soft links hold as long as nothing speaks against them: one false link must not weld two
connections, so a split is as ordinary as a join.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from apps.mptcp.engine import packet_kernel as kernel
from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.blocking import Hosts
from apps.mptcp.engine.config import AssociatorConfig
from apps.mptcp.engine.evidence import Edges
from apps.mptcp.engine.hard_links import HardLinks, Link
from apps.mptcp.engine.records import Has, PacketRecords, TcpFlag, address_halves
from apps.mptcp.engine.subflow_layout import columns
from apps.mptcp.engine.subflow_table import SubflowTable
from apps.mptcp.engine.sweep import gather, judge, meeting_pairs
from apps.mptcp.engine.union_find import Groups
from apps.mptcp.engine.values import Change, ChangeKind, Connection, EvidenceKind, FlowKey
from apps.mptcp.engine.views import connection_of

NEWS_MAX = 16_384
SWEEP_ROUNDS = 4


class Associator:
    """One association domain.

    Args:
        config: settings; times are seconds since the epoch, as in the records.
    """

    def __init__(self, config: AssociatorConfig | None = None) -> None:
        self.config = config or AssociatorConfig()
        self.table = SubflowTable(self.config.max_subflows)
        self.groups = Groups()
        self.groups.grow(len(self.table.rows))
        self.edges = Edges()
        self.hosts = Hosts()
        self.hard = HardLinks(self.hosts)
        self.counts = np.zeros(len(kernel.COUNT_NAMES), np.int64)
        self.now_s = 0.0
        self._seen = (
            np.zeros(kernel.SEEN_SLOTS, np.uint64),
            np.zeros(kernel.SEEN_SLOTS, np.uint16),
            np.zeros(kernel.SEEN_SLOTS, np.int64),
        )
        self._news = (
            np.empty(NEWS_MAX, np.int64),
            np.empty(NEWS_MAX, np.int32),
            np.empty(NEWS_MAX, np.int32),
        )

    @property
    def counters(self) -> dict[str, int]:
        """What happened to packets so far, and how many subflows are known."""
        counted = dict(zip(kernel.COUNT_NAMES, self.counts.tolist(), strict=True))
        return {**counted, "subflows": len(self.table), "edges": self.edges.count}

    def step(self, records: PacketRecords, now_s: float) -> tuple[Change, ...]:
        """Learn packets, in any order and from any observation points.

        Args:
            now_s: time of the last of them; never runs backwards over steps and ticks.

        Complexity: O(packets), with some microseconds more for each packet of a handshake, join or end.
        """
        self.now_s = max(self.now_s, now_s)
        changes: list[Change] = []
        cols = columns(records)
        self.table.name_observers(records.observer)
        state = np.zeros(kernel.STATE_SIZE, np.int64)
        while state[kernel.NEXT_RECORD] < len(records):
            self._run(cols, state)
            for k, row, why in zip(
                *(column[: state[kernel.NEWS_COUNT]].tolist() for column in self._news), strict=True
            ):
                self._take_news(records, k, row, why, changes)
            if state[kernel.NEXT_RECORD] < len(records):
                self._make_room(state)
        return tuple(changes)

    def _run(self, cols: layout.Columns, state: Any) -> None:
        table = self.table
        free = np.array(table.free, np.int32)
        state[kernel.USED], state[kernel.NEXT_ID] = table.used, table.next_id
        state[kernel.FREE_COUNT], state[kernel.SLOTS_TAKEN] = len(free), table.slots_taken
        kernel.run(
            table.rows, table.slots, free, state, cols, table.observer_bits, *self._seen,
            len(table.observers) > 1, int(self.config.forget_s * 1e6), int(self.now_s * 1e6), self.counts,
            *self._news,
        )  # fmt: skip
        table.used, table.next_id = int(state[kernel.USED]), int(state[kernel.NEXT_ID])
        table.slots_taken = int(state[kernel.SLOTS_TAKEN])
        del table.free[int(state[kernel.FREE_COUNT]) :]

    def _make_room(self, state: Any) -> None:
        """Grow what stopped the loop, or pass one packet over when the domain is full."""
        if self.table.slots_taken * 2 >= len(self.table.slots):
            self.table.rehash()
        elif (
            self.table.used == len(self.table.rows)
            and not self.table.free
            and state[kernel.NEWS_COUNT] < NEWS_MAX
        ):
            if self.table.grow():
                self.groups.grow(len(self.table.rows))
            else:
                self.counts[kernel.REFUSED] += 1
                state[kernel.NEXT_RECORD] += 1

    def _take_news(self, records: PacketRecords, k: int, row: int, why: int, changes: list[Change]) -> None:
        rows, at_us = self.table.rows, int(records.at_us[k])
        at_s, subflow = at_us / 1e6, int(rows[row]["id"])
        side = 1 if why & kernel.NEWS_OF_B else 0
        if why & kernel.NEWS_SUBFLOW:
            self.groups.add(row, subflow)
            changes.append(Change(ChangeKind.CONNECTION_FOUND, at_s, subflow, subflow=subflow))
        links: list[Link] = []
        if why & kernel.NEWS_KEY:
            links += self._keys(records, k, row, side)
        if why & kernel.NEWS_JOIN and not int(records.tcp_flags[k]) & TcpFlag.ACK:
            links += self.hard.join_seen(rows, row, side, int(records.token[k]))
        if why & kernel.NEWS_DATA_FIN:
            links += self.hard.fin_seen(rows, row, side)
        for link in links:
            self._link(link, at_s, changes)
        if why & kernel.NEWS_CLOSED:
            label = int(self.groups.label[row])
            changes.append(Change(ChangeKind.SUBFLOW_LEFT, at_s, label, subflow=subflow))

    def _keys(self, records: PacketRecords, k: int, row: int, side: int) -> list[Link]:
        rows, has, at_us = self.table.rows, int(records.has[k]), int(records.at_us[k])
        is_handshake = bool(has & Has.CAPABLE)
        if is_handshake:
            flag = layout.VERSION_0 if int(records.version[k]) == 0 else layout.VERSION_1
            rows[row]["flags"] |= flag
        links: list[Link] = []
        if has & Has.KEY:
            links += self.hard.key_seen(rows, row, side, int(records.key[k]), at_us, is_handshake)
        if has & Has.PEER_KEY:
            links += self.hard.key_seen(rows, row, 1 - side, int(records.peer_key[k]), at_us, is_handshake)
        return links

    def _link(self, link: Link, at_s: float, changes: list[Change]) -> None:
        if self.groups.label[link.i] != self.groups.label[link.j]:
            self.edges.add(
                link.i, link.j, link.flip, link.kind, link.false_probability, at_s, number=link.number
            )
            self._unite(link.i, link.j, link.flip, at_s, changes)

    def _unite(self, i: int, j: int, flip: int, at_s: float, changes: list[Change]) -> None:
        groups = self.groups
        younger = i if groups.label[i] > groups.label[j] else j
        is_single = groups.is_alone(younger)
        kept, gone = groups.unite(i, j, flip)
        if is_single:
            subflow = int(self.table.rows[younger]["id"])
            changes.append(Change(ChangeKind.SUBFLOW_JOINED, at_s, kept, other=gone, subflow=subflow))
        else:
            changes.append(Change(ChangeKind.CONNECTIONS_MERGED, at_s, kept, other=gone))

    def tick(self, now_s: float) -> tuple[Change, ...]:
        """Sweep: try soft links again, find new ones. Call it each second of the packets' time.

        Complexity: O(n log n) over subflows.
        """
        self.now_s = max(self.now_s, now_s)
        changes: list[Change] = []
        for _ in range(SWEEP_ROUNDS):  # an aggregate that grew may meet more
            if not self._sweep_64(changes):
                break
        return tuple(changes)

    def _sweep_64(self, changes: list[Change]) -> int:
        table, groups = self.table, self.groups
        units = gather(table.rows, table.used, groups.following, groups.parity)
        far = self.config.far_bytes
        near = self._near_bytes(len(units.head))
        pairs = meeting_pairs(units, 2 * far)
        verdict, gap, chance = judge(pairs, units, near, far)
        joined = 0
        for k in np.argsort(chance, kind="stable").tolist():
            if not verdict[k]:
                continue
            u, side_u, v, side_v = pairs[k].tolist()
            i, j = int(units.head[u]), int(units.head[v])
            if groups.label[i] == groups.label[j]:
                continue
            flip = int(side_u ^ side_v ^ groups.parity[i] ^ groups.parity[j])
            kind = EvidenceKind.BOTH_SPACES if verdict[k] == 2 else EvidenceKind.ONE_SPACE_64
            self.edges.add(i, j, flip, kind, float(chance[k]), self.now_s,
                           gap=(float(gap[k, 0]), float(gap[k, 1])), rivals=len(units.head))  # fmt: skip
            self._unite(i, j, flip, self.now_s, changes)
            joined += 1
        return joined

    def _near_bytes(self, count: int) -> int:
        """Return the tolerance in one space alone: as wide as expected false pairs stay below 1e-4."""
        allowed = 2.0**64 * 1e-4 / (2.0 * max(1, count) ** 2)
        return int(max(self.config.near_bytes, min(self.config.far_bytes, allowed)))

    def connections(self) -> list[Connection]:
        """Return all connections, single subflows too, oldest id first."""
        labels, heads = np.unique(self.groups.label[self.table.live_rows()], return_index=True)
        live = self.table.live_rows()
        return [connection_of(self, int(live[head])) for _, head in zip(labels, heads, strict=True)]

    def connection(self, connection: int) -> Connection | None:
        """Return a connection by its id; None when there is none. Complexity: O(subflows)."""
        live = self.table.live_rows()
        found = live[self.groups.label[live] == connection]
        return connection_of(self, int(found[0])) if len(found) else None

    def lookup(self, flow: FlowKey) -> Connection | None:
        """Return the connection of a 4-tuple's newest subflow, whichever end comes first; None when it is unknown."""
        row = self._row(flow)
        return connection_of(self, row) if row >= 0 else None

    def _row(self, flow: FlowKey) -> int:
        one = (*address_halves(flow.a), flow.a_port)
        other = (*address_halves(flow.b), flow.b_port)
        (a_hi, a_lo, a_port), (b_hi, b_lo, b_port) = sorted((one, other))
        u = np.uint64
        ports = u(a_port << 16 | b_port)
        return int(
            kernel.find_row(self.table.rows, self.table.slots, u(a_hi), u(a_lo), u(b_hi), u(b_lo), ports)
        )


def associate(parts: Iterable[PacketRecords], config: AssociatorConfig | None = None) -> Associator:
    """Return the associator after a whole capture, stepped and ticked by the packets' time."""
    machine = Associator(config)
    next_tick_s: float | None = None
    for part in parts:
        if not len(part):
            continue
        now_s = float(part.at_us.max()) / 1e6
        machine.step(part, now_s)
        if next_tick_s is None or now_s >= next_tick_s:
            machine.tick(now_s)
            next_tick_s = now_s + 1.0
    machine.tick(machine.now_s)
    return machine
