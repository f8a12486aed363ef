"""Among how many a subflow could have found its sibling: the numbers in play, by endpoint.

Siblings mostly share a host, so who shares none with anybody else in play has few rivals, and a test at 32 bit says
more. Counted anew in a sweep that needs it. Complexity: O(n log n).
"""

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.domain import Domain


class Crowd:
    """How many connections touch each host."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        live = domain.table.live_rows()
        rows = domain.table.rows
        labels = domain.groups.label[live]
        self.total = len(np.unique(labels))
        named = np.empty(2 * len(live), [("hi", "u8"), ("lo", "u8"), ("label", "i8")])
        named["label"] = np.concatenate((labels, labels))
        for half in ("hi", "lo"):
            named[half] = np.concatenate((rows[f"a_{half}"][live], rows[f"b_{half}"][live]))
        for address, group in domain.hosts.group_of.items():
            alias = (named["hi"] == address[0]) & (named["lo"] == address[1])
            named["hi"][alias], named["lo"][alias] = group
        self._count = self._count_labels(np.unique(named))

    @staticmethod
    def _count_labels(named: NDArray[np.void]) -> dict[tuple[int, int], int]:
        hosts, counts = np.unique(named[["hi", "lo"]], return_counts=True)
        return {
            (int(hi), int(lo)): int(count) for (hi, lo), count in zip(hosts.tolist(), counts, strict=True)
        }

    def rivals(self, members: list[int], others: list[int]) -> float:
        """Return how many connections could have been a partner: those at the rarest host that both share.

        All that are in play where they share none.
        """
        table, hosts = self._domain.table, self._domain.hosts
        mine = {hosts.name(end) for row in members for end in table.ends(row)}
        theirs = {hosts.name(end) for row in others for end in table.ends(row)}
        return float(min((self._count.get(host, self.total) for host in mine & theirs), default=self.total))
