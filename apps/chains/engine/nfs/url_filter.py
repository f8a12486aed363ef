"""URL filter: drops requests to blocked hosts and paths, by HTTP request or by the server name in a TLS greeting.

Parameters: ``blocked``: list of texts: ``example.com`` (with all below it), ``example.com/private`` (paths that begin
so; HTTP only); ``flows_max`` (16384). The packet with the request and all later ones of the flow in that direction
are dropped. Requests are recognised in the first packet that carries them; one that is split over packets passes.

Source: RFC 9112 section 3, RFC 8446 section 4.1.2, RFC 6066 section 3.
"""

from collections import Counter
from collections.abc import Mapping

from apps.chains.engine.nfs.network_function import FlowTable, State
from apps.chains.engine.nfs.settings import Settings, flow_keys
from apps.chains.engine.packet import Packet

BLOCKED_MAX = 65_536
FLOWS_MAX = 16_384
_METHODS = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ")


def http_target(payload: bytes) -> tuple[str, str] | None:
    """Return host and path of an HTTP request at the start of a payload, ``None`` when there is none.

    >>> http_target(b"GET /a?b HTTP/1.1\\r\\nHost: Example.com:80\\r\\n\\r\\n")
    ('example.com', '/a?b')
    """
    if not payload.startswith(_METHODS):
        return None
    head = payload.partition(b"\r\n\r\n")[0].split(b"\r\n")
    words = head[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/"):
        return None
    host, path = b"", words[1]
    if path.lower().startswith(b"http://"):
        host, _, path = path[7:].partition(b"/")
        path = b"/" + path
    elif words[0] == b"CONNECT":
        host, path = path, b"/"
    for line in head[1:]:
        if not host and line[:5].lower() == b"host:":
            host = line[5:].strip()
    return (_host_name(host), path.decode("latin-1")) if host else None


def _host_name(host: bytes) -> str:
    name = host.decode("latin-1").lower()
    if not name.startswith("["):
        name = name.partition(":")[0]
    return name.rstrip(".")


def tls_server_name(payload: bytes) -> str | None:
    """Return the server name of a TLS ClientHello at the start of a payload, ``None`` when there is none."""
    if len(payload) < 44 or payload[0] != 22 or payload[5] != 1:
        return None
    at = 43
    at += 1 + payload[at]
    at += 2 + int.from_bytes(payload[at : at + 2], "big")
    at += 1 + (payload[at] if at < len(payload) else 0)
    end = min(at + 2 + int.from_bytes(payload[at : at + 2], "big"), len(payload))
    at += 2
    while at + 4 <= end:
        kind = int.from_bytes(payload[at : at + 2], "big")
        size = int.from_bytes(payload[at + 2 : at + 4], "big")
        at += 4
        if kind == 0 and size >= 5 and at + size <= end and payload[at + 2] == 0:
            length = int.from_bytes(payload[at + 3 : at + 5], "big")
            return _host_name(payload[at + 5 : min(at + 5 + length, at + size)]) or None
        at += size
    return None


class UrlFilter:
    """See the module. Attributes: ``counters``: ``passed, blocked``."""

    def __init__(self, params: Mapping[str, object]) -> None:
        settings = Settings(params, "params", ("blocked", "flows_max"))
        self._hosts: set[str] = set()
        self._paths: dict[str, list[str]] = {}
        for item in settings.items("blocked", BLOCKED_MAX):
            if not isinstance(item, str) or not 1 <= len(item) <= 512 or item.startswith("/"):
                settings.refuse("blocked", "must hold hosts such as example.com, or example.com/path")
            host, slash, path = item.partition("/")
            host = host.lower().removeprefix("*.").rstrip(".")
            if slash and path:
                self._paths.setdefault(host, []).append("/" + path)
            else:
                self._hosts.add(host)
        self.counters: Counter[str] = Counter()
        self.wait_us = 0
        self._flows: FlowTable[bool] = FlowTable(settings.integer("flows_max", 1, 1 << 20, FLOWS_MAX))

    def process(self, packet: Packet, at_us: int) -> bool:
        """Drop blocked flows from the request on."""
        key = packet.flow_key()
        is_passing = not (key and (self._flows.touch(key) or self._is_blocked(packet, key)))
        self.counters["passed" if is_passing else "blocked"] += 1
        return is_passing

    def _is_blocked(self, packet: Packet, key: bytes) -> bool:
        if not packet.has_ports or packet.payload == packet.end:
            return False
        payload = bytes(packet.data[packet.payload : packet.end])
        target = http_target(payload)
        if target is None:
            name = tls_server_name(payload)
            target = (name, "") if name else None
        if target is None or not self.is_refused(*target):
            return False
        self._flows.put(key, True)
        return True

    def is_refused(self, host: str, path: str) -> bool:
        """Whether a host, one above it, or a path on either is blocked."""
        name = host
        while name:
            if name in self._hosts or any(path.startswith(start) for start in self._paths.get(name, ())):
                return True
            name = name.partition(".")[2]
        return False

    def state(self) -> State:
        """Return the blocked flows, the one seen last at the end."""
        return {"blocked": [key.hex() for key in self._flows]}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from ``state``."""
        keys = flow_keys(Settings(state, "state", ("blocked",)), "blocked", self._flows.size_max)
        self._flows.clear()
        for key in keys:
            self._flows.put(key, True)
