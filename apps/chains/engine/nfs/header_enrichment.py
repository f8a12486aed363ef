"""Header enrichment: marks flows with a differentiated services code point (DSCP).

Parameters: ``rules``: list of ``{dscp, src, dst, proto, src_port, dst_port}``, the first that matches decides;
``default``: code point of all others, absent to leave them as they are. Congestion bits (ECN) are kept (RFC 2474, RFC
3168).
"""

from collections import Counter
from collections.abc import Mapping

from apps.chains.engine.fields import Field
from apps.chains.engine.nfs.flow_match import MATCH_FIELDS, FlowMatch, read_match
from apps.chains.engine.nfs.network_function import State
from apps.chains.engine.nfs.settings import Settings
from apps.chains.engine.packet import Packet

RULES_MAX = 1024


class HeaderEnrichment:
    """See the module. Attributes: ``counters``: ``marked, other``. Complexity: O(rules)."""

    def __init__(self, params: Mapping[str, object]) -> None:
        settings = Settings(params, "params", ("rules", "default"))
        self.rules: tuple[tuple[FlowMatch, int], ...] = tuple(
            (read_match(item), item.integer("dscp", 0, 63))
            for item in settings.objects("rules", RULES_MAX, ("dscp", *MATCH_FIELDS))
        )
        self.default = settings.integer("default", 0, 63) if "default" in params else None
        self.counters: Counter[str] = Counter()
        self.wait_us = 0

    def process(self, packet: Packet, at_us: int) -> bool:
        """Mark the packet."""
        dscp = self._dscp(packet) if packet.ip_version else None
        if dscp is None:
            self.counters["other"] += 1
            return True
        tos = packet.get(Field.IP_TOS)
        assert isinstance(tos, int)
        packet.set(Field.IP_TOS, dscp << 2 | tos & 3)
        self.counters["marked"] += 1
        return True

    def _dscp(self, packet: Packet) -> int | None:
        key, has_ports = packet.flow_key(), packet.has_ports
        for match, dscp in self.rules:
            if match.has(packet.ip_version, key, has_ports):
                return dscp
        return self.default

    def state(self) -> State:
        """Return nothing: there is none."""
        return {}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from nothing."""
        Settings(state, "state", ())
