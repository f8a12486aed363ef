"""Topologies: what the lab is asked to build, as values read from YAML."""

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from ipaddress import IPv4Interface, ip_interface, ip_network
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from nfvportal.lib.errors import InvalidInputError

TOPOLOGIES = Path(__file__).parent / "topologies"
NODES_MAX = 64
LINKS_MAX = 128
FILE_MAX_BYTES = 262_144
# 15 bytes is the kernel's limit of an interface's name.
NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,31}")
INTERFACE_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,14}")
ROLE_PATTERN = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
# Words that ``ip`` would read as one of its own keywords.
INTERFACE_WORDS_TAKEN = frozenset(
    {"all", "default", "dev", "lo", "name", "peer", "type", "up", "down", "via", "group"}
)

MAC_PATTERN = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MTU_MIN, MTU_MAX = 1280, 9000
RELAY_MTU_MAX = 2030

NodeKind = Literal["host", "gateway", "bridge", "middlebox", "server"]
NODE_KINDS = ("host", "gateway", "bridge", "middlebox", "server")
# Through these, frames pass only by what their agents do: nothing is expected to pass when the lab comes up.
AGENT_KINDS = ("middlebox", "server")


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface of a node, with the addresses the lab gives it (``10.1.1.10/24``); ``mac`` empty for any."""

    name: str
    addresses: tuple[str, ...] = ()
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A static route of a node: ``to`` is a prefix or ``default``."""

    to: str
    via: str
    metric: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One network namespace. A bridge joins all its interfaces; a gateway forwards; see ``AGENT_KINDS``."""

    name: str
    kind: NodeKind
    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...] = ()
    roles: tuple[str, ...] = ()

    @property
    def address(self) -> str | None:
        """First address without its prefix length, if any."""
        for interface in self.interfaces:
            for address in interface.addresses:
                return address.split("/")[0]
        return None


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """The interface of a node that a link is plugged into."""

    node: str
    interface: str

    def __str__(self) -> str:
        return f"{self.node}/{self.interface}"


@dataclass(frozen=True, slots=True)
class LinkShape:
    """What an emulated link does to frames, the same in both directions.

    Args:
        rate_bps: frame bits per second, ``None`` for unlimited.
        delay_ms: one way, after the frame's last bit was sent.
        loss_ratio: 0..1, each frame by itself.
        queue_bytes: bytes that may wait in each direction, tail-drop.
    """

    rate_bps: int | None = None
    delay_ms: float = 0.0
    loss_ratio: float = 0.0
    queue_bytes: int = 65_536


@dataclass(frozen=True, slots=True)
class Link:
    """A link between two ends; ``shape`` is ``None`` for a plain wire, ``mtu`` for the kernel's default of 1500."""

    name: str
    a: LinkEnd
    b: LinkEnd
    shape: LinkShape | None = None
    mtu: int | None = None


@dataclass(frozen=True, slots=True)
class Topology:
    """Nodes and links, checked: every link ends at a declared interface and no interface has two links."""

    name: str
    title: str
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]

    def node(self, name: str) -> Node:
        """Return the node of that name.

        Raises:
            InvalidInputError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise InvalidInputError("node", f"must be one of {', '.join(node.name for node in self.nodes)}")

    def link(self, name: str) -> Link:
        """Return the link of that name.

        Raises:
            InvalidInputError: there is none.
        """
        for link in self.links:
            if link.name == name:
                return link
        raise InvalidInputError("link", f"must be one of {', '.join(link.name for link in self.links)}")

    def interface(self, end: LinkEnd) -> Interface:
        """Return the interface that a link of this topology is plugged into."""
        return next(
            interface for interface in self.node(end.node).interfaces if interface.name == end.interface
        )

    @property
    def host_pairs(self) -> tuple[tuple[Node, Node], ...]:
        """Every ordered pair of hosts that have an address and can reach each other without an agent's help."""
        parts = self._parts()
        hosts = [node for node in self.nodes if node.kind == "host" and node.address]
        return tuple(
            (source, target)
            for source in hosts
            for target in hosts
            if source is not target and parts[source.name] == parts[target.name]
        )

    def _parts(self) -> dict[str, str]:
        """Return, per node, a name that all nodes joined to it share when agents do nothing."""
        part = {node.name: node.name for node in self.nodes}
        passive = {node.name for node in self.nodes if node.kind not in AGENT_KINDS}
        for link in self.links:
            if link.a.node in passive and link.b.node in passive:
                kept, gone = part[link.a.node], part[link.b.node]
                part = {name: kept if value == gone else value for name, value in part.items()}
        return part


def list_topologies(directory: Path = TOPOLOGIES) -> list[str]:
    """Return the names of the topologies that come with the lab."""
    return sorted(path.stem for path in directory.glob("*.yml"))


def load_topology(name: str, directory: Path = TOPOLOGIES) -> Topology:
    """Read and check a topology by its name, by the path of a ``.yml`` file, or several joined by ``+``.

    >>> load_topology("pair+datacenter").name
    'pair+datacenter'

    Raises:
        InvalidInputError: no such topology, two of them share a name of a node or link, or a file breaks a rule;
            ``field`` says where.
    """
    if "+" not in name or name.endswith(".yml"):
        return _load_one(name, directory)
    parts = [_load_one(part, directory) for part in name.split("+")]
    nodes = tuple(node for part in parts for node in part.nodes)
    links = tuple(link for part in parts for link in part.links)
    for kind, names in (("nodes", [node.name for node in nodes]), ("links", [link.name for link in links])):
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InvalidInputError(
                kind, f"must have names of their own in each topology, not {', '.join(twice)}"
            )
    return Topology(name=name, title="; ".join(part.title for part in parts), nodes=nodes, links=links)


def _load_one(name: str, directory: Path) -> Topology:
    path = Path(name) if name.endswith(".yml") else directory / f"{name}.yml"
    if not name.endswith(".yml") and name not in list_topologies(directory):
        raise InvalidInputError(
            "topology", f"must be one of {', '.join(list_topologies(directory))}, or a .yml file"
        )
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError("topology", f"{path} must be a readable text file ({error})") from error
    return parse_topology(path.stem, text)


def parse_topology(name: str, text: str) -> Topology:
    """Check a topology's YAML text and return it as a value.

    Raises:
        InvalidInputError: the text breaks a rule; ``field`` is the dotted path, e.g. ``links.fiber.rate_bps``.
    """
    if len(text) > FILE_MAX_BYTES:
        raise InvalidInputError("", f"a topology file must be at most {FILE_MAX_BYTES} bytes")
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInputError("", f"must be YAML ({' '.join(str(error).split())})") from error
    top = _mapping(tree, "", {"title", "nodes", "links"}, required={"nodes", "links"})
    nodes = tuple(
        _node(key, value, f"nodes.{key}") for key, value in _named(top["nodes"], "nodes", NODES_MAX)
    )
    links = tuple(
        _link(key, value, f"links.{key}") for key, value in _named(top["links"], "links", LINKS_MAX)
    )
    _check_plugs(nodes, links)
    return Topology(name=name, title=_text(top.get("title", name), "title"), nodes=nodes, links=links)


def _node(name: str, value: object, field: str) -> Node:
    tree = _mapping(value, field, {"kind", "interfaces", "routes", "roles"}, required={"kind", "interfaces"})
    if tree["kind"] not in NODE_KINDS:
        raise InvalidInputError(f"{field}.kind", f"must be one of {', '.join(NODE_KINDS)}")
    interfaces = tuple(
        _interface(key, body, f"{field}.interfaces.{key}")
        for key, body in _named(tree["interfaces"], f"{field}.interfaces", 16, INTERFACE_PATTERN)
    )
    routes = tuple(
        _route(body, f"{field}.routes[{index}]")
        for index, body in enumerate(_items(tree.get("routes", []), f"{field}.routes"))
    )
    roles = tuple(
        _matching(role, ROLE_PATTERN, f"{field}.roles[{index}]")
        for index, role in enumerate(_items(tree.get("roles", []), f"{field}.roles"))
    )
    return Node(name, cast(NodeKind, tree["kind"]), interfaces, routes, roles)


def _interface(name: str, value: object, field: str) -> Interface:
    if name in INTERFACE_WORDS_TAKEN:
        raise InvalidInputError(field, "must not be a word that the ip command reads as its own")
    tree = _mapping({} if value is None else value, field, {"addresses", "mac"})
    addresses = []
    for index, address in enumerate(_items(tree.get("addresses", []), f"{field}.addresses")):
        addresses.append(str(_ipv4_interface(address, f"{field}.addresses[{index}]")))
    mac = _matching(tree["mac"], MAC_PATTERN, f"{field}.mac") if "mac" in tree else ""
    if mac and int(mac[:2], 16) & 1:
        raise InvalidInputError(f"{field}.mac", "must not be a group address")
    return Interface(name, tuple(addresses), mac)


def _ipv4_interface(value: object, field: str) -> IPv4Interface:
    try:
        address = ip_interface(_text(value, field))
    except ValueError:
        address = None
    if not isinstance(address, IPv4Interface) or "/" not in str(value):
        raise InvalidInputError(field, "must be an IPv4 address with its prefix length, e.g. 10.1.1.10/24")
    return address


def _route(value: object, field: str) -> Route:
    tree = _mapping(value, field, {"to", "via", "metric"}, required={"to", "via"})
    target = _text(tree["to"], f"{field}.to")
    if target != "default":
        try:
            target = str(ip_network(target))
        except ValueError as error:
            raise InvalidInputError(f"{field}.to", "must be default or a prefix, e.g. 10.2.0.0/24") from error
    via = str(_ipv4_interface(f"{tree['via']}/32", f"{field}.via").ip)
    metric = tree.get("metric")
    return Route(
        target, via, None if metric is None else int(_number(metric, f"{field}.metric", 0, 2**32 - 1))
    )


def _link(name: str, value: object, field: str) -> Link:
    shape_keys = {"rate_bps", "delay_ms", "loss_ratio", "queue_bytes"}
    tree = _mapping(value, field, {"a", "b", "mtu"} | shape_keys, required={"a", "b"})
    mtu = int(_number(tree["mtu"], f"{field}.mtu", MTU_MIN, MTU_MAX)) if "mtu" in tree else None
    shape = _shape(tree, field) if shape_keys & tree.keys() else None
    if shape and mtu and mtu > RELAY_MTU_MAX:
        raise InvalidInputError(f"{field}.mtu", f"must be at most {RELAY_MTU_MAX} on an emulated link")
    return Link(name, _link_end(tree["a"], f"{field}.a"), _link_end(tree["b"], f"{field}.b"), shape, mtu)


def _shape(tree: Mapping[str, Any], field: str) -> LinkShape:
    rate = tree.get("rate_bps")
    rate_bps = None if rate is None else int(_number(rate, f"{field}.rate_bps", 8_000, 10_000_000_000))
    delay_ms = _number(tree.get("delay_ms", 0), f"{field}.delay_ms", 0, 10_000)
    loss_ratio = _number(tree.get("loss_ratio", 0), f"{field}.loss_ratio", 0, 1)
    # 50 ms at line rate: what an access router commonly buffers, and never less than a burst of full frames.
    default = 65_536 if rate_bps is None else max(65_536, rate_bps // 8 // 20)
    queue_bytes = int(_number(tree.get("queue_bytes", default), f"{field}.queue_bytes", 2_000, 100_000_000))
    return LinkShape(rate_bps, delay_ms, loss_ratio, queue_bytes)


def _link_end(value: object, field: str) -> LinkEnd:
    node, separator, interface = _text(value, field).partition("/")
    if not separator:
        raise InvalidInputError(field, "must be node/interface, e.g. gw-a/wan-fiber")
    return LinkEnd(node, interface)


def _check_plugs(nodes: tuple[Node, ...], links: tuple[Link, ...]) -> None:
    """Every link end exists, and no interface holds two links."""
    known = {str(LinkEnd(node.name, interface.name)) for node in nodes for interface in node.interfaces}
    taken: dict[str, str] = {}
    for link in links:
        for side, end in (("a", link.a), ("b", link.b)):
            field = f"links.{link.name}.{side}"
            if str(end) not in known:
                raise InvalidInputError(field, f"{end} must be an interface of a declared node")
            if str(end) in taken:
                raise InvalidInputError(field, f"{end} already holds link {taken[str(end)]}")
            taken[str(end)] = link.name
    for end_name in sorted(known - taken.keys()):
        node_name, _, interface_name = end_name.partition("/")
        raise InvalidInputError(f"nodes.{node_name}.interfaces.{interface_name}", "must hold a link")


def _mapping(
    value: object, field: str, allowed: AbstractSet[str], required: AbstractSet[str] = frozenset()
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInputError(field, "must be a mapping")
    for key in value:
        if key not in allowed:
            raise InvalidInputError(
                f"{field}.{key}".lstrip("."), f"unknown; must be one of {', '.join(sorted(allowed))}"
            )
    for key in sorted(required - value.keys()):
        raise InvalidInputError(f"{field}.{key}".lstrip("."), "is required")
    return value


def _named(
    value: object, field: str, limit: int, pattern: re.Pattern[str] = NAME_PATTERN
) -> Iterator[tuple[str, object]]:
    if not isinstance(value, dict) or not value or len(value) > limit:
        raise InvalidInputError(field, f"must be a mapping of 1 to {limit} names")
    for key, body in value.items():
        yield _matching(key, pattern, f"{field}.{key}"), body


def _items(value: object, field: str) -> list[object]:
    if not isinstance(value, list) or len(value) > 64:
        raise InvalidInputError(field, "must be a list of at most 64 entries")
    return value


def _text(value: object, field: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise InvalidInputError(field, "must be text of 1 to 200 characters")
    return value


def _matching(value: object, pattern: re.Pattern[str], field: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidInputError(field, f"must match {pattern.pattern}")
    return value


def _number(value: object, field: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidInputError(field, f"must be a number between {low:g} and {high:g}")
    return float(value)
