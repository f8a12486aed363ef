"""How far apart probes arrive on a link, over the last minute, in constant space."""

from dataclasses import dataclass, field

SLOTS = 12
SLOT_S = 5.0
MAX_INTERVALS = 20
TAIL_SHARE = 0.001
MIN_SAMPLES = 500


@dataclass(slots=True)
class GapHistory:
    """Histogram of gaps in whole probe intervals, in twelve slots of five seconds.

    Gaps beyond ``MAX_INTERVALS`` are failures, not the link's habit, and do not count.

    Complexity: ``add`` is O(1); the percentile is computed once per slot, O(slots x intervals).
    """

    interval_s: float
    started_s: float
    p999_intervals: int = 0
    _slots: list[list[int]] = field(default_factory=lambda: [[0] * (MAX_INTERVALS + 1) for _ in range(SLOTS)])
    _slot: int = 0

    def add(self, gap_s: float, now_s: float) -> None:
        """Count a gap that ended at ``now_s``."""
        slot = int((now_s - self.started_s) / SLOT_S)
        if slot != self._slot:
            for passed in range(self._slot + 1, min(slot, self._slot + SLOTS) + 1):
                self._slots[passed % SLOTS] = [0] * (MAX_INTERVALS + 1)
            self._slot = slot
            self.p999_intervals = self._percentile()
        intervals = -int(-gap_s // self.interval_s)
        if intervals <= MAX_INTERVALS:
            self._slots[slot % SLOTS][intervals] += 1

    def _percentile(self) -> int:
        """Return the gap, rounded up to intervals, that at most one in a thousand exceeds; 0 with too few samples."""
        counts = [sum(column) for column in zip(*self._slots, strict=True)]
        total = sum(counts)
        if total < MIN_SAMPLES:
            return 0
        beyond = 0
        for intervals in range(MAX_INTERVALS, -1, -1):
            beyond += counts[intervals]
            if beyond > TAIL_SHARE * total:
                return intervals
        return 0
