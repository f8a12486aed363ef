"""Among how many a subflow could have found its sibling: the numbers in play, by endpoint.

Siblings mostly share a host, so who shares none with anybody else in play has few rivals, and a test at 32 bit says
more. Counted anew in a sweep that needs it. Complexity: O(n log n).

Hosts are told apart by 64 bits of hash: two that were taken for one would have more rivals, so no test would say more
than it should.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.blocking import Address
from apps.mptcp.engine.domain import Domain

_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = np.uint64(0xBF58476D1CE4E5B9)


def _mixed(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.uint64]:
    """Return 64 bits of hash of pairs of numbers."""
    value: NDArray[np.uint64] = (one.astype(np.uint64) * _MIX) ^ other.astype(np.uint64)
    for _ in range(2):
        value ^= value >> np.uint64(29)
        value *= _ODD
    return value ^ (value >> np.uint64(32))


def _hashed(addresses: list[Address]) -> NDArray[np.uint64]:
    halves = np.array(addresses, np.uint64).reshape(-1, 2)
    return _mixed(halves[:, 0], halves[:, 1])


class Crowd:
    """How many connections touch each host."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        live = domain.table.live_rows()
        rows = domain.table.rows
        labels = domain.groups.label[live]
        self.total = len(np.unique(labels))
        hosts = np.concatenate([_mixed(rows[f"{end}_hi"][live], rows[f"{end}_lo"][live]) for end in "ab"])
        hosts = self._renamed(hosts)
        _, first = np.unique(_mixed(hosts, np.concatenate((labels, labels))), return_index=True)
        self._hosts, self._counts = np.unique(hosts[first], return_counts=True)

    def _renamed(self, hosts: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Let addresses of one host have one name."""
        group_of = self._domain.hosts.group_of
        if not group_of:
            return hosts
        known, names = _hashed(list(group_of)), _hashed(list(group_of.values()))
        order = np.argsort(known)
        known, names = known[order], names[order]
        place = np.minimum(np.searchsorted(known, hosts), len(known) - 1)
        return np.where(known[place] == hosts, names[place], hosts)

    def rivals(self, members: list[int], others: list[int]) -> float:
        """Return how many connections could have been a partner: those at the rarest host that both share.

        All that are in play where they share none.
        """
        table, hosts = self._domain.table, self._domain.hosts
        mine = {hosts.name(end) for row in members for end in table.ends(row)}
        theirs = {hosts.name(end) for row in others for end in table.ends(row)}
        shared = _hashed(list(mine & theirs))
        if not len(shared):
            return float(self.total)
        place = np.minimum(np.searchsorted(self._hosts, shared), len(self._hosts) - 1)
        return float(np.where(self._hosts[place] == shared, self._counts[place], self.total).min())
