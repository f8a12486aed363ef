"""Which addresses are one host, as far as was told: siblings mostly share a host on either side."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.kinship_kernel import ALIAS, put_alias

Address = tuple[int, int]  # halves, as in records
ALIASES_MAX: Final = 64


class Hosts:
    """Groups of addresses that ADD_ADDR or hard evidence put on one host.

    A group takes at most 64 addresses: a private address announced by many hosts must not make them all one.
    ``aliases`` says the same as ``group_of`` to compiled functions.
    """

    def __init__(self) -> None:
        self.group_of: dict[Address, Address] = {}
        self.groups: dict[Address, list[Address]] = {}
        self.aliases: NDArray[Any] = np.zeros(64, ALIAS)

    def name(self, address: Address) -> Address:
        """Return the address that stands for the host."""
        return self.group_of.get(address, address)

    def alias(self, one: Address, other: Address) -> bool:
        """Let two addresses be one host; returns whether that is new."""
        kept, gone = sorted((self.name(one), self.name(other)))
        if kept == gone:
            return False
        merged = self.groups.get(kept, [kept]) + self.groups.get(gone, [gone])
        if len(merged) > ALIASES_MAX:
            return False
        self.groups.pop(gone, None)
        self.groups[kept] = merged
        self.group_of.update((address, kept) for address in merged)
        self._note(merged)
        return True

    def _note(self, addresses: list[Address]) -> None:
        if 2 * len(self.group_of) >= len(self.aliases):
            self.aliases = np.zeros(4 * len(self.aliases), ALIAS)
            addresses = list(self.group_of)
        for address in addresses:
            put_alias(self.aliases, *np.array((*address, *self.group_of[address]), np.uint64))
