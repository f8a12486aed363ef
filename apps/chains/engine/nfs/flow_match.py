"""What a rule over flows matches: prefixes, a protocol, ports."""

from dataclasses import dataclass

from apps.chains.engine.nfs.settings import PortSet, Prefix, Settings

MATCH_FIELDS = ("src", "dst", "proto", "src_port", "dst_port")


@dataclass(frozen=True, slots=True)
class FlowMatch:
    """A set of flows; ``None`` and empty mean any."""

    src: Prefix | None
    dst: Prefix | None
    proto: int | None
    src_port: PortSet
    dst_port: PortSet

    def has(self, version: int, key: bytes, has_ports: bool) -> bool:
        """Whether a flow lies inside.

        Args:
            version: IP version; ``key``: see ``Packet.flow_key``.
            has_ports: whether the ports in the key are real; without, only rules for any port match.
        """
        size = (len(key) - 5) // 2
        if self.proto is not None and key[-1] != self.proto:
            return False
        if self.src is not None and not self.src.has(version, int.from_bytes(key[:size], "big")):
            return False
        if self.dst is not None and not self.dst.has(version, int.from_bytes(key[size : 2 * size], "big")):
            return False
        src_port = int.from_bytes(key[-5:-3], "big") if has_ports else None
        dst_port = int.from_bytes(key[-3:-1], "big") if has_ports else None
        return self.src_port.has(src_port) and self.dst_port.has(dst_port)


def read_match(item: Settings) -> FlowMatch:
    """Return the match in an object with the fields ``MATCH_FIELDS``."""
    return FlowMatch(
        item.prefix("src"),
        item.prefix("dst"),
        item.protocol("proto"),
        item.ports("src_port"),
        item.ports("dst_port"),
    )
