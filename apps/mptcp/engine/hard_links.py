"""Hard evidence T1 to T4: tokens, keys, initial numbers, DATA_FIN, held in compiled tables.

Source: RFC 8684 sections 3.1, 3.2 and RFC 6824 (version 0 uses SHA-1); brief, tests T1, T2, T4.
"""

import hashlib
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import address_kernel, names_kernel, packet_kernel
from apps.mptcp.engine import kinship_kernel as kernel
from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.blocking import Hosts
from apps.mptcp.engine.evidence import Edges
from apps.mptcp.engine.subflow_table import SubflowTable
from apps.mptcp.engine.union_find import Groups

NOTES_MAX: Final = 4096


def derive(key: int, version: int) -> tuple[int, int]:
    """Return (token, IDSN) of a key.

    >>> [hex(number) for number in derive(1, 1)]
    ['0xcd266215', '0x19ec509083d00a50']
    """
    octets = key.to_bytes(8, "big")
    digest = hashlib.sha1(octets, usedforsecurity=False) if version == 0 else hashlib.sha256(octets)
    raw = digest.digest()
    return int.from_bytes(raw[:4], "big"), int.from_bytes(raw[-8:], "big")


@lru_cache(maxsize=65_536)
def _derive_both(key: int) -> tuple[int, int, int, int]:
    """Return (token, IDSN) of version 0 and of version 1."""
    return derive(key, 0) + derive(key, 1)


class HardLinks:
    """Holders of tokens, keys and DATA_FIN numbers among the subflows of a table, and what they tell.

    A holder takes 40 bytes. ``notes`` are what happened to connections since they were last read.
    """

    def __init__(self, table: SubflowTable, groups: Groups, edges: Edges, hosts: Hosts) -> None:
        self._table = table
        self._groups = groups
        self._edges = edges
        self._hosts = hosts
        self.holders: NDArray[Any] = np.zeros(256, names_kernel.HOLDER)
        self.of_row: NDArray[np.int32] = np.full(0, -1, np.int32)  # the first holder in each row
        self.counts: NDArray[np.int64] = np.zeros(names_kernel.NAME_COUNTS, np.int64)
        self.counts[names_kernel.FREE_FIRST] = -1
        self.slots: NDArray[np.int32] = np.full(1024, layout.EMPTY, np.int32)
        self._notes = np.empty((NOTES_MAX, kernel.NOTE_FIELDS), np.int64)
        self._written = np.zeros(kernel.TOLD_COUNTS, np.int64)
        self.announced: NDArray[Any] = np.zeros(64, address_kernel.ANNOUNCED)
        self.announced_of_row: NDArray[np.int32] = np.full(0, -1, np.int32)
        self.announced_counts: NDArray[np.int64] = np.array([0, -1], np.int64)
        self._derived = np.zeros((0, 2, 2, 2), np.uint64)

    def take_news(self, packets: NDArray[Any], news: tuple[NDArray[Any], ...], start: int, count: int) -> int:
        """Judge news from ``start`` on; returns how many are taken, see ``judge``. The notes are to be read then."""
        if not start:
            self._derive(packets, news, count)
            self.make_room()
        taken = self._judge(packets, news, start, count)
        if taken == start:
            self.make_room()
            taken = self._judge(packets, news, start, count)
        return taken

    def _judge(self, packets: NDArray[Any], news: tuple[NDArray[Any], ...], start: int, count: int) -> int:
        edges = self._edges
        names = (self.slots, self.holders, self.of_row, self.counts)
        told = (edges.all, self._notes, self._written)
        self._written[kernel.EDGES] = edges.count
        taken = kernel.judge(
            self._table.rows, self._groups.circles, names, self._hosts.aliases, self._announcements, told, packets,
            news, self._derived, start, count,
        )  # fmt: skip
        edges.count = self._written.item(kernel.EDGES)
        return taken

    @property
    def _announcements(self) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[np.int64]]:
        return self.announced, self.announced_of_row, self.announced_counts

    @property
    def stopped(self) -> int:
        """Why the last judgement stopped, see ``kinship_kernel``."""
        return self._written.item(kernel.STOPPED)

    @property
    def disagrees(self) -> Any:
        """The announcement that the last ADD_ADDR disagrees with."""
        return self.announced[self._written.item(kernel.DISAGREES)]

    def _derive(self, packets: NDArray[Any], news: tuple[NDArray[Any], ...], count: int) -> None:
        """Compute what follows from the keys among news."""
        record, _, why = news
        keyed = np.flatnonzero((why[:count] & packet_kernel.NEWS_KEY) != 0)
        if not len(keyed):
            return
        if count > len(self._derived):
            self._derived = np.zeros((len(why), 2, 2, 2), np.uint64)
        told = packets[record[keyed]]
        found: list[int] = []
        for key, peer_key in zip(told["key"].tolist(), told["peer_key"].tolist(), strict=True):
            found += _derive_both(key)
            found += _derive_both(peer_key)
        self._derived[keyed] = np.array(found, np.uint64).reshape(-1, 2, 2, 2)

    def make_room(self) -> None:
        """Make room for more than one packet can add, but for notes: those are for the caller to read."""
        self._edges.make_room(2 * kernel.ROOM)
        self.grow(len(self._table.rows))
        used = int(self.counts[names_kernel.HOLDERS_USED])
        if used + 2 * kernel.ROOM > len(self.holders):
            self.holders.resize(used + max(4 * kernel.ROOM, used // 2), refcheck=False)
        if self.announced_counts.item(address_kernel.ANNOUNCED_USED) == len(self.announced):
            self.announced.resize(2 * len(self.announced), refcheck=False)
        if (int(self.counts[names_kernel.SLOTS_TAKEN]) + 2 * kernel.ROOM) * 2 > len(self.slots):
            self.rehash()

    def grow(self, size: int) -> None:
        """Make room for ``size`` rows."""
        self._groups.grow(size)
        before = len(self.of_row)
        if size > before:
            for first in (self.of_row, self.announced_of_row):
                first.resize(size, refcheck=False)
                first[before:] = -1

    def rehash(self) -> None:
        """Make the hash anew, four slots per name, without the marks of those that are gone."""
        size = 1024
        while size < 4 * (self.name_count + 2 * kernel.ROOM):
            size *= 2
        self.slots = np.full(size, layout.EMPTY, np.int32)
        used = int(self.counts[names_kernel.HOLDERS_USED])
        self.counts[names_kernel.SLOTS_TAKEN] = names_kernel.rehash_names(self.slots, self.holders, used)

    @property
    def name_count(self) -> int:
        """Distinct tokens, keys and DATA_FIN numbers that are held."""
        return int(self.counts[: names_kernel.KINDS].sum())

    def take_notes(self) -> list[list[int]]:
        """Return what happened since the last call, see ``kinship_kernel.note``."""
        count = self._written.item(kernel.NOTES)
        self._written[kernel.NOTES] = 0
        found: list[list[int]] = self._notes[:count].tolist()
        return found

    def tokens_of(self, rows: NDArray[np.intp]) -> list[list[int]]:
        """Return (place in ``rows``, token, side whose it is) for the tokens that some rows hold, row by row."""
        names = (self.slots, self.holders, self.of_row, self.counts)
        found = np.empty((2 * len(rows), 3), np.int64)
        count = names_kernel.list_names(names, names_kernel.TOKEN, rows, found)
        if count > len(found):
            found = np.empty((count, 3), np.int64)
            names_kernel.list_names(names, names_kernel.TOKEN, rows, found)
        told: list[list[int]] = found[:count].tolist()
        return told

    def forget(self, row: int, heir: int, flip: int) -> None:
        """Drop a row that is gone; its names pass to a sibling, so that later joins are still known; -1: to nobody."""
        self.make_room()
        names = (self.slots, self.holders, self.of_row, self.counts)
        names_kernel.forget_row(names, row, heir, flip)
        address_kernel.pass_announced(self._announcements, row, heir, flip)
