"""Delays between attempts: exponential with full jitter, so that a thousand agents do not return at once."""

from dataclasses import dataclass
from random import Random


@dataclass(slots=True)
class Backoff:
    """Doubling delays.

    Args:
        rng: source of the jitter.
        first_s: upper bound of the first delay.
        cap_s: upper bound of every delay.

    >>> backoff = Backoff(Random(1), first_s=0.2, cap_s=1.0)
    >>> all(backoff.next_s() <= bound for bound in (0.2, 0.4, 0.8, 1.0, 1.0))
    True
    """

    rng: Random
    first_s: float = 0.2
    cap_s: float = 15.0
    _bound_s: float = 0.0

    def next_s(self) -> float:
        """Return the next delay: between half of the current bound and the bound."""
        self._bound_s = min(self.cap_s, self._bound_s * 2 if self._bound_s else self.first_s)
        return self._bound_s * (0.5 + self.rng.random() / 2)

    def reset(self) -> None:
        """Start over after a success."""
        self._bound_s = 0.0
