"""Hard evidence T1 to T4: tokens, keys, initial numbers, DATA_FIN; and what the handshake tells of addresses.

Rare packets only (handshakes, joins, ends), one at a time. Whoever carries a token, key or DATA_FIN is a *holder*
(row, side); a second holder of the same one gives a link.

Source: RFC 8684 sections 3.1, 3.2 and RFC 6824 (version 0 uses SHA-1); brief, tests T1, T2, T4.
"""

import hashlib
from collections import defaultdict
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from apps.mptcp.engine import packet_kernel as kernel
from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.blocking import Address, Hosts
from apps.mptcp.engine.subflow_table import SubflowTable
from apps.mptcp.engine.union_find import Groups
from apps.mptcp.engine.values import EvidenceKind

HOLDERS_TRIED: Final = 64
TOKENS_UNSHARED_MAX: Final = (
    400_000  # beyond, a token between strangers is no proof: 1e-4 that it is by chance
)
FINS_32_MAX: Final = 4_000


class Holder(NamedTuple):
    """The key named belongs to side ``side`` of a row; ``key`` is 0 where only its token is known."""

    row: int
    side: int
    key: int


class Link(NamedTuple):
    """Hard evidence that two rows are siblings; ``flip``: side a of one is side b of the other."""

    i: int
    j: int
    flip: int
    kind: EvidenceKind
    false_probability: float
    number: int


@lru_cache(maxsize=65_536)
def derive(key: int, version: int) -> tuple[int, int]:
    """Return (token, IDSN) of a key.

    >>> [hex(number) for number in derive(1, 1)]
    ['0xcd266215', '0x19ec509083d00a50']
    """
    octets = key.to_bytes(8, "big")
    digest = hashlib.sha1(octets, usedforsecurity=False) if version == 0 else hashlib.sha256(octets)
    raw = digest.digest()
    return int.from_bytes(raw[:4], "big"), int.from_bytes(raw[-8:], "big")


class HardLinks:
    """Holders of tokens, keys and DATA_FIN numbers among the subflows of a table."""

    def __init__(self, table: SubflowTable, groups: Groups, hosts: Hosts) -> None:
        self._table = table
        self._groups = groups
        self.hosts = hosts
        self._ends: dict[int, tuple[Address, Address]] = {}
        self.tokens: dict[int, list[Holder]] = {}
        self.keys: dict[int, list[Holder]] = {}
        self.fins: dict[tuple[int, int], list[Holder]] = {}  # (width, number)
        self.names_of: dict[int, list[tuple[str, Any, int]]] = defaultdict(list)  # row -> (map, name, side)

    def key_seen(self, row: int, side: int, key: int, at_us: int, is_handshake: bool) -> list[Link]:
        """Take the key of one side of a subflow; returns links. A key that differs from an earlier one is not taken."""
        table = self._table
        flags = table.flags.item(row)
        if key == 0 or flags & layout.MIRRORED or flags & layout.KEY_A << side:
            return []
        if flags & layout.KEY_A << (1 - side) and table.keys.item(row, 1 - side) == key:
            table.flags[row] = flags | layout.MIRRORED
            self.forget(row, None, 0)
            kernel.drop_starts(table.rows, row)
            return []
        table.keys[row, side] = key
        table.flags[row] = flags | layout.KEY_A << side
        versions = (0,) if flags & layout.VERSION_0 else (1,) if flags & layout.VERSION_1 else (1, 0)
        holder = Holder(row, side, key)
        links = []
        other = self._meet("keys", key, holder)
        if other is not None:
            links.append(Link(row, other.row, side ^ other.side, EvidenceKind.KEY, 2.0**-64, key))
        for version in versions:
            token, idsn = derive(key, version)
            if len(versions) == 1:
                kernel.set_start(table.rows, row, side, np.uint64(idsn), at_us, is_handshake)
            links += self._token(holder, token)
        return links

    def join_seen(self, row: int, side: int, token: int) -> list[Link]:
        """Take the token of a joining SYN sent by ``side``: it names the key of the other side."""
        return self._token(Holder(row, 1 - side, 0), token)

    def fin_seen(self, row: int, side: int) -> list[Link]:
        """Take the DATA_FIN that ``side`` sent."""
        number, is_64 = self._table.fins.item(row, side), self._table.widths.item(row, side)
        low = number & 0xFFFFFFFF
        holder = Holder(row, side, 0)
        links = []
        wide = self._meet("fins", (64, number), holder) if is_64 else None
        if wide is not None:
            links.append(Link(row, wide.row, side ^ wide.side, EvidenceKind.DATA_FIN, 2.0**-64, number))
        other = self._meet("fins", (32, low), holder)
        if other is None or len(self.fins) > FINS_32_MAX or (wide is not None and wide.row == other.row):
            return links
        if not (is_64 and self._table.widths.item(other.row, other.side)) and self._share(row, other.row):
            links.append(Link(row, other.row, side ^ other.side, EvidenceKind.DATA_FIN, 2.0**-32, low))
        return links

    def _token(self, holder: Holder, token: int) -> list[Link]:
        links = []
        label = self._groups.label
        met = {label.item(holder.row)}
        for other in self.tokens.get(token, ())[:HOLDERS_TRIED]:
            theirs = label.item(other.row)
            if theirs in met or (holder.key and other.key):
                continue  # two keys with one token are told apart by the keys
            is_near = self._share(holder.row, other.row)
            if is_near or len(self.tokens) <= TOKENS_UNSHARED_MAX:
                chance = 2.0**-32 * (1 if is_near else max(1, len(self.tokens)))
                flip = holder.side ^ other.side
                links.append(Link(holder.row, other.row, flip, EvidenceKind.TOKEN, chance, token))
                met.add(theirs)
        self.hold("tokens", token, holder)
        return links

    def _meet(self, map_name: str, name: Any, holder: Holder) -> Holder | None:
        """Hold a name; returns the first of the other rows that hold it, as far as is looked."""
        table: dict[Any, list[Holder]] = getattr(self, map_name)
        first = None
        for other in table.get(name, ())[:HOLDERS_TRIED]:
            if other.row != holder.row:
                first = other
                break
        self.hold(map_name, name, holder)
        return first

    def hold(self, map_name: str, name: Any, holder: Holder) -> None:
        """Let a row's side hold a token, key or DATA_FIN number."""
        table: dict[Any, list[Holder]] = getattr(self, map_name)
        holders = table.setdefault(name, [])
        for other in holders:
            if other.row == holder.row and other.side == holder.side:
                return
        holders.append(holder)
        self.names_of[holder.row].append((map_name, name, holder.side))

    def _share(self, i: int, j: int) -> bool:
        return self.hosts.share(self.ends_of(i), self.ends_of(j))

    def ends_of(self, row: int) -> tuple[Address, Address]:
        """Return the two addresses of a row, remembered: a handshake asks several times."""
        found = self._ends.get(row)
        if found is None:
            found = self._ends[row] = self._table.ends(row)
        return found

    def forget(self, row: int, heir: int | None, flip: int) -> None:
        """Drop a row that is gone; its names pass to a sibling, so that later joins are still known."""
        self._ends.pop(row, None)
        for map_name, name, side in self.names_of.pop(row, []):
            table: dict[Any, list[Holder]] = getattr(self, map_name)
            mine = next((one for one in table[name] if one.row == row and one.side == side), None)
            table[name] = [one for one in table[name] if one.row != row or one.side != side]
            if heir is not None and mine is not None:
                self.hold(map_name, name, Holder(heir, side ^ flip, mine.key))
            if not table[name]:
                del table[name]
