"""Tells refusals without flooding: each kind of each source once per period, the rest only counted."""

from collections import OrderedDict
from typing import Final

PERIOD_S: Final = 60.0
MAX_SOURCES: Final = 1000


class RefusalBrake:
    """Decides which refusals become an event.

    >>> brake = RefusalBrake()
    >>> [brake.admit("gw-a", "bad_token", now_s) for now_s in (0.0, 1.0, 61.0)]
    [0, None, 1]
    """

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def admit(self, source: str, code: str, now_s: float) -> int | None:
        """Return how many refusals were held back since the last told one; ``None`` to hold this one back too."""
        key = (source, code)
        told_at_s, held_count = self._told.get(key, (float("-inf"), 0))
        if now_s - told_at_s < PERIOD_S:
            self._told[key] = (told_at_s, held_count + 1)
            return None
        self._told.pop(key, None)
        self._told[key] = (now_s, 0)
        while len(self._told) > MAX_SOURCES:
            self._told.popitem(last=False)
        return held_count
