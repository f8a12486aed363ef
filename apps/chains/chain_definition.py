"""Chains as people write them, checked: every limit of every field is here, for REST, YAML files and the editor alike.

Errors name the field as ``nfs[2].service.mean_us`` and say what is allowed.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Final, NotRequired, TypedDict

from apps.chains.engine.chain import NFS_MAX, SERVERS_MAX, Chain, NfInstance, ServiceTime
from apps.chains.engine.foreign import FOREIGN, foreign_check
from apps.chains.engine.nfs.registry import MAKERS, make_nf
from apps.chains.engine.profiles import ActionProfile
from nfvportal.lib.errors import InvalidInputError

PARAMS_MAX_BYTES: Final = 16_384
PARAMS_MAX_DEPTH: Final = 8
PORTS_MAX: Final = 16
PROTOCOLS: Final = ("tcp", "udp", "icmp", "icmpv6", "ah", "sctp")
REPLANS: Final = ("off", "propose", "apply")
# Addresses of pages and of REST that stand where a chain's name does.
NAMES_TAKEN: Final = frozenset({"new", "catalogue", "plans", "analyse", "what-if", "import", "placement"})
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
DEVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_WORDS: Final = "must be 1 to 63 small letters, digits and hyphens, not starting with a hyphen"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class ServiceJson(TypedDict):
    """How long a packet occupies a network function."""

    mean_us: float
    scv: float
    is_waiting: bool


class NfJson(TypedDict):
    """One network function of a chain; without ``service`` it takes as long as its type."""

    name: str
    type: str
    params: dict[str, Any]
    service: NotRequired[ServiceJson]
    pinned_server: str
    is_state_advisory: bool


class MatchJson(TypedDict, total=False):
    """Which packets take the chain; what is left out matches everything."""

    src: str
    dst: str
    proto: str
    dst_port: list[int]


class Definition(TypedDict):
    """A chain, complete: what is optional for people is filled in."""

    name: str
    title: str
    nfs: list[NfJson]
    match: MatchJson
    rate_pps: float
    packet_bytes: float
    slo_p99_ms: float | None
    replan: str


class ServerJson(TypedDict):
    """A server that a plan may use."""

    name: str
    cores: float
    link_bps: float


def definition_parse(data: object) -> Definition:
    """Return a chain with every field checked and filled in.

    Raises:
        InvalidInputError: naming the field and the limit; unknown fields too.
    """
    fields = fields_of("", data, required=("name", "nfs", "rate_pps"), optional=(
        "title", "match", "packet_bytes", "slo_p99_ms", "replan"))  # fmt: skip
    name = slug("name", fields["name"])
    if name in NAMES_TAKEN:
        raise InvalidInputError("name", f"must not be one of {', '.join(sorted(NAMES_TAKEN))}")
    nfs = list_of("nfs", fields["nfs"], 1, NFS_MAX, "network functions")
    slo = fields.get("slo_p99_ms")
    return {
        "name": name,
        "title": text_of("title", fields.get("title", ""), 200),
        "nfs": _unique_names("nfs", [_nf(f"nfs[{index}]", nf) for index, nf in enumerate(nfs)]),
        "match": _match(fields.get("match", {})),
        "rate_pps": number("rate_pps", fields["rate_pps"], 0.001, 1e9),
        "packet_bytes": number("packet_bytes", fields.get("packet_bytes", 724.0), 64, 9216),
        "slo_p99_ms": None if slo is None else number("slo_p99_ms", slo, 0.001, 60_000),
        "replan": choice_of("replan", fields.get("replan", "propose"), REPLANS),
    }


def servers_parse(field: str, data: object) -> list[ServerJson]:
    """Return servers with every field checked.

    Raises:
        InvalidInputError: naming the field and the limit.
    """
    rows: list[ServerJson] = []
    for index, item in enumerate(list_of(field, data, 1, SERVERS_MAX, "servers")):
        at = f"{field}[{index}]"
        fields = fields_of(at, item, required=("name", "cores"), optional=("link_bps",))
        rows.append(
            {
                "name": device_name(f"{at}.name", fields["name"]),
                "cores": number(f"{at}.cores", fields["cores"], 0.01, 4096),
                "link_bps": number(f"{at}.link_bps", fields.get("link_bps", 10e9), 1e3, 1e13),
            }
        )
    return _unique_names(field, rows)


def service_parse(field: str, data: object) -> ServiceJson:
    """Return how long a network function takes, checked."""
    fields = fields_of(field, data, required=("mean_us",), optional=("scv", "is_waiting"))
    return {
        "mean_us": number(f"{field}.mean_us", fields["mean_us"], 0.001, 60e6),
        "scv": number(f"{field}.scv", fields.get("scv", 1.0), 0, 1000),
        "is_waiting": flag(f"{field}.is_waiting", fields.get("is_waiting", False)),
    }


def _nf(field: str, data: object) -> NfJson:
    fields = fields_of(field, data, required=("name", "type"), optional=(
        "params", "service", "pinned_server", "is_state_advisory"))  # fmt: skip
    server = fields.get("pinned_server", "")
    nf: NfJson = {
        "name": slug(f"{field}.name", fields["name"]),
        "type": type_slug(f"{field}.type", fields["type"]),
        "params": params_parse(f"{field}.params", fields.get("params", {})),
        "pinned_server": device_name(f"{field}.pinned_server", server) if server != "" else "",
        "is_state_advisory": flag(f"{field}.is_state_advisory", fields.get("is_state_advisory", False)),
    }
    if fields.get("service") is not None:
        nf["service"] = service_parse(f"{field}.service", fields["service"])
    return nf


def _match(data: object) -> MatchJson:
    fields = fields_of("match", data, optional=("src", "dst", "proto", "dst_port"))
    match: MatchJson = {}
    if fields.get("src"):
        match["src"] = _prefix("match.src", fields["src"])
    if fields.get("dst"):
        match["dst"] = _prefix("match.dst", fields["dst"])
    if "src" in match and "dst" in match and (":" in match["src"]) != (":" in match["dst"]):
        raise InvalidInputError("match.dst", "must be of the same IP version as match.src")
    if fields.get("proto"):
        match["proto"] = choice_of("match.proto", fields["proto"], PROTOCOLS)
    ports = fields.get("dst_port")
    if ports not in (None, []):
        if match.get("proto") not in ("tcp", "udp", "sctp"):
            raise InvalidInputError("match.proto", "must be tcp, udp or sctp when match.dst_port is given")
        match["dst_port"] = _ports(ports)
    return match


def _ports(data: object) -> list[int]:
    ports = data if isinstance(data, list) else [data]
    if len(ports) > PORTS_MAX:
        raise InvalidInputError("match.dst_port", f"must be at most {PORTS_MAX} ports")
    for index, port in enumerate(ports):
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65535:
            raise InvalidInputError(f"match.dst_port[{index}]", "must be a whole number from 0 to 65535")
    return sorted(set(ports))


def _prefix(field: str, value: object) -> str:
    try:
        if not isinstance(value, str) or len(value) > 64:
            raise ValueError("no text")
        return str(ip_network(value))
    except ValueError as error:
        words = "must be a prefix such as 10.0.0.0/8 or 2001:db8::/32, without bits beyond its length"
        raise InvalidInputError(field, words) from error


def params_parse(field: str, value: object) -> dict[str, Any]:
    """Return an implementation's settings: any JSON object of limited size; its meaning is checked elsewhere."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise InvalidInputError(field, "must be an object")
    try:
        text = json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInputError(
            field, "must hold only text, finite numbers, true, false, null, lists, objects"
        ) from error
    if len(text) > PARAMS_MAX_BYTES or _depth(value) > PARAMS_MAX_DEPTH:
        limit = f"must be at most {PARAMS_MAX_BYTES} characters of JSON, {PARAMS_MAX_DEPTH} levels deep"
        raise InvalidInputError(field, limit)
    if "\\u0000" in text or _UNSTORABLE.search(text):
        raise InvalidInputError(field, "must be without NUL")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _unique_names(field: str, rows: list[Any]) -> list[Any]:
    seen: set[str] = set()
    for index, row in enumerate(rows):
        if row["name"] in seen:
            raise InvalidInputError(f"{field}[{index}].name", f"must be unique; {row['name']} came before")
        seen.add(row["name"])
    return rows


def fields_of(
    field: str, data: object, *, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return an object that has all required fields and no unknown one."""
    if not isinstance(data, Mapping):
        raise InvalidInputError(field, "must be an object")
    dot = f"{field}." if field else ""
    known = (*required, *optional)
    for name in data:
        if name not in known:
            raise InvalidInputError(
                f"{dot}{str(name)[:64]}", f"is not a known field; known are {', '.join(known)}"
            )
    for name in required:
        if data.get(name) is None:
            raise InvalidInputError(f"{dot}{name}", "is required")
    return dict(data)


def list_of(field: str, value: object, low: int, high: int, what: str) -> list[Any]:
    """Return a list of ``low`` to ``high`` items."""
    if not isinstance(value, list) or not low <= len(value) <= high:
        raise InvalidInputError(field, f"must be a list of {low} to {high} {what}")
    return value


def number(field: str, value: object, low: float, high: float) -> float:
    """Return a finite number from ``low`` to ``high``."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:  # type: ignore[operator]  # NaN is in no range
        raise InvalidInputError(field, f"must be a number from {low:g} to {high:g}")
    return float(value)  # type: ignore[arg-type]


def flag(field: str, value: object) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise InvalidInputError(field, "must be true or false")
    return value


def slug(field: str, value: object) -> str:
    """Return a name of a chain or network function."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise InvalidInputError(field, NAME_WORDS)
    return value


def type_slug(field: str, value: object) -> str:
    """Return a catalogue slug; underscores are allowed, as in ``load_balancer``."""
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", value):
        raise InvalidInputError(field, "must be 1 to 63 small letters, digits, hyphens and underscores")
    return value


def device_name(field: str, value: object) -> str:
    """Return a server's name."""
    if not isinstance(value, str) or not DEVICE_NAME.fullmatch(value):
        raise InvalidInputError(
            field, "must be the name of a device: letters, digits, dots, hyphens, underscores"
        )
    return value


def text_of(field: str, value: object, length: int) -> str:
    """Return text of at most ``length`` characters."""
    if not isinstance(value, str) or len(value) > length or _UNSTORABLE.search(value):
        raise InvalidInputError(field, f"must be text of at most {length} characters without NUL")
    return value


def choice_of(field: str, value: object, choices: tuple[str, ...]) -> str:
    """Return one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise InvalidInputError(field, f"must be one of {', '.join(choices)}")
    return value


@dataclass(frozen=True, slots=True)
class KnownType:
    """What the catalogue knows of a type of network function; ``implementation`` is empty when it cannot be run."""

    profile: ActionProfile
    service: ServiceTime
    implementation: str = ""


def chain_of(definition: Definition, types: Mapping[str, KnownType]) -> Chain:
    """Return the chain that the engine takes.

    Raises:
        InvalidInputError: a network function is of a type that the catalogue does not know.
    """
    nfs = []
    for index, nf in enumerate(definition["nfs"]):
        known = types.get(nf["type"])
        if known is None:
            choices = ", ".join(sorted(types)) or "none yet"
            raise InvalidInputError(f"nfs[{index}].type", f"must be in the catalogue, which has {choices}")
        service = ServiceTime(**nf["service"]) if "service" in nf else known.service
        nfs.append(
            NfInstance(
                name=nf["name"],
                type=nf["type"],
                profile=known.profile,
                service=service,
                params=nf["params"],
                pinned_server=nf["pinned_server"],
                is_state_advisory=nf["is_state_advisory"],
            )
        )
    slo = definition["slo_p99_ms"]
    return Chain(
        name=definition["name"],
        nfs=tuple(nfs),
        rate_pps=definition["rate_pps"],
        packet_bytes=definition["packet_bytes"],
        slo_p99_us=None if slo is None else slo * 1000,
    )


def settings_check(field: str, implementation: str, params: Mapping[str, Any]) -> None:
    """Refuse settings that an implementation refuses; foreign programs themselves are asked on the server they run on.

    Raises:
        InvalidInputError: naming the field below ``field`` and the limit.
    """
    try:
        if implementation in MAKERS:
            make_nf(implementation, params)
        elif implementation in FOREIGN:
            foreign_check(implementation, params)
    except InvalidInputError as error:
        raise InvalidInputError(f"{field}.{error.field}", error.limit) from error
