"""Parameters and states of network functions, read with limits. Errors name ``params.<field>`` or ``state.<field>``."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from nfvportal.lib.errors import InvalidInputError

PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}


@dataclass(frozen=True, slots=True)
class Prefix:
    """A range of addresses of one IP version: ``address & mask == network``."""

    version: int
    network: int
    mask: int

    def has(self, version: int, address: int) -> bool:
        """Whether an address lies inside."""
        return version == self.version and address & self.mask == self.network


@dataclass(frozen=True, slots=True)
class PortSet:
    """Ports, as ranges with both ends; no ranges: all ports, and packets without any."""

    ranges: tuple[tuple[int, int], ...] = ()

    def has(self, port: int | None) -> bool:
        """Whether a port lies inside."""
        if not self.ranges:
            return True
        return port is not None and any(low <= port <= high for low, high in self.ranges)


class Settings:
    """A mapping from a person or a file, read field by field.

    Args:
        values: what was given.
        path: prefix of the fields in errors.
        known: the fields that exist; any other is refused.
    """

    def __init__(self, values: object, path: str, known: Iterable[str]) -> None:
        self.path = path
        if not isinstance(values, Mapping):
            raise InvalidInputError(path, "must be an object")
        self.values = values
        names = sorted(known)
        for name in values:
            if name not in names:
                raise InvalidInputError(
                    f"{path}.{name}", "is unknown; known: " + (", ".join(names) or "nothing")
                )

    def refuse(self, name: str, limit: str) -> NoReturn:
        """Raise the error that names a field."""
        raise InvalidInputError(f"{self.path}.{name}", limit)

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Return a whole number within limits."""
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.refuse(name, f"must be a whole number from {low} to {high}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return a truth value."""
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            self.refuse(name, "must be true or false")
        return value

    def text(self, name: str, length_max: int, default: str | None = None) -> str:
        """Return a text of 1 to ``length_max`` characters; the default may be empty."""
        value = self.values.get(name, default)
        if not isinstance(value, str) or len(value) > length_max or (not value and default != ""):
            self.refuse(name, f"must be a text of 1 to {length_max} characters")
        return value

    def choice(self, name: str, choices: Iterable[str], default: str) -> str:
        """Return one of some words."""
        words = tuple(choices)
        value = self.values.get(name, default)
        if value not in words:
            self.refuse(name, "must be one of: " + ", ".join(words))
        return str(value)

    def items(self, name: str, count_max: int, count_min: int = 0) -> list[object]:
        """Return a list of limited length; empty when absent and allowed."""
        value = self.values.get(name, [])
        if not isinstance(value, list | tuple) or not count_min <= len(value) <= count_max:
            self.refuse(name, f"must be a list of {count_min} to {count_max}")
        return list(value)

    def objects(
        self, name: str, count_max: int, known: Iterable[str], count_min: int = 0
    ) -> list["Settings"]:
        """Return a list of objects."""
        names = tuple(known)
        return [
            Settings(item, f"{self.path}.{name}[{index}]", names)
            for index, item in enumerate(self.items(name, count_max, count_min))
        ]

    def prefix(self, name: str, default: str = "") -> Prefix | None:
        """Return an address or a prefix, ``None`` for any."""
        value = self.values.get(name, default)
        if value in ("", "any", None):
            return None
        try:
            network = ipaddress.ip_network(str(value), strict=False)
        except ValueError:
            self.refuse(name, "must be an address, a prefix such as 10.0.0.0/8, or any")
        return Prefix(network.version, int(network.network_address), int(network.netmask))

    def address(self, name: str) -> tuple[int, bytes]:
        """Return an address as version and bytes."""
        try:
            value = ipaddress.ip_address(str(self.values.get(name, "")))
        except ValueError:
            self.refuse(name, "must be an IPv4 or IPv6 address")
        return value.version, value.packed

    def protocol(self, name: str) -> int | None:
        """Return a protocol number, ``None`` for any."""
        value = self.values.get(name, "any")
        if value in ("any", "", None):
            return None
        if isinstance(value, str) and value in PROTOCOLS:
            return PROTOCOLS[value]
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255:
            return value
        return self.refuse(name, "must be tcp, udp, icmp, icmpv6, any, or a number from 0 to 255")

    def ports(self, name: str) -> PortSet:
        """Return ports given as one, or a list, of numbers and ranges such as ``"8000-8100"``; none given: all."""
        value = self.values.get(name, [])
        items = list(value) if isinstance(value, list | tuple) else [value]
        if len(items) > 64:
            self.refuse(name, "must have at most 64 ports or ranges")
        return PortSet(tuple(self._port_range(name, item) for item in items))

    def _port_range(self, name: str, item: object) -> tuple[int, int]:
        low, _, high = str(item).partition("-")
        if not isinstance(item, bool) and low.isascii() and low.isdigit() and len(low) <= 5:
            last = high or low
            if last.isascii() and last.isdigit() and len(last) <= 5 and int(low) <= int(last) <= 65535:
                return int(low), int(last)
        return self.refuse(name, 'must be ports from 0 to 65535 or ranges such as "8000-8100"')


def flow_keys(settings: Settings, name: str, count_max: int) -> list[bytes]:
    """Return the flow keys of a state, written as hexadecimal."""
    return [flow_key(settings, name, item) for item in settings.items(name, count_max)]


def flow_key(settings: Settings, name: str, item: object) -> bytes:
    """Return one flow key."""
    try:
        key = bytes.fromhex(str(item))
    except ValueError:
        settings.refuse(name, "must hold flow keys in hexadecimal")
    if len(key) not in (13, 37):
        settings.refuse(name, "must hold flow keys of 13 or 37 bytes")
    return key


def rows(settings: Settings, name: str, count_max: int, width: int) -> list[list[object]]:
    """Return the rows of a state, each a list of ``width`` values."""
    found: list[list[object]] = []
    for item in settings.items(name, count_max):
        if not isinstance(item, list | tuple) or len(item) != width:
            settings.refuse(name, f"must hold rows of {width} values")
        found.append(list(item))
    return found


def whole(settings: Settings, name: str, value: object) -> int:
    """Return a whole number, at least 0, out of a row of a state."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        settings.refuse(name, "must hold whole numbers, at least 0")
    return value
