"""One direction of an emulated link: what leaves when. Pure; time and randomness are given.

A frame that arrives is lost at random, or dropped because the queue is full, or waits. One frame at a time is sent at
the link's rate, priority frames first (a frame being sent is never interrupted); the last bit then travels for the
one-way delay. Frames of one lane never overtake each other, also when the delay shrinks.

    state       offer                     deliver(now)
    open        lost | queue full | kept  frames whose last bit has arrived
    blocked     dropped                   none; what was under way when it was blocked is gone
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from nfvportal.lab.topology import LinkShape

Frame = TypeVar("Frame")
NEVER_S = float("inf")


@dataclass(slots=True)
class DirectionCounters:
    """What happened to the frames of one direction since the start."""

    frames_in: int = 0
    bytes_in: int = 0
    frames_out: int = 0
    bytes_out: int = 0
    lost_random: int = 0
    lost_queue: int = 0
    lost_blocked: int = 0


class LinkDirection(Generic[Frame]):
    """The machine of one direction. Calls must come with times that never go back.

    Args:
        shape: rate, delay, loss and queue; replaced at any time by ``reshape``.
        draw: returns the next random number in [0, 1); used only while ``loss_ratio`` > 0.

    Complexity: O(1) amortised per frame.
    """

    __slots__ = (
        "_bulk", "_bulk_bytes", "_delay_s", "_draw", "_flying", "_free_at_s", "_loss_ratio",
        "_priority", "_priority_bytes", "_queue_bytes_max", "_seconds_per_byte", "counters", "is_blocked",
    )  # fmt: skip

    def __init__(self, shape: LinkShape, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._bulk: deque[tuple[int, Frame]] = deque()
        self._priority: deque[tuple[int, Frame]] = deque()
        self._flying: deque[tuple[float, int, Frame]] = deque()
        self._bulk_bytes = 0
        self._priority_bytes = 0
        self._free_at_s = 0.0
        self.is_blocked = False
        self.counters = DirectionCounters()
        self._apply(shape)

    def _apply(self, shape: LinkShape) -> None:
        self._seconds_per_byte = 8.0 / shape.rate_bps if shape.rate_bps else 0.0
        self._delay_s = shape.delay_ms / 1000.0
        self._loss_ratio = shape.loss_ratio
        self._queue_bytes_max = shape.queue_bytes

    def reshape(self, shape: LinkShape, now_s: float) -> None:
        """Change the shape for frames whose sending starts from now on."""
        self._advance(now_s)
        self._apply(shape)

    def reseed(self, draw: Callable[[], float]) -> None:
        """Take random numbers from another source from now on."""
        self._draw = draw

    def block(self, is_blocked: bool, now_s: float) -> None:
        """Cut or heal the direction. A cut loses everything that is queued or under way."""
        if is_blocked and not self.is_blocked:
            self._advance(now_s)
            self.counters.lost_blocked += len(self._bulk) + len(self._priority) + len(self._flying)
            self._bulk.clear()
            self._priority.clear()
            self._flying.clear()
            self._bulk_bytes = self._priority_bytes = 0
            self._free_at_s = now_s
        self.is_blocked = is_blocked

    def offer(self, now_s: float, size_bytes: int, is_priority: bool, frame: Frame) -> bool:
        """Take a frame that arrives now; False if it was lost or dropped."""
        counters = self.counters
        counters.frames_in += 1
        counters.bytes_in += size_bytes
        if self.is_blocked:
            counters.lost_blocked += 1
            return False
        if self._loss_ratio and self._draw() < self._loss_ratio:
            counters.lost_random += 1
            return False
        if self._bulk or self._priority:
            self._advance(now_s)
        if self._free_at_s <= now_s:
            # Idle link (advancing has emptied both lanes): sending starts at once.
            self._send(now_s, size_bytes, frame)
            return True
        # Each lane has the whole queue to itself: bulk traffic never pushes a probe out.
        if is_priority:
            if self._priority_bytes + size_bytes > self._queue_bytes_max:
                counters.lost_queue += 1
                return False
            self._priority_bytes += size_bytes
            self._priority.append((size_bytes, frame))
            return True
        if self._bulk_bytes + size_bytes > self._queue_bytes_max:
            counters.lost_queue += 1
            return False
        self._bulk_bytes += size_bytes
        self._bulk.append((size_bytes, frame))
        return True

    def deliver(self, now_s: float) -> list[Frame]:
        """Return the frames whose last bit has arrived by now, in order."""
        if self._bulk or self._priority:
            self._advance(now_s)
        flying = self._flying
        frames: list[Frame] = []
        size_bytes = 0
        while flying and flying[0][0] <= now_s:
            _, size, frame = flying.popleft()
            size_bytes += size
            frames.append(frame)
        if frames:
            self.counters.frames_out += len(frames)
            self.counters.bytes_out += size_bytes
        return frames

    def next_at_s(self) -> float:
        """Return the earliest time at which ``deliver`` could return a frame; ``NEVER_S`` if nothing is under way."""
        if self._flying:
            return self._flying[0][0]
        lane = self._priority or self._bulk
        if not lane:
            return NEVER_S
        return self._free_at_s + lane[0][0] * self._seconds_per_byte + self._delay_s

    def _advance(self, now_s: float) -> None:
        """Start sending every frame whose turn came by now."""
        while self._free_at_s <= now_s:
            if self._priority:
                size_bytes, frame = self._priority.popleft()
                self._priority_bytes -= size_bytes
            elif self._bulk:
                size_bytes, frame = self._bulk.popleft()
                self._bulk_bytes -= size_bytes
            else:
                return
            self._send(self._free_at_s, size_bytes, frame)

    def _send(self, start_s: float, size_bytes: int, frame: Frame) -> None:
        done_s = start_s + size_bytes * self._seconds_per_byte
        self._free_at_s = done_s
        # First in, first out: a frame with a shorter delay waits for those ahead of it.
        self._flying.append((done_s + self._delay_s, size_bytes, frame))
