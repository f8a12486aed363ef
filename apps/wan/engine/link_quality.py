"""Round-trip time, jitter and loss of one link, from its probes.

Source: jitter is the mean difference of neighbouring round-trip times (the idea of RFC 3550 section 6.4.1, without its
smoothing, since a window is short); loss counts sequence numbers that did not arrive.
"""

from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Quality:
    """What was seen in one window; ``None``: nothing arrived that could tell.

    Args:
        rtt_ms: median round-trip time.
        jitter_ms: mean difference of neighbouring round-trip times.
        loss_ratio: share of expected probes that did not arrive, 0..1; 1 when none arrived.
        gap_ms_max: longest time between arrivals.
    """

    rtt_ms: float | None
    jitter_ms: float | None
    loss_ratio: float
    gap_ms_max: float | None


@dataclass(slots=True)
class LinkQuality:
    """Collects one window; ``take`` returns it and starts the next. Complexity: ``add`` O(1), ``take`` O(n log n)."""

    _rtts_ms: list[float] = field(default_factory=list)
    _received_count: int = 0
    _first_seq: int | None = None
    _last_seq: int | None = None
    _last_at_s: float | None = None
    _gap_ms_max: float = 0.0

    def add(self, seq: int, at_s: float, rtt_ms: float | None) -> None:
        """Count a probe that arrived."""
        if self._first_seq is None or seq < self._first_seq:  # first ever, or the peer restarted
            self._first_seq = seq - 1
        self._last_seq = seq
        self._received_count += 1
        if self._last_at_s is not None:
            self._gap_ms_max = max(self._gap_ms_max, (at_s - self._last_at_s) * 1000)
        self._last_at_s = at_s
        if rtt_ms is not None:
            self._rtts_ms.append(rtt_ms)

    def take(self, window_s: float, interval_ms: float) -> Quality:
        """Return the window's quality.

        Args:
            window_s: how long it was.
            interval_ms: how often the peer sends, for windows in which nothing arrived.
        """
        received, rtts = self._received_count, self._rtts_ms
        loss_ratio = 1.0 if window_s * 1000 > 3 * interval_ms else 0.0
        if received and self._first_seq is not None and self._last_seq is not None:
            expected = max(received, self._last_seq - self._first_seq)
            loss_ratio = 1 - received / expected
            self._first_seq = self._last_seq
        elif loss_ratio:
            self._first_seq = (
                None  # told as lost now: the window in which the link comes back must not tell it again
            )
        steps = [abs(later - earlier) for earlier, later in pairwise(rtts)]
        quality = Quality(
            rtt_ms=round(sorted(rtts)[len(rtts) // 2], 3) if rtts else None,
            jitter_ms=round(sum(steps) / len(steps), 3) if steps else None,
            loss_ratio=round(loss_ratio, 4),
            gap_ms_max=round(self._gap_ms_max, 3) if received else None,
        )
        self._rtts_ms, self._received_count, self._gap_ms_max = [], 0, 0.0
        return quality
