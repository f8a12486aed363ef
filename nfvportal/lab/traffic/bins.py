"""Bytes in bins of time, and what latencies and sequence numbers tell. Pure: times are arguments."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

BIN_S = 0.01
MAX_LATENCIES = 10_000
ROUNDING = 1e-9  # 0.07 * 100 is a little more than 7


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
        """Return the latency that each share (0..1) does not exceed (nearest rank); ``None`` without values.

        >>> window = LatencyWindow()
        >>> for latency_ms in (4.0, 1.0, 3.0, 2.0):
        ...     window.add(latency_ms)
        >>> window.percentiles_ms((0.5, 0.99))
        [2.0, 4.0]
        """
        values = sorted(self._values_ms)
        if not values:
            return [None for _ in shares]
        ranks = (math.ceil(share * len(values) - ROUNDING) for share in shares)
        return [round(values[min(max(rank, 1), len(values)) - 1], 3) for rank in ranks]


@dataclass(slots=True)
class LossCounter:
    """Counts datagrams that did not arrive, from their sequence numbers; late ones make up for their loss.

    A gap counts once the datagram behind it has arrived, however many windows it lasted. A number that is not
    higher and yet was sent later comes from a sender that started anew: its count begins there.

    >>> losses = LossCounter()
    >>> losses.add(1, sent_ns=10); losses.add(2, sent_ns=20)
    >>> losses.take()
    0
    >>> losses.add(5, sent_ns=50)
    >>> losses.take()
    2
    """

    _first: int | None = None
    _highest: int = -1
    _highest_sent_ns: int = -1
    _received: int = 0
    _earlier_lost: int = 0
    _taken: int = 0

    def add(self, sequence: int, sent_ns: int) -> None:
        """Count an arrived number. Complexity: O(1)."""
        if sequence <= self._highest and sent_ns > self._highest_sent_ns:
            self._earlier_lost = self._lost()
            self._first, self._highest, self._received = None, -1, 0
        self._first = sequence if self._first is None else min(self._first, sequence)
        if sequence > self._highest:
            self._highest, self._highest_sent_ns = sequence, sent_ns
        self._received += 1

    def take(self) -> int:
        """Return how many were lost since the last call; late ones are set off against the losses that follow."""
        new = max(0, self._lost() - self._taken)
        self._taken += new
        return new

    def _lost(self) -> int:
        if self._first is None:
            return self._earlier_lost
        return self._earlier_lost + max(0, self._highest - self._first + 1 - self._received)
