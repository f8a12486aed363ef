"""Address IDs: what ADD_ADDR, REMOVE_ADDR and joins say about a connection's addresses (RFC 8684, section 3.4)."""

from typing import Any

from apps.mptcp.engine.records import address_text

Address = tuple[int, int]  # halves, as in records


def _end(end: tuple[Address, int]) -> str:
    """Return an address as people write it, with its port where one was given."""
    (high, low), port = end
    text = address_text(high, low)
    if not port:
        return text
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


class Addresses:
    """Address IDs that connections' sides announced; those of the ends of joined subflows are in their rows."""

    def __init__(self) -> None:
        self.announced: dict[
            tuple[int, int], dict[int, tuple[Address, int]]
        ] = {}  # (connection, side) -> id -> end

    def announce(
        self, connection: int, side: int, address_id: int, address: Address, port: int
    ) -> str | None:
        """Note an ADD_ADDR; returns what is odd about it, in words.

        An ID that changes its address without REMOVE_ADDR, or an end with two IDs: somebody else may be speaking.
        """
        known = self.announced.setdefault((connection, side), {})
        end = (address, port)
        before = known.get(address_id)
        others = [other for other, told in known.items() if told == end and other != address_id]
        known.setdefault(address_id, end)
        if before is not None and before != end:
            return (
                f"ADD_ADDR gives address ID {address_id} a second address, {_end(end)} beside {_end(before)}"
            )
        if before is None and others:
            return f"ADD_ADDR announces one address, {_end(end)}, under IDs {others[0]} and {address_id}"
        return None

    def withdraw(self, connection: int, side: int, address_id: int) -> Address | None:
        """Take an announcement back; returns its address, None when it was not seen."""
        end = self.announced.get((connection, side), {}).pop(address_id, None)
        return end[0] if end else None

    def merge(self, kept: int, gone: int, flip: int) -> None:
        """Let one connection have what another announced; ``flip``: its sides are turned."""
        if not self.announced:
            return
        for side in range(2):
            told = self.announced.pop((gone, side), None)
            if told:
                self.announced.setdefault((kept, side ^ flip), {}).update(told)

    def as_json(self) -> list[Any]:
        """Return everything as plain lists."""
        return [
            [connection, side, address_id, *address, port]
            for (connection, side), told in self.announced.items()
            for address_id, (address, port) in told.items()
        ]

    def read_json(self, data: list[Any]) -> None:
        """Take what ``as_json`` wrote."""
        for connection, side, address_id, high, low, port in data:
            self.announced.setdefault((connection, side), {})[address_id] = ((high, low), port)

    def forget_connection(self, connection: int) -> None:
        """Drop what a connection announced."""
        self.announced.pop((connection, 0), None)
        self.announced.pop((connection, 1), None)
