"""Which addresses are one host, as far as was told: siblings mostly share a host on either side."""

from typing import Final

Address = tuple[int, int]  # halves, as in records
ALIASES_MAX: Final = 64


class Hosts:
    """Groups of addresses that ADD_ADDR or hard evidence put on one host.

    A group takes at most 64 addresses: a private address announced by many hosts must not make them all one.
    """

    def __init__(self) -> None:
        self.group_of: dict[Address, Address] = {}
        self.groups: dict[Address, list[Address]] = {}

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
        return True

    def share(self, ends: tuple[Address, Address], others: tuple[Address, Address]) -> bool:
        """Return whether two subflows have a host in common."""
        name = self.group_of.get
        names = [name(end, end) for end in others]
        return name(ends[0], ends[0]) in names or name(ends[1], ends[1]) in names

    def forget_all_but(self, used: set[Address]) -> None:
        """Drop groups none of whose addresses is in use."""
        for kept, group in list(self.groups.items()):
            if used.isdisjoint(group):
                del self.groups[kept]
                for address in group:
                    del self.group_of[address]
