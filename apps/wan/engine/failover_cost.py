"""What a failover cost the traffic, from the bytes a receiver counted in bins.

Source: definitions of our own (apps/wan/README.md): *lost* is the capacity of the surviving links that was not used in
the window after the cut, in milliseconds of those links; *stall* is the longest time without in-order bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

RECOVERED_SHARE = 0.9
RECOVERED_OVER_S = 0.05


@dataclass(frozen=True, slots=True)
class FailoverCost:
    """What the failover cost.

    Args:
        stall_ms: longest run of empty bins inside the window.
        lost_ms: undelivered capacity as time of the surviving links; 0 when they were never left idle.
        transport_ms: from the cut until goodput is back at 90 % of the expectation; ``None``: not in the window.
    """

    stall_ms: float
    lost_ms: float
    transport_ms: float | None


def failover_cost(
    bin_start_s: Sequence[float],
    bin_bytes: Sequence[float],
    cut_at_s: float,
    surviving_bps: float,
    window_s: float = 2.0,
) -> FailoverCost:
    """Return the cost of a cut.

    Args:
        bin_start_s: start of each bin in seconds, ascending, equally spaced; a missing bin counts as empty.
        bin_bytes: payload bytes that arrived in each bin, over all flows.
        cut_at_s: when the link failed, on the same clock.
        surviving_bps: payload rate that was possible after the cut, bit/s, > 0.
        window_s: how long after the cut capacity is owed.

    Returns:
        The cost; for no bins at all the whole window is lost. Complexity: O(bins in the window).

    >>> starts = [i / 100 for i in range(300)]
    >>> rates = [0 if 100 <= i < 105 else 1250 for i in range(300)]
    >>> failover_cost(starts, rates, 1.0, 1_000_000)
    FailoverCost(stall_ms=50.0, lost_ms=50.0, transport_ms=50.0)
    """
    bin_s = _bin_width(bin_start_s)
    count = max(1, round(window_s / bin_s))
    window = [0.0] * count
    for start_s, size in zip(bin_start_s, bin_bytes, strict=True):
        index = round((start_s - cut_at_s) / bin_s - 1e-6)
        if 0 <= index < count:
            window[index] += size
    delivered_bits = 8 * sum(window)
    lost_s = max(0.0, window_s - delivered_bits / surviving_bps)
    return FailoverCost(
        stall_ms=round(_longest_run_of_zeros(window) * bin_s * 1000, 3),
        lost_ms=round(lost_s * 1000, 3),
        transport_ms=_recovery_ms(window, bin_s, surviving_bps),
    )


def _bin_width(starts: Sequence[float]) -> float:
    """Return the bin width: the smallest distance between neighbours (bins may be missing), 10 ms by default."""
    steps = [later - earlier for earlier, later in pairwise(starts) if later > earlier]
    return round(min(steps), 6) if steps else 0.01


def _longest_run_of_zeros(values: Sequence[float]) -> int:
    longest = run = 0
    for value in values:
        run = 0 if value else run + 1
        longest = max(longest, run)
    return longest


def _recovery_ms(window: Sequence[float], bin_s: float, surviving_bps: float) -> float | None:
    """Return when the mean over the next 50 ms first reaches 90 % of the surviving rate, and something arrives."""
    span = max(1, round(RECOVERED_OVER_S / bin_s))
    needed = RECOVERED_SHARE * surviving_bps * bin_s / 8 * span
    for index in range(len(window) - span + 1):
        if window[index] and sum(window[index : index + span]) >= needed:
            return round(index * bin_s * 1000, 3)
    return None
