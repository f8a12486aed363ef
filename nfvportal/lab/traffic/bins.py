"""Bytes in bins of time, and what latencies and sequence numbers tell. Pure: times are arguments."""

from collections.abc import Sequence
from dataclasses import dataclass, field

BIN_S = 0.01
MAX_LATENCIES = 10_000


@dataclass(slots=True)
class ByteBins:
    """Counts bytes per bin of ``BIN_S`` seconds. Not thread-safe; its owner locks.

    Bins are named by their number since the epoch, so that bins of different receivers line up.

    >>> bins = ByteBins()
    >>> bins.add(100.001, 10); bins.add(100.009, 5); bins.add(100.02, 1)
    >>> bins.take(100.03)
    [(100.0, 15), (100.02, 1)]
    """

    _open: dict[int, int] = field(default_factory=dict)
    _taken_up_to: int = 0

    def add(self, at_s: float, size_bytes: int) -> None:
        """Count bytes that arrived at ``at_s`` (epoch seconds). Complexity: O(1)."""
        number = int(at_s / BIN_S + 1e-6)
        self._open[number] = self._open.get(number, 0) + size_bytes

    def take(self, now_s: float) -> list[tuple[float, int]]:
        """Return the bins that are over, ascending; the last one also when it is empty, as a sign of life."""
        last = int(now_s / BIN_S + 1e-6) - 1
        numbers = sorted(number for number in self._open if number <= last)
        taken = [(round(number * BIN_S, 2), self._open.pop(number)) for number in numbers]
        if last > self._taken_up_to and (not numbers or numbers[-1] != last):
            taken.append((round(last * BIN_S, 2), 0))
        self._taken_up_to = last
        return taken


@dataclass(slots=True)
class LatencyWindow:
    """Latencies of one window; beyond ``MAX_LATENCIES`` only the count grows."""

    count: int = 0
    _values_ms: list[float] = field(default_factory=list)

    def add(self, latency_ms: float) -> None:
        """Count one latency."""
        self.count += 1
        if len(self._values_ms) < MAX_LATENCIES:
            self._values_ms.append(latency_ms)

    def percentiles_ms(self, shares: Sequence[float]) -> list[float | None]:
        """Return the latency that each share (0..1) does not exceed (nearest rank); ``None`` without values."""
        values = sorted(self._values_ms)
        if not values:
            return [None for _ in shares]
        return [round(values[min(len(values) - 1, max(0, int(share * len(values))))], 3) for share in shares]


@dataclass(slots=True)
class SequenceWindow:
    """Counts datagrams that did not arrive, from their sequence numbers; late ones make up for their loss."""

    received_count: int = 0
    _first: int | None = None
    _highest: int = -1

    def add(self, sequence: int) -> None:
        """Count an arrived number."""
        if self._first is None or sequence < self._first:
            self._first = sequence
        self._highest = max(self._highest, sequence)
        self.received_count += 1

    @property
    def lost_count(self) -> int:
        """Return how many numbers between the first and the highest are missing."""
        if self._first is None:
            return 0
        return max(0, self._highest - self._first + 1 - self.received_count)
