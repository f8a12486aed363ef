"""Source NAT of TCP and UDP over IPv4: inside addresses share one public address, told apart by port.

Parameters: ``inside``: prefix of the inside; ``public``: address outside of it; ``port_low``, ``port_high`` (1024,
65535): the pool. A mapping belongs to an inside address, port and protocol, whatever the destination
(endpoint-independent, RFC 4787 REQ-1). Ports are handed out in order; when all are taken, the mapping unused for the
longest gives its port. Nothing is dropped: what has no mapping passes as it is, as do ICMP, later fragments (no
ports) and IPv6.

Deviation from RFC 4787: no timers (REQ-5), since state may depend on packets alone; a mapping ends when its port is
needed. Ports keep neither parity nor range (REQ-4 and its kin are recommendations).
"""

from collections import Counter
from collections.abc import Mapping

from apps.chains.engine.fields import Field
from apps.chains.engine.nfs.network_function import FlowTable, State
from apps.chains.engine.nfs.settings import Settings, rows, whole
from apps.chains.engine.packet import Packet

_KEY_BYTES = 7


class Nat:
    """See the module. Attributes: ``counters``: ``outbound, inbound, other, recycled``. Complexity: O(1)."""

    def __init__(self, params: Mapping[str, object]) -> None:
        settings = Settings(params, "params", ("inside", "public", "port_low", "port_high"))
        inside = settings.prefix("inside")
        if inside is None or inside.version != 4:
            settings.refuse("inside", "must be an IPv4 prefix such as 10.0.0.0/8")
        version, self.public = settings.address("public")
        self._public_value = int.from_bytes(self.public, "big")
        if version != 4 or inside.has(4, self._public_value):
            settings.refuse("public", "must be an IPv4 address outside of the inside prefix")
        self.inside = inside
        self.port_low = settings.integer("port_low", 1, 65535, 1024)
        self.port_high = settings.integer("port_high", self.port_low, 65535, 65535)
        self.counters: Counter[str] = Counter()
        self.wait_us = 0
        # Inside address, port and protocol to public port, and back.
        self._ports: FlowTable[int] = FlowTable(self.port_high - self.port_low + 1)
        self._keys: dict[int, bytes] = {}

    def process(self, packet: Packet, at_us: int) -> bool:
        """Rewrite source address and port outwards, destination address and port inwards."""
        if packet.ip_version != 4 or not packet.has_ports:
            self.counters["other"] += 1
            return True
        key = packet.flow_key()
        inside = self.inside
        is_src_inside = inside.has(4, int.from_bytes(key[:4], "big"))
        if is_src_inside and not inside.has(4, int.from_bytes(key[4:8], "big")):
            port = self._port(key[:4] + key[8:10] + key[12:])
            packet.set(Field.IP_SRC, self._public_value)
            packet.set(Field.SRC_PORT, port)
            self.counters["outbound"] += 1
        elif key[4:8] == self.public and self._is_inbound(key):
            owner = self._keys[int.from_bytes(key[10:12], "big")]
            packet.set(Field.IP_DST, int.from_bytes(owner[:4], "big"))
            packet.set(Field.DST_PORT, int.from_bytes(owner[4:6], "big"))
            self.counters["inbound"] += 1
        else:
            self.counters["other"] += 1
        return True

    def _port(self, owner: bytes) -> int:
        """Return the public port of an inside endpoint, handing one out if need be."""
        port = self._ports.touch(owner)
        if port is None:
            if len(self._ports) < self._ports.size_max:
                # Mappings end only by handing their port on, so ports so far are the lowest ones.
                port = self.port_low + len(self._ports)
            else:
                _, port = self._ports.popitem(last=False)
                self.counters["recycled"] += 1
            self._ports.put(owner, port)
            self._keys[port] = owner
        return port

    def _is_inbound(self, key: bytes) -> bool:
        owner = self._keys.get(int.from_bytes(key[10:12], "big"))
        if owner is None or owner[-1] != key[12]:
            return False
        self._ports.move_to_end(owner)
        return True

    def state(self) -> State:
        """Return the mappings, the one used last at the end: inside address, port and protocol, public port."""
        return {"mappings": [[owner.hex(), port] for owner, port in self._ports.items()]}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from ``state``."""
        settings = Settings(state, "state", ("mappings",))
        mappings: dict[bytes, int] = {}
        for text, number in rows(settings, "mappings", self._ports.size_max, 2):
            port = whole(settings, "mappings", number)
            try:
                owner = bytes.fromhex(str(text))
            except ValueError:
                settings.refuse("mappings", "must hold inside endpoints in hexadecimal")
            if len(owner) != _KEY_BYTES:
                settings.refuse("mappings", f"must hold inside endpoints of {_KEY_BYTES} bytes")
            mappings[owner] = port
        pool = range(self.port_low, self.port_low + len(mappings))
        if sorted(mappings.values()) != list(pool):
            settings.refuse("mappings", "must use each of the pool's first ports once")
        self._ports.clear()
        self._keys.clear()
        for owner, port in mappings.items():
            self._ports.put(owner, port)
            self._keys[port] = owner
