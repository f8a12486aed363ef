"""The last numbered events of one topic, so that a snapshot and what came after it fit together. Pure."""

from collections import deque
from typing import Final

RING_LENGTH: Final = 512


class Feed:
    """Events of one topic in the order of their numbers.

    A gap or a number that went back (Valkey lost its memory) starts the feed anew: what was before does not fit.
    """

    def __init__(self) -> None:
        self._ring: deque[tuple[int, str]] = deque(maxlen=RING_LENGTH)
        self.last_seq: int | None = None

    def receive(self, seq: int, text: str) -> bool:
        """Take the next event; ``False`` when something was missed and all followers need a new snapshot."""
        is_next = self.last_seq is None or seq == self.last_seq + 1
        if not is_next:
            self._ring.clear()
        self._ring.append((seq, text))
        self.last_seq = seq
        return is_next

    def expect_after(self, seq: int) -> None:
        """Say which number the first event follows, when none came yet."""
        if self.last_seq is None:
            self.last_seq = seq

    def since(self, seq: int) -> list[str] | None:
        """Return the events after ``seq``; ``None`` when they are not all known any more."""
        if self.last_seq is None:
            return None
        if self.last_seq <= seq:
            return []
        if not self._ring or self._ring[0][0] > seq + 1:
            return None
        return [text for number, text in self._ring if number > seq]

    def forget(self) -> None:
        """Start anew: the connection that brought the events was interrupted."""
        self._ring.clear()
        self.last_seq = None
