"""Monitor in the manner of NetFlow: packets, bytes, first and last time per flow. Passive.

Parameters: ``flows_max`` (65536): the flow not seen for the longest is exported (counted, then forgotten). Bytes are
IP lengths as headers tell them, so copies without payload count right.
"""

from collections import Counter
from collections.abc import Mapping

from apps.chains.engine.nfs.network_function import FLOWS_MAX, FlowTable, State
from apps.chains.engine.nfs.settings import Settings, flow_key, rows, whole
from apps.chains.engine.packet import Packet


class Monitor:
    """See the module. Attributes: ``counters``: ``packets, bytes``."""

    def __init__(self, params: Mapping[str, object]) -> None:
        settings = Settings(params, "params", ("flows_max",))
        self.counters: Counter[str] = Counter()
        self.wait_us = 0
        self._exported = 0
        # Per flow: packets, bytes, first and last microsecond.
        self._flows: FlowTable[list[int]] = FlowTable(settings.integer("flows_max", 1, 1 << 20, FLOWS_MAX))

    def process(self, packet: Packet, at_us: int) -> bool:
        """Account for the packet."""
        key = packet.flow_key()
        if not key:
            return True
        size = packet.ip_bytes
        flow = self._flows.touch(key)
        if flow is None:
            if self._flows.put(key, [1, size, at_us, at_us]) is not None:
                self._exported += 1
        else:
            flow[0] += 1
            flow[1] += size
            flow[3] = at_us
        self.counters["packets"] += 1
        self.counters["bytes"] += size
        return True

    def state(self) -> State:
        """Return the flows, the one seen last at the end: key, packets, bytes, first and last microsecond."""
        return {
            "flows": [[key.hex(), *flow] for key, flow in self._flows.items()],
            "exported": self._exported,
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from ``state``."""
        settings = Settings(state, "state", ("flows", "exported"))
        exported = settings.integer("exported", 0, 1 << 62)
        flows = [
            (
                flow_key(settings, "flows", key),
                [whole(settings, "flows", value) for value in values],
            )
            for key, *values in rows(settings, "flows", self._flows.size_max, 5)
        ]
        self._exported = exported
        self._flows.clear()
        for key, values in flows:
            self._flows.put(key, values)
