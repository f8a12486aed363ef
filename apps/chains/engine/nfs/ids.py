"""Signature detection, passive (IDS) and active (IPS): literal patterns in payloads, also across two packets of a flow.

Parameters: ``signatures``: list of ``{name, pattern | pattern_hex, proto, dst_port}``; ``flows_max`` (16384). Per flow
and direction the end of the previous payload is kept, as long as the longest pattern less one byte, so a pattern that
is split between packets in order is found. The IPS drops the packet that completes a pattern and all later ones of
the flow in that direction.

Deviation: no reassembly by sequence numbers; a retransmission between the halves hides a split pattern.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from apps.chains.engine.nfs.network_function import FlowTable, State
from apps.chains.engine.nfs.settings import PortSet, Settings, flow_key, rows
from apps.chains.engine.packet import Packet

SIGNATURES_MAX = 1024
PATTERN_BYTES_MAX = 128
FLOWS_MAX = 16_384
# So many single searches cost about as much as one pass with an expression of all patterns.
_SINGLE_SEARCHES_MAX = 12


@dataclass(frozen=True, slots=True)
class Signature:
    """One pattern and where it counts."""

    name: str
    pattern: bytes
    proto: int | None
    dst_port: PortSet


def read_signatures(params: Settings) -> tuple[Signature, ...]:
    """Return the signatures of the parameters; names are unique."""
    known = ("name", "pattern", "pattern_hex", "proto", "dst_port")
    found: list[Signature] = []
    for item in params.objects("signatures", SIGNATURES_MAX, known):
        name = item.text("name", 64)
        if any(name == other.name for other in found):
            item.refuse("name", "must be unique")
        found.append(Signature(name, _read_pattern(item), item.protocol("proto"), item.ports("dst_port")))
    return tuple(found)


def _read_pattern(item: Settings) -> bytes:
    if ("pattern" in item.values) == ("pattern_hex" in item.values):
        item.refuse("pattern", "must be given, or pattern_hex, but not both")
    if "pattern" in item.values:
        pattern = item.text("pattern", PATTERN_BYTES_MAX).encode()
    else:
        try:
            pattern = bytes.fromhex(item.text("pattern_hex", 2 * PATTERN_BYTES_MAX))
        except ValueError:
            item.refuse("pattern_hex", "must be hexadecimal digits, two per byte")
    if not 1 <= len(pattern) <= PATTERN_BYTES_MAX:
        item.refuse("pattern", f"must be 1 to {PATTERN_BYTES_MAX} bytes")
    return pattern


class _Flow:
    """What is known of one direction of a flow: the end of its payload so far, and signatures found in it."""

    __slots__ = ("alerts", "is_blocked", "tail")

    def __init__(self) -> None:
        self.tail = b""
        self.alerts: list[int] = []
        self.is_blocked = False


class SignatureDetector:
    """See the module.

    Args:
        is_blocking: whether it is an IPS.

    Attributes:
        counters: ``packets, alerts, blocked``; also per signature ``alert:<name>``.
    """

    def __init__(self, params: Mapping[str, object], *, is_blocking: bool = False) -> None:
        settings = Settings(params, "params", ("signatures", "flows_max"))
        self.signatures = read_signatures(settings)
        self.is_blocking = is_blocking
        self.counters: Counter[str] = Counter()
        self.wait_us = 0
        self._flows: FlowTable[_Flow] = FlowTable(settings.integer("flows_max", 1, 1 << 20, FLOWS_MAX))
        patterns = sorted({signature.pattern for signature in self.signatures}, key=len)
        self._tail_bytes = max((len(pattern) for pattern in patterns), default=1) - 1
        self._any = (
            re.compile(b"|".join(map(re.escape, patterns))) if len(patterns) > _SINGLE_SEARCHES_MAX else None
        )

    def process(self, packet: Packet, at_us: int) -> bool:
        """Search the payload; an IPS drops what it recognises."""
        key = packet.flow_key()
        if not key:
            return True
        self.counters["packets"] += 1
        flow = self._flows.touch(key)
        if flow is None:
            flow = _Flow()
            self._flows.put(key, flow)
        if flow.is_blocked:
            self.counters["blocked"] += 1
            return False
        payload = bytes(packet.data[packet.payload : packet.end])
        text = flow.tail + payload
        found = self._search(text, len(flow.tail), packet, key)
        if self._tail_bytes:
            flow.tail = text[-self._tail_bytes :]
        if not found:
            return True
        self._alert(flow, found)
        if self.is_blocking:
            flow.is_blocked = True
            self.counters["blocked"] += 1
            return False
        return True

    def _search(self, text: bytes, old: int, packet: Packet, key: bytes) -> list[int]:
        """Return the signatures whose pattern ends behind the first ``old`` bytes."""
        if self._any is not None and self._any.search(text) is None:
            return []
        port = int.from_bytes(key[-3:-1], "big") if packet.has_ports else None
        return [
            index
            for index, signature in enumerate(self.signatures)
            if text.find(signature.pattern, max(old - len(signature.pattern) + 1, 0)) >= 0
            and (signature.proto is None or signature.proto == key[-1])
            and signature.dst_port.has(port)
        ]

    def _alert(self, flow: _Flow, found: list[int]) -> None:
        for index in found:
            self.counters["alerts"] += 1
            self.counters["alert:" + self.signatures[index].name] += 1
            if index not in flow.alerts:
                flow.alerts.append(index)

    def state(self) -> State:
        """Return flows, the one seen last at the end: key, end of payload, names found (in order), whether blocked."""
        return {
            "flows": [
                [
                    key.hex(),
                    flow.tail.hex(),
                    [self.signatures[index].name for index in flow.alerts],
                    flow.is_blocked,
                ]
                for key, flow in self._flows.items()
            ]
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from ``state``."""
        settings = Settings(state, "state", ("flows",))
        indexes = {signature.name: index for index, signature in enumerate(self.signatures)}
        flows: list[tuple[bytes, _Flow]] = []
        for key, tail, alerts, is_blocked in rows(settings, "flows", self._flows.size_max, 4):
            flow = _Flow()
            try:
                flow.tail = bytes.fromhex(str(tail))
            except ValueError:
                settings.refuse("flows", "must hold the end of the payload in hexadecimal")
            if not isinstance(alerts, list) or not all(name in indexes for name in alerts):
                settings.refuse("flows", "must name signatures of the parameters")
            flow.alerts = [indexes[name] for name in alerts]
            flow.is_blocked = bool(is_blocked)
            flows.append((flow_key(settings, "flows", key), flow))
        self._flows.clear()
        for one, flow in flows:
            self._flows.put(one, flow)
