"""The dumb twin of the link model: one second at a time, one byte per second, lists searched from the start."""

from dataclasses import dataclass, field


@dataclass
class TwinFrame:
    """A frame of the twin; one byte takes one second to send."""

    name: int
    size_bytes: int
    is_priority: bool
    left_bytes: int = 0
    arrives_at: int = 0


@dataclass
class Twin:
    """One direction, stepped second by second."""

    delay: int
    queue_bytes: int
    waiting: list[TwinFrame] = field(default_factory=list)
    sending: TwinFrame | None = None
    flying: list[TwinFrame] = field(default_factory=list)
    delivered: list[tuple[int, int]] = field(default_factory=list)
    last_arrival: int = 0
    is_blocked: bool = False

    def begin_second(self, now: int) -> None:
        """End the frame being sent if its last byte is out, begin the next, deliver what has arrived."""
        if self.sending is not None and self.sending.left_bytes == 0:
            self._fly(self.sending, now)
            self.sending = None
        if self.sending is None and self.waiting:
            first = next((frame for frame in self.waiting if frame.is_priority), self.waiting[0])
            self.waiting.remove(first)
            self._start(first)
        for frame in [frame for frame in self.flying if frame.arrives_at == now]:
            self.flying.remove(frame)
            self.delivered.append((now, frame.name))

    def end_second(self) -> None:
        """Send one byte."""
        if self.sending is not None:
            self.sending.left_bytes -= 1

    def offer(self, frame: TwinFrame) -> bool:
        """Take, queue or drop a frame."""
        if self.is_blocked:
            return False
        if self.sending is None:
            self._start(frame)
            return True
        lane_bytes = sum(other.size_bytes for other in self.waiting if other.is_priority == frame.is_priority)
        if lane_bytes + frame.size_bytes > self.queue_bytes:
            return False
        self.waiting.append(frame)
        return True

    def block(self, is_blocked: bool) -> None:
        """Cut or heal."""
        if is_blocked and not self.is_blocked:
            self.waiting, self.flying, self.sending = [], [], None
            self.last_arrival = 0
        self.is_blocked = is_blocked

    def _start(self, frame: TwinFrame) -> None:
        frame.left_bytes = frame.size_bytes
        # The delay that counts is the one at the moment sending starts.
        frame.arrives_at = self.delay
        self.sending = frame

    def _fly(self, frame: TwinFrame, now: int) -> None:
        frame.arrives_at = max(now + frame.arrives_at, self.last_arrival)
        self.last_arrival = frame.arrives_at
        self.flying.append(frame)
