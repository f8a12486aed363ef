"""Firewall: ordered rules over the five-tuple, and a table of allowed flows whose replies pass.

Parameters: ``rules``: list of ``{action: allow|deny, src, dst, proto, src_port, dst_port}``, the first that matches
decides; ``default``: allow or deny (deny); ``is_stateful`` (true); ``flows_max`` (65536). Packets that are not IP pass:
filtering them is the switch's task.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from apps.chains.engine.nfs.flow_match import MATCH_FIELDS, FlowMatch, read_match
from apps.chains.engine.nfs.network_function import FLOWS_MAX, FlowTable, State, reverse_key
from apps.chains.engine.nfs.settings import Settings, flow_keys
from apps.chains.engine.packet import Packet

RULES_MAX = 4096
_VERDICTS_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what it matches and what then happens."""

    match: FlowMatch
    is_allowing: bool


class Firewall:
    """See the module. Attributes: ``counters``: ``passed, denied``. Complexity: O(1) for known flows, else O(rules)."""

    def __init__(self, params: Mapping[str, object]) -> None:
        settings = Settings(params, "params", ("rules", "default", "is_stateful", "flows_max"))
        self.rules = tuple(
            Rule(read_match(item), item.choice("action", ("allow", "deny"), "allow") == "allow")
            for item in settings.objects("rules", RULES_MAX, ("action", *MATCH_FIELDS))
        )
        self.is_allowing = settings.choice("default", ("allow", "deny"), "deny") == "allow"
        self.is_stateful = settings.flag("is_stateful", True)
        self.counters: Counter[str] = Counter()
        self.wait_us = 0
        self._flows: FlowTable[bool] = FlowTable(settings.integer("flows_max", 1, 1 << 20, FLOWS_MAX))
        # What the rules say is a function of the key: remembering it is no state.
        self._verdicts: dict[tuple[bytes, bool], bool] = {}

    def process(self, packet: Packet, at_us: int) -> bool:
        """Pass or drop."""
        key = packet.flow_key()
        is_passing = not key or self._is_passing(packet, key)
        self.counters["passed" if is_passing else "denied"] += 1
        return is_passing

    def _is_passing(self, packet: Packet, key: bytes) -> bool:
        if self.is_stateful:
            if self._flows.touch(key):
                return True
            back = reverse_key(key)
            if self._flows.touch(back):
                return True
        has_ports = packet.has_ports
        verdict = self._verdicts.get((key, has_ports))
        if verdict is None:
            verdict = self._judge(packet.ip_version, key, has_ports)
            if len(self._verdicts) >= _VERDICTS_MAX:
                self._verdicts.clear()
            self._verdicts[key, has_ports] = verdict
        if verdict and self.is_stateful:
            self._flows.put(key, True)
        return verdict

    def _judge(self, version: int, key: bytes, has_ports: bool) -> bool:
        for rule in self.rules:
            if rule.match.has(version, key, has_ports):
                return rule.is_allowing
        return self.is_allowing

    def state(self) -> State:
        """Return the allowed flows, the one used last at the end."""
        return {"flows": [key.hex() for key in self._flows]}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from ``state``."""
        keys = flow_keys(Settings(state, "state", ("flows",)), "flows", self._flows.size_max)
        self._flows.clear()
        for key in keys:
            self._flows.put(key, True)
