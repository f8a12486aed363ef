"""Wait for a condition with a deadline; never for a time to pass."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, within_s: float = 30.0, every_s: float = 0.02) -> T:
    """Return the condition's first true value.

    Raises:
        AssertionError: it did not become true within ``within_s`` seconds; names ``what`` and its last value.
    """
    deadline_s = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline_s, f"not within {within_s:.0f} s: {what} (last: {value!r})"
        time.sleep(every_s)
