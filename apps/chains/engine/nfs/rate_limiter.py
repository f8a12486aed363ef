"""Rate limiter: a token bucket over all packets; what finds too few tokens is dropped, nothing is delayed.

Parameters: ``rate_bps`` (1 kbit/s to 1 Tbit/s), ``burst_bytes`` (64 to 2^30; 100 kB). Sizes are IP lengths. The bucket
is counted in millionths of a bit, so that whole microseconds give whole numbers and two runs never differ by rounding.
"""

from collections import Counter
from collections.abc import Mapping

from apps.chains.engine.nfs.network_function import State
from apps.chains.engine.nfs.settings import Settings
from apps.chains.engine.packet import Packet

_PER_BYTE = 8 * 1_000_000


class RateLimiter:
    """See the module. Attributes: ``counters``: ``passed, dropped``. Complexity: O(1)."""

    def __init__(self, params: Mapping[str, object]) -> None:
        settings = Settings(params, "params", ("rate_bps", "burst_bytes"))
        self.rate_bps = settings.integer("rate_bps", 1_000, 10**12)
        self._full = settings.integer("burst_bytes", 64, 1 << 30, 100_000) * _PER_BYTE
        self.counters: Counter[str] = Counter()
        self.wait_us = 0
        self._tokens = self._full
        self._at_us = 0

    def process(self, packet: Packet, at_us: int) -> bool:
        """Pass while there are tokens; what is not IP passes for nothing."""
        if packet.ip_version == 0:
            return True
        if at_us > self._at_us:
            self._tokens = min(self._full, self._tokens + (at_us - self._at_us) * self.rate_bps)
            self._at_us = at_us
        cost = packet.ip_bytes * _PER_BYTE
        if cost > self._tokens:
            self.counters["dropped"] += 1
            return False
        self._tokens -= cost
        self.counters["passed"] += 1
        return True

    def state(self) -> State:
        """Return the tokens, and when they were counted."""
        return {"tokens": self._tokens, "at_us": self._at_us}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from ``state``."""
        settings = Settings(state, "state", ("tokens", "at_us"))
        tokens = settings.integer("tokens", 0, self._full)
        self._at_us = settings.integer("at_us", 0, 1 << 62)
        self._tokens = tokens
