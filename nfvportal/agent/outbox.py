"""What the agent still has to tell the portal, within a bound.

Events stay until acknowledged, across reconnects; the oldest are dropped, and counted, beyond the bound. Samples are
only worth their freshness: they wait in a short queue and are dropped, and counted, when the portal is away.
A role's ``<role>.state`` event replaces its predecessor: only the newest state matters.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nfvportal.lib.wire import Frame

MAX_EVENTS = 10_000
MAX_SAMPLES = 240


@dataclass(frozen=True, slots=True)
class Drops:
    """What was lost because the portal was away for too long."""

    event_count: int
    sample_count: int


@dataclass(slots=True)
class Outbox:
    """Thread-safe buffer of frames. ``wake`` is called after every addition, from the adding thread."""

    boot_id: str
    wake: Callable[[], None] = lambda: None
    max_events: int = MAX_EVENTS
    max_samples: int = MAX_SAMPLES
    _events: "OrderedDict[int, Frame]" = field(default_factory=OrderedDict)
    _samples: deque[Frame] = field(default_factory=deque)
    _state_ids: dict[str, int] = field(default_factory=dict)
    _next_id: int = 1
    _sent_up_to: int = 0
    _event_drops: int = 0
    _sample_drops: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_event(self, role: str, event: str, data: Mapping[str, object], at_s: float) -> int:
        """Queue an event and return its id."""
        with self._lock:
            event_id = self._next_id
            self._next_id += 1
            if event.endswith(".state"):
                self._events.pop(self._state_ids.get(event, 0), None)
                self._state_ids[event] = event_id
            self._events[event_id] = {
                "type": "event",
                "id": event_id,
                "boot_id": self.boot_id,
                "role": role,
                "event": event,
                "at_s": at_s,
                "data": dict(data),
            }
            while len(self._events) > self.max_events:
                self._events.popitem(last=False)
                self._event_drops += 1
        self.wake()
        return event_id

    def add_samples(self, role: str, columns: Mapping[str, Sequence[object]]) -> None:
        """Queue one batch of samples."""
        frame: Frame = {
            "type": "samples",
            "role": role,
            "columns": {name: list(c) for name, c in columns.items()},
        }
        with self._lock:
            self._samples.append(frame)
            while len(self._samples) > self.max_samples:
                self._samples.popleft()
                self._sample_drops += 1
        self.wake()

    def acknowledge(self, event_id: int) -> None:
        """Forget an event that the portal has committed; unknown ids are ignored."""
        with self._lock:
            self._events.pop(event_id, None)

    def reconnected(self) -> None:
        """Send everything unacknowledged again on the new connection."""
        with self._lock:
            self._sent_up_to = 0

    def take(self) -> list[Frame]:
        """Return the frames to send now: events not yet sent on this connection, in order, then all samples."""
        with self._lock:
            frames = [frame for event_id, frame in self._events.items() if event_id > self._sent_up_to]
            if frames:
                self._sent_up_to = frames[-1]["id"]
            frames.extend(self._samples)
            self._samples.clear()
        return frames

    @property
    def pending_count(self) -> int:
        """How many events wait for their acknowledgement."""
        return len(self._events)

    @property
    def drops(self) -> Drops:
        """What was lost so far."""
        return Drops(self._event_drops, self._sample_drops)
