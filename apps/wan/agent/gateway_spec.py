"""The spec of the role ``wan.gateway``, checked field by field."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

from apps.wan.engine.detector import DetectorConfig
from apps.wan.engine.map_planner import LinkWeight
from apps.wan.engine.probe_codec import KEY_BYTES, MAX_LINKS
from nfvportal.lib.errors import InvalidInputError

MAX_SUBNETS = 64


@dataclass(frozen=True, slots=True)
class GatewayLink:
    """One WAN link of this gateway."""

    name: str
    interface: str
    local: str
    peer: str
    rate_bps: int


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """What a gateway should do.

    Args:
        side: ``a``: virtual subnets are here, traffic is sorted by source prefix; ``b``: they are at the peer, traffic
            is sorted by destination prefix.
        subnets: index -> prefix of the virtual subnet.
        remote_prefixes: what lies behind the peer, for side ``a``.
        home: index -> link it belongs on.
        advice: index -> link the portal chose; counts while the home link is down.
        epoch: number of the portal's map.
        is_rerouting: ``False`` only watches (for comparison).
        is_replaying: whether what was under way on a failing link is sent again.
    """

    side: Literal["a", "b"]
    links: tuple[GatewayLink, ...]
    subnets: Mapping[int, str]
    remote_prefixes: tuple[str, ...]
    home: Mapping[int, str]
    advice: Mapping[int, str]
    epoch: int
    detector: DetectorConfig
    probe_port: int
    probe_key: bytes
    is_rerouting: bool
    is_replaying: bool

    @property
    def weights(self) -> tuple[LinkWeight, ...]:
        """Return the links weighted by their rate."""
        return tuple(LinkWeight(link.name, link.rate_bps) for link in self.links)


def parse_gateway_spec(spec: Mapping[str, Any]) -> GatewaySpec:
    """Return the checked spec.

    Raises:
        InvalidInputError: naming the field and its limit.
    """
    links = tuple(
        _link(item, f"links[{index}]") for index, item in enumerate(_list(spec, "links", 1, MAX_LINKS))
    )
    names = {link.name for link in links}
    if len(names) != len(links):
        raise InvalidInputError("links", "must have different names")
    subnets = _subnets(_list(spec, "virtual_subnets", 1, MAX_SUBNETS))
    side = spec.get("side")
    if side not in ("a", "b"):
        raise InvalidInputError("side", "must be a or b")
    advice = _map(spec, "map", subnets.keys(), names)
    probe = _object(spec, "probe")
    return GatewaySpec(
        side="a" if side == "a" else "b",
        links=links,
        subnets=subnets,
        remote_prefixes=tuple(
            _prefix({"prefix": item}, "prefix", f"remote_prefixes[{at}]")
            for at, item in enumerate(_list(spec, "remote_prefixes", 0, 256))
        ),
        home=_map(spec, "home", subnets.keys(), names) if "home" in spec else advice,
        advice=advice,
        epoch=_int(spec, "epoch", "", 0, 2**31),
        detector=_detector(probe, _object(spec, "hold_down") if "hold_down" in spec else {}),
        probe_port=_int(probe, "port", "probe", 1, 65535),
        probe_key=_key(probe.get("key")),
        is_rerouting=_flag(spec, "reroute"),
        is_replaying=_flag(spec, "replay"),
    )


def _subnets(items: list[Any]) -> dict[int, str]:
    subnets: dict[int, str] = {}
    for at, item in enumerate(items):
        field = f"virtual_subnets[{at}]"
        if not isinstance(item, Mapping):
            raise InvalidInputError(field, "must be an object")
        index = _int(item, "index", field, 1, 255)
        if index in subnets:
            raise InvalidInputError(f"{field}.index", "must differ from the other subnets")
        subnets[index] = _prefix(item, "prefix", field)
    return subnets


def _detector(probe: Mapping[str, Any], hold: Mapping[str, Any]) -> DetectorConfig:
    default = DetectorConfig()
    base_s = _number(hold, "base_s", "hold_down", 0.0, 600.0, default.hold_base_s)
    return DetectorConfig(
        interval_ms=_number(probe, "interval_ms", "probe", 1.0, 1000.0, default.interval_ms),
        multiplier=int(_number(probe, "multiplier", "probe", 2, 50, default.multiplier)),
        clean_count=int(_number(hold, "clean_count", "hold_down", 1, 10_000, default.clean_count)),
        hold_base_s=base_s,
        hold_max_s=max(base_s, _number(hold, "max_s", "hold_down", 0.0, 3600.0, default.hold_max_s)),
    )


def _link(item: object, field: str) -> GatewayLink:
    if not isinstance(item, Mapping):
        raise InvalidInputError(field, "must be an object")
    interface = _text(item, "interface", field, 15)
    return GatewayLink(
        name=_text(item, "name", field, 64),
        interface=interface,
        local=_address(item, "local", field),
        peer=_address(item, "peer", field),
        rate_bps=_int(item, "rate_bps", field, 1, 10**13),
    )


def _object(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = spec.get(name)
    if not isinstance(value, Mapping):
        raise InvalidInputError(name, "must be an object")
    return value


def _list(spec: Mapping[str, Any], name: str, low: int, high: int) -> list[Any]:
    value = spec.get(name)
    if not isinstance(value, list) or not low <= len(value) <= high:
        raise InvalidInputError(name, f"must be a list of {low} to {high} items")
    return value


def _text(item: Mapping[str, Any], name: str, field: str, limit: int) -> str:
    value = item.get(name)
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= limit
        or not value.isprintable()
        or any(c in " /" for c in value)
    ):
        raise InvalidInputError(
            f"{field}.{name}", f"must be text of 1 to {limit} printable characters without spaces and /"
        )
    return value


def _int(item: Mapping[str, Any], name: str, field: str, low: int, high: int) -> int:
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInputError(f"{field}.{name}".lstrip("."), f"must be a whole number from {low} to {high}")
    return value


def _number(item: Mapping[str, Any], name: str, field: str, low: float, high: float, default: float) -> float:
    value = item.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidInputError(f"{field}.{name}", f"must be a number from {low:g} to {high:g}")
    return float(value)


def _flag(spec: Mapping[str, Any], name: str) -> bool:
    value = spec.get(name, True)
    if not isinstance(value, bool):
        raise InvalidInputError(name, "must be true or false")
    return value


def _address(item: Mapping[str, Any], name: str, field: str) -> str:
    try:
        return str(IPv4Address(str(item.get(name))))  # else a number would pass as an address
    except ValueError as error:
        raise InvalidInputError(f"{field}.{name}", "must be an IPv4 address like 192.0.2.1") from error


def _prefix(item: object, name: str, field: str) -> str:
    try:
        if not isinstance(item, Mapping) or not isinstance(item.get(name), str):
            raise ValueError
        return str(IPv4Network(item[name]))
    except ValueError as error:
        raise InvalidInputError(f"{field}.{name}", "must be an IPv4 prefix like 10.1.1.0/24") from error


def _map(spec: Mapping[str, Any], name: str, indices: Any, links: set[str]) -> dict[int, str]:
    mapping: dict[int, str] = {}
    for key, link in _object(spec, name).items():
        if str(key) not in {str(index) for index in indices}:
            raise InvalidInputError(f"{name}.{key}", "must be the index of a virtual subnet")
        if not isinstance(link, str) or link not in links:
            raise InvalidInputError(f"{name}.{key}", f"must be one of {', '.join(sorted(links))}")
        mapping[int(key)] = link
    return mapping


def _key(value: object) -> bytes:
    try:
        key = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise InvalidInputError("probe.key", f"must be {KEY_BYTES} bytes in hexadecimal")
    return key
