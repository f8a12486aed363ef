"""What the portal asks of classifier and servers: desired specs, checked and turned into values."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from apps.chains.engine.fields import Field
from apps.chains.engine.operators import OperatorKind, OperatorTable, operator_table_from_json
from apps.chains.engine.shim import EPOCH_MAX, PATH_MAX
from nfvportal.lib.errors import InvalidInputError

PATHS_MAX: Final = 64
NFS_MAX: Final = 64
RULES_MAX: Final = 256
PROTOCOLS: Final = {"icmp": 1, "tcp": 6, "udp": 17, "ah": 51, "icmpv6": 58, "sctp": 132}
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_INTERFACE = re.compile(r"[^\s/]{1,15}")


@dataclass(frozen=True, slots=True)
class PathSpec:
    """One epoch of one path. ``peers``: name in the table -> MAC; ``groups``: mirror operator -> group MAC."""

    path: int
    epoch: int
    chain: str
    table: OperatorTable
    peers: dict[str, bytes]
    groups: dict[int, bytes]
    timeout_us: int
    is_checked: bool


@dataclass(frozen=True, slots=True)
class NfSpec:
    """One network function to run.

    Args:
        indexes: epoch -> its index in that epoch's table.
        writes: what it may write; ``None`` when that is not checked.
    """

    instance: str
    type: str
    params: Mapping[str, Any]
    path: int
    indexes: Mapping[int, int]
    writes: frozenset[Field] | None = None

    @property
    def key(self) -> str:
        """Who shares this process: the same instance with the same settings, in whatever epoch."""
        return f"{self.path} {self.instance} {self.type} {json.dumps(self.params, sort_keys=True)}"


@dataclass(frozen=True, slots=True)
class Match:
    """Which packets take a path; what is ``None`` or empty matches everything."""

    src: IPv4Network | IPv6Network | None = None
    dst: IPv4Network | IPv6Network | None = None
    proto: int | None = None
    dst_ports: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Trace:
    """Packets of a path to follow."""

    path: int
    count: int
    nonce: str


@dataclass(frozen=True, slots=True)
class Stepped:
    """Times that packets get in place of the clock's: packet n of a path ``start_us + n * step_us``.

    With it two runs of one capture see equal times, so that states that hold times can be compared. Latencies mean
    nothing meanwhile. ``start_us`` must be within years of now, see ``shim``.
    """

    start_us: int
    step_us: int


@dataclass(frozen=True, slots=True)
class PlaneSpec:
    """What one device shall do; a server has no rules, a classifier no network functions.

    Args:
        state_nonce: each new one asks every network function once for the digest of its state; empty for none.
        stepped: times of a proof; ``None``: the clock's.
    """

    fabric: str
    paths: tuple[PathSpec, ...]
    nfs: tuple[NfSpec, ...] = ()
    ingress: str = ""
    egress: str = ""
    rules: tuple[tuple[int, Match], ...] = ()
    active: dict[int, int] = field(default_factory=dict)
    trace: Trace | None = None
    state_nonce: str = ""
    stepped: Stepped | None = None


def parse_server_spec(spec: Mapping[str, Any]) -> PlaneSpec:
    """Return the spec of ``chains.server``.

    Raises:
        InvalidInputError: a field breaks its limit.
    """
    nfs = tuple(_nf(f"nfs[{index}]", row) for index, row in enumerate(_list("nfs", spec.get("nfs"), NFS_MAX)))
    keys = [nf.key for nf in nfs]
    if len(set(keys)) != len(keys):
        raise InvalidInputError("nfs", "must list each instance once with the same params")
    return PlaneSpec(
        fabric=_interface("fabric", spec.get("fabric")),
        paths=_paths(spec),
        nfs=nfs,
        state_nonce=_state_nonce(spec.get("state")),
    )


def parse_classifier_spec(spec: Mapping[str, Any]) -> PlaneSpec:
    """Return the spec of ``chains.classifier``.

    Raises:
        InvalidInputError: a field breaks its limit, or ``active`` names an epoch that is not installed.
    """
    paths = _paths(spec)
    known = {(path.path, path.epoch) for path in paths}
    active = {
        _whole(f"active.{key}", int(key) if str(key).isdigit() else key, 1, PATH_MAX): _whole(
            f"active.{key}", value, 1, EPOCH_MAX
        )
        for key, value in _mapping("active", spec.get("active", {})).items()
    }
    if missing := active.items() - known:
        raise InvalidInputError("active", f"must name installed epochs, not {sorted(missing)}")
    rules = tuple(
        _rule(f"rules[{index}]", row)
        for index, row in enumerate(_list("rules", spec.get("rules"), RULES_MAX))
    )
    return PlaneSpec(
        fabric=_interface("fabric", spec.get("fabric")),
        paths=paths,
        ingress=_interface("ingress", spec.get("ingress")),
        egress=_interface("egress", spec.get("egress")),
        rules=rules,
        active=active,
        trace=_trace(spec.get("trace")),
        stepped=_stepped(spec.get("stepped")),
    )


def _paths(spec: Mapping[str, Any]) -> tuple[PathSpec, ...]:
    rows = _list("paths", spec.get("paths"), PATHS_MAX)
    paths = tuple(_path(f"paths[{index}]", row) for index, row in enumerate(rows))
    if len({(path.path, path.epoch) for path in paths}) != len(paths):
        raise InvalidInputError("paths", "must name each path and epoch once")
    return paths


def _path(at: str, value: object) -> PathSpec:
    row = _mapping(at, value)
    try:
        table = operator_table_from_json(row)
    except InvalidInputError as error:
        raise InvalidInputError(f"{at}.{error.field}", error.limit) from error
    peers = {
        str(name): _mac(f"{at}.peers.{name}", mac)
        for name, mac in _mapping(f"{at}.peers", row.get("peers", {})).items()
    }
    mirrors = {operator.id for operator in table.operators if operator.kind is OperatorKind.MIRROR}
    groups = {}
    for key, mac in _mapping(f"{at}.groups", row.get("groups", {})).items():
        if not str(key).isdigit() or int(key) not in mirrors:
            raise InvalidInputError(f"{at}.groups.{key}", "must be the id of a mirror")
        groups[int(key)] = _mac(f"{at}.groups.{key}", mac)
    return PathSpec(
        path=_whole(f"{at}.path", row.get("path"), 1, PATH_MAX),
        epoch=_whole(f"{at}.epoch", row.get("epoch"), 1, EPOCH_MAX),
        chain=_text(f"{at}.chain", row.get("chain")),
        table=table,
        peers=peers,
        groups=groups,
        timeout_us=_whole(f"{at}.timeout_us", row.get("timeout_us", 200_000), 1_000, 60_000_000),
        is_checked=row.get("is_checked", True) is True,
    )


def _nf(at: str, value: object) -> NfSpec:
    row = _mapping(at, value)
    writes = row.get("writes")
    return NfSpec(
        instance=_text(f"{at}.instance", row.get("instance")),
        type=_text(f"{at}.type", row.get("type")),
        params=_mapping(f"{at}.params", row.get("params", {})),
        path=_whole(f"{at}.path", row.get("path"), 1, PATH_MAX),
        indexes={
            _whole(
                f"{at}.indexes.{epoch}", int(epoch) if str(epoch).isdigit() else epoch, 1, EPOCH_MAX
            ): _whole(f"{at}.indexes.{epoch}", index, 0, 254)
            for epoch, index in _mapping(f"{at}.indexes", row.get("indexes")).items()
        },
        writes=None if writes is None else frozenset(_field(f"{at}.writes", name) for name in writes),
    )


def _field(at: str, name: object) -> Field:
    try:
        return Field(str(name))
    except ValueError as error:
        raise InvalidInputError(at, f"must be of {', '.join(Field)}") from error


def _rule(at: str, value: object) -> tuple[int, Match]:
    row = _mapping(at, value)
    match = _mapping(f"{at}.match", row.get("match", {}))
    proto = match.get("proto")
    if proto not in (None, "") and proto not in PROTOCOLS:
        raise InvalidInputError(f"{at}.match.proto", f"must be one of {', '.join(PROTOCOLS)}")
    ports = _list(f"{at}.match.dst_port", match.get("dst_port"), 64)
    return _whole(f"{at}.path", row.get("path"), 1, PATH_MAX), Match(
        src=_network(f"{at}.match.src", match.get("src")),
        dst=_network(f"{at}.match.dst", match.get("dst")),
        proto=PROTOCOLS[proto] if proto else None,
        dst_ports=frozenset(_whole(f"{at}.match.dst_port", port, 0, 65_535) for port in ports),
    )


def _network(at: str, value: object) -> IPv4Network | IPv6Network | None:
    if value in (None, ""):
        return None
    try:
        return ip_network(str(value), strict=False)
    except ValueError as error:
        raise InvalidInputError(at, "must be a prefix, e.g. 10.0.0.0/8 or 2001:db8::/32") from error


def _trace(value: object) -> Trace | None:
    if value is None:
        return None
    row = _mapping("trace", value)
    return Trace(
        path=_whole("trace.path", row.get("path"), 1, PATH_MAX),
        count=_whole("trace.count", row.get("count", 1), 1, 16),
        nonce=_text("trace.nonce", row.get("nonce")),
    )


def _state_nonce(value: object) -> str:
    return "" if value is None else _text("state.nonce", _mapping("state", value).get("nonce"))


def _stepped(value: object) -> Stepped | None:
    if value is None:
        return None
    row = _mapping("stepped", value)
    return Stepped(
        start_us=_whole("stepped.start_us", row.get("start_us"), 0, 1 << 62),
        step_us=_whole("stepped.step_us", row.get("step_us"), 1, 1_000_000_000),
    )


def _mapping(at: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInputError(at, "must be an object")
    return dict(value)


def _list(at: str, value: object, limit: int) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > limit:
        raise InvalidInputError(at, f"must be a list of at most {limit} items")
    return value


def _whole(at: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidInputError(at, f"must be a whole number from {low} to {high}")
    return value


def _text(at: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise InvalidInputError(at, "must be text of 1 to 200 characters")
    return value


def _interface(at: str, value: object) -> str:
    if not isinstance(value, str) or not _INTERFACE.fullmatch(value):
        raise InvalidInputError(at, "must be the name of an interface, at most 15 characters")
    return value


def _mac(at: str, value: object) -> bytes:
    if not isinstance(value, str) or not _MAC.fullmatch(value):
        raise InvalidInputError(at, "must be a MAC address, e.g. 02:00:00:00:00:01")
    return bytes.fromhex(value.replace(":", ""))
