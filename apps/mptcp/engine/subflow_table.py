"""All subflows of an association domain in one array, found by the hash of their 4-tuples."""

import contextlib
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.blocking import Address
from apps.mptcp.engine.packet_kernel import find_row, first_unnamed, rehash
from apps.mptcp.engine.records import PacketRecords
from apps.mptcp.engine.subflow_layout import EMPTY, OBSERVERS_MAX, SUBFLOW

_NOTHING = np.zeros(0, SUBFLOW)


class _Pages:
    """Memory of its own for records: it grows where it is, and takes room only where a subflow lives.

    Copied into a larger array, a table would for a moment take twice its size.
    """

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, size * SUBFLOW.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._let_be_huge()

    def _let_be_huge(self) -> None:
        # Packets meet records at random: with large pages the processor finds them sooner. Not every kernel has them.
        with contextlib.suppress(OSError, AttributeError):
            self._map.madvise(mmap.MADV_HUGEPAGE)

    def rows(self) -> NDArray[Any]:
        """Return the records; while somebody looks at them, they cannot grow."""
        return np.frombuffer(self._map, SUBFLOW)

    def stretch(self, size: int) -> bool:
        """Make room for so many records; returns whether that went without a copy."""
        try:
            self._map.resize(size * SUBFLOW.itemsize)
        except (BufferError, OSError, SystemError, ValueError):  # looked at, or a system that cannot
            return False
        self._let_be_huge()
        return True


class SubflowTable:
    """Records of subflows with their hash; grows by halves up to a limit.

    Args:
        limit: most records, at least 1.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._pages = _Pages(min(256, limit))
        self.rows = self._pages.rows()
        self.slots: NDArray[np.int32] = np.full(1024, EMPTY, np.int32)
        self.free: list[int] = []
        self.used = 0  # records from here on were never used
        self.next_id = 0
        self.slots_taken = 0
        self.observer_bits: NDArray[np.int16] = np.full(65536, -1, np.int16)
        self.observers: list[int] = []

    def __len__(self) -> int:
        return self.used - len(self.free)

    @property
    def rows(self) -> NDArray[Any]:
        """All records, also unused ones."""
        return self._rows

    @rows.setter
    def rows(self, rows: NDArray[Any]) -> None:
        # Views of single fields: one number of one is read in a seventh of the time that a record's field takes.
        self._rows = rows
        self.ids: NDArray[np.int64] = rows["id"]
        self.flags: NDArray[np.uint32] = rows["flags"]
        self.keys: NDArray[np.uint64] = rows["key"]  # [row, side], as the next
        self.address_ids: NDArray[np.int16] = rows["address_id"]
        self._ends = tuple(rows[name] for name in ("a_hi", "a_lo", "b_hi", "b_lo"))

    def ends(self, row: int) -> tuple[Address, Address]:
        """Return the two addresses of a subflow, side a's first."""
        a_hi, a_lo, b_hi, b_lo = self._ends
        return (a_hi.item(row), a_lo.item(row)), (b_hi.item(row), b_lo.item(row))

    def live_rows(self) -> NDArray[np.intp]:
        """Return indexes of the records in use, ascending."""
        return np.flatnonzero(self.rows["id"][: self.used] >= 0)

    def name_observers(self, records: PacketRecords) -> None:
        """Give each new observation point of some packets a bit."""
        while (unnamed := first_unnamed(records.array, self.observer_bits)) >= 0:
            self.name_observer(records.observer.item(unnamed))

    def name_observer(self, observer: int) -> None:
        """Give a new observation point a bit; beyond 64 they share the last one."""
        self.observer_bits[observer] = min(len(self.observers), OBSERVERS_MAX - 1)
        if len(self.observers) < OBSERVERS_MAX:
            self.observers.append(observer)

    def grow(self) -> bool:
        """Make room for more records; returns whether there is any."""
        if len(self.rows) >= self.limit:
            return False
        before = len(self.rows)
        size = min(self.limit, before + max(256, before // 2))
        self.rows = _NOTHING  # whoever else still looks at the records would keep them where they are
        if not self._pages.stretch(size):
            old, self._pages = self._pages, _Pages(size)
            self._pages.rows()[: self.used] = old.rows()[: self.used]
        self.rows = self._pages.rows()
        return True

    def rehash(self) -> None:
        """Make the hash anew, four slots per record, without the marks of deleted ones."""
        size = 1024
        while size < 4 * (len(self) + 1):
            size *= 2
        self.slots = np.full(size, EMPTY, np.int32)
        self.slots_taken = int(rehash(self.rows, self.used, self.slots))

    def find(self, a: tuple[int, int, int], b: tuple[int, int, int]) -> int:
        """Return the row of the newest subflow between two (address halves, port), the lower first; -1: none."""
        u = np.uint64
        ports = u(a[2] << 16 | b[2])
        return int(find_row(self.rows, self.slots, u(a[0]), u(a[1]), u(b[0]), u(b[1]), ports))
