"""Which subflows form one Multipath TCP connection: a machine that packets step and seconds tick.

- step: records learn the packets; handshakes, joins and ends are judged at once (T1, T2, T4).
  Changes: found, joined, merged, left.
- tick: a sweep tries soft links again and seeks new ones (T3, T5 to T7); the silent are forgotten.
  Changes: joined, merged, split, ended, left, alarm.

Hard links join for good. Soft links hold as long as nothing speaks against them: one false link must not weld two
connections, so a split is as ordinary as a join.
"""

from collections.abc import Iterable
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import packet_kernel as kernel
from apps.mptcp.engine.confidence import suspect
from apps.mptcp.engine.config import AssociatorConfig
from apps.mptcp.engine.domain import Domain
from apps.mptcp.engine.handshakes import take_news
from apps.mptcp.engine.lives import end_and_forget
from apps.mptcp.engine.records import PacketRecords, address_halves
from apps.mptcp.engine.snapshot import read, write
from apps.mptcp.engine.soft_links import sweep_all
from apps.mptcp.engine.values import Change, Connection, FlowKey
from apps.mptcp.engine.views import connection_list, connection_of

NEWS_MAX: Final = 16_384


class Associator:
    """One association domain.

    Args:
        config: settings; times are seconds since the epoch, as in the records.
    """

    def __init__(self, config: AssociatorConfig | None = None) -> None:
        self.config = config or AssociatorConfig()
        self.domain = Domain(self.config)
        self._swept_us = -1
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
    def now_s(self) -> float:
        """The latest time that a step or tick was given."""
        return self.domain.now_s

    @property
    def counters(self) -> dict[str, int]:
        """What happened to packets so far, and how many subflows and edges are known."""
        counted = dict(zip(kernel.COUNT_NAMES, self.domain.counts.tolist(), strict=True))
        return {**counted, "subflows": len(self.domain.table), "edges": self.domain.edges.count}

    def step(self, records: PacketRecords, now_s: float) -> tuple[Change, ...]:
        """Learn packets, in any order and from any observation points.

        Args:
            now_s: time of the last of them; never runs backwards over steps and ticks.

        Complexity: O(packets), with some microseconds more for each packet of a handshake, join or end.
        """
        domain = self.domain
        domain.now_s = max(domain.now_s, now_s)
        domain.table.name_observers(records)
        state = np.zeros(kernel.STATE_SIZE, np.int64)
        while state[kernel.NEXT_RECORD] < len(records):
            self._run(records, state)
            take_news(domain, records, self._news, int(state[kernel.NEWS_COUNT]))
            if state[kernel.NEXT_RECORD] < len(records):
                self._make_room(state)
        return domain.take_changes()

    def _run(self, records: PacketRecords, state: Any) -> None:
        table, now_us = self.domain.table, int(self.now_s * 1e6)
        free = np.array(table.free, np.int32)
        state[kernel.USED], state[kernel.NEXT_ID] = table.used, table.next_id
        state[kernel.FREE_COUNT], state[kernel.SLOTS_TAKEN] = len(free), table.slots_taken
        kernel.run(
            table.rows, table.slots, free, state, records.array, table.observer_bits, *self._seen,
            len(table.observers) > 1, int(self.config.forget_s * 1e6), now_us, self.domain.counts, *self._news,
        )  # fmt: skip
        table.used, table.next_id = int(state[kernel.USED]), int(state[kernel.NEXT_ID])
        table.slots_taken = int(state[kernel.SLOTS_TAKEN])
        del table.free[int(state[kernel.FREE_COUNT]) :]

    def _make_room(self, state: Any) -> None:
        """Grow what stopped the loop, or pass one packet over when the domain is full."""
        table = self.domain.table
        if table.slots_taken * 2 >= len(table.slots):
            table.rehash()
            return
        is_full = table.used == len(table.rows) and not table.free and state[kernel.NEWS_COUNT] < NEWS_MAX
        if is_full and not table.grow():
            self.domain.counts[kernel.REFUSED] += 1
            state[kernel.NEXT_RECORD] += 1

    def tick(self, now_s: float) -> tuple[Change, ...]:
        """Sweep: try soft links again, find new ones, forget the silent. Call it each second of the packets' time.

        Complexity: O(n log n) over subflows.
        """
        self.domain.now_s = max(self.domain.now_s, now_s)
        sweep_all(self.domain, self._swept_us)
        end_and_forget(self.domain, self._swept_us)
        suspect(self.domain)
        self._swept_us = int(self.now_s * 1e6)
        return self.domain.take_changes()

    def snapshot(self) -> bytes:
        """Return everything as bytes; see ``snapshot``. Complexity: O(subflows)."""
        seen, seen_by, seen_us = self._seen
        more: dict[str, NDArray[Any]] = {}
        if len(self.domain.table.observers) > 1:
            more = {"seen": seen, "seen_by": seen_by, "seen_us": seen_us}
        return write(self.domain, {"swept_us": self._swept_us}, more)

    @classmethod
    def restore(cls, data: bytes) -> Self:
        """Return the associator that ``snapshot`` wrote.

        Raises:
            InvalidInputError: not a snapshot, of another version, or damaged.
        """
        domain, extra, more = read(data)
        machine = cls(domain.config)
        machine.domain = domain
        machine._swept_us = int(extra["swept_us"])
        if more:
            machine._seen = (more["seen"], more["seen_by"], more["seen_us"])
        return machine

    def connections(self) -> list[Connection]:
        """Return all connections, single subflows too, oldest id first. Complexity: O(n log n)."""
        return connection_list(self.domain)

    def connection(self, connection: int) -> Connection | None:
        """Return a connection by its id; None when there is none. Complexity: O(subflows)."""
        live = self.domain.table.live_rows()
        found = live[self.domain.groups.label[live] == connection]
        return connection_of(self.domain, int(found[0])) if len(found) else None

    def lookup(self, flow: FlowKey) -> Connection | None:
        """Return the connection of a 4-tuple's newest subflow, whichever end comes first; None when it is unknown."""
        row = self._row(flow)
        return connection_of(self.domain, row) if row >= 0 else None

    def _row(self, flow: FlowKey) -> int:
        one = (*address_halves(flow.a), flow.a_port)
        other = (*address_halves(flow.b), flow.b_port)
        return self.domain.table.find(*sorted((one, other)))


def associate(parts: Iterable[PacketRecords], config: AssociatorConfig | None = None) -> Associator:
    """Return the associator after a whole capture, stepped and ticked by the packets' time."""
    machine = Associator(config)
    next_tick_s: float | None = None
    for part in parts:
        if not len(part):
            continue
        now_s = part.latest_us / 1e6
        machine.step(part, now_s)
        if next_tick_s is None or now_s >= next_tick_s:
            machine.tick(now_s)
            next_tick_s = now_s + 1.0
    machine.tick(machine.now_s)
    return machine
