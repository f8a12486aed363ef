"""Waiter: a test function that stands for one that waits for a disk, a peer or an accelerator.

Parameters: ``wait_us`` (1000), 0..1 000 000. ``process`` does nothing: whoever runs it waits ``wait_us`` per packet.
"""

from collections import Counter
from collections.abc import Mapping

from apps.chains.engine.nfs.network_function import State
from apps.chains.engine.nfs.settings import Settings
from apps.chains.engine.packet import Packet


class Waiter:
    """See the module. Attributes: ``counters``: ``packets``."""

    def __init__(self, params: Mapping[str, object]) -> None:
        self.wait_us = Settings(params, "params", ("wait_us",)).integer("wait_us", 0, 1_000_000, 1000)
        self.counters: Counter[str] = Counter()

    def process(self, packet: Packet, at_us: int) -> bool:
        """Count the packet."""
        self.counters["packets"] += 1
        return True

    def state(self) -> State:
        """Return nothing: there is none."""
        return {}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from nothing."""
        Settings(state, "state", ())
