"""What tests of foreign network functions need: the program, and a twin of ours that does the same."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from apps.chains.agent.foreign_space import tool
from apps.chains.engine.chain import NfInstance
from apps.chains.engine.foreign import FOREIGN
from apps.chains.engine.nfs.firewall import Firewall
from apps.chains.engine.nfs.network_function import NetworkFunction, State
from apps.chains.engine.nfs.registry import make_nf
from apps.chains.engine.packet import Packet


def missing_tool(name: str) -> str | None:
    """Return which program is not installed, ``None`` if it is."""
    try:
        tool(name)
    except FileNotFoundError as error:
        return str(error)
    return None


# Addresses alone: of ports in odd packets nft and our firewall have opinions of their own.
ADDRESS_RULES: Final = """
table bridge filter {
  counter six { }
  chain forward {
    type filter hook forward priority 0; policy accept;
    ip daddr 192.168.0.3 counter drop comment "server"
    ip saddr 10.1.0.0/18 ip protocol udp counter drop comment "clients"
    ip6 daddr 2001:db8::c0a8:4 counter name six drop
  }
}
"""
ADDRESS_TWIN: Final[dict[str, object]] = {
    "default": "allow",
    "is_stateful": False,
    "rules": [
        {"action": "deny", "dst": "192.168.0.3"},
        {"action": "deny", "src": "10.1.0.0/18", "proto": "udp"},
        {"action": "deny", "dst": "2001:db8::c0a8:4"},
    ],
}
_TWINS: Final = {ADDRESS_RULES: ADDRESS_TWIN}


class BridgedTwin:
    """Our firewall behind what a Linux bridge does to frames."""

    def __init__(self, params: Mapping[str, object]) -> None:
        self.counters: Counter[str] = Counter()
        self.wait_us = 0
        self._firewall = Firewall(params)

    def process(self, packet: Packet, at_us: int) -> bool:
        """Pass or drop."""
        source = bytes(packet.data[6:12])
        if source[0] & 1 or source == bytes(6):
            return False
        return self._firewall.process(packet, at_us)

    def state(self) -> State:
        """Return that there is none."""
        return {}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on as before."""


def make_twin(nf: NfInstance) -> NetworkFunction:
    """Return a network function of ours: of a foreign one, the twin of its rules."""
    if nf.type not in FOREIGN:
        return make_nf(nf.type, nf.params)
    return BridgedTwin(_TWINS[str(nf.params["ruleset"])])
