"""Two detectors and the links between them, in simulated time: what the lab does, deterministic and fast."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from apps.wan.engine.detector import Action, Detector, DetectorConfig, LinkDown, ProbeHeard

STEP_S = 0.001
OFFSET_S = {"a": 1000.0, "b": 777_000.0}


@dataclass(frozen=True, slots=True)
class Cut:
    """A link that loses what is sent or on its way in some directions (``ab``, ``ba``) for a time."""

    link: str
    directions: tuple[str, ...]
    from_s: float
    to_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Pause:
    """An end that does nothing for a time; what arrives waits in its sockets."""

    end: str
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class Restart:
    """An end that starts anew, with a clock that may have another origin."""

    end: str
    at_s: float
    offset_s: float


@dataclass(frozen=True, slots=True)
class World:
    """What the two ends live through.

    Args:
        delays_s: link -> (delay from a to b, from b to a).
        jitter_s: up to so much more delay per probe, in order.
        phase_s: how much later b starts to send than a.
    """

    delays_s: Mapping[str, tuple[float, float]]
    config: DetectorConfig = field(default_factory=DetectorConfig)
    cuts: Sequence[Cut] = ()
    pauses: Sequence[Pause] = ()
    restart: Restart | None = None
    jitter_s: float = 0.0
    phase_s: float = 0.0035
    seed: int = 0


@dataclass(slots=True)
class End:
    """One gateway."""

    name: str
    offset_s: float
    next_send_s: float
    detector: Detector
    inbox: list[ProbeHeard] = field(default_factory=list)
    heard: set[str] = field(default_factory=set)
    log: list[tuple[float, Action]] = field(default_factory=list)

    def downs(self) -> list[tuple[float, str, str]]:
        """Return (time, link, direction) of every failure seen."""
        return [
            (at_s, action.link, action.direction) for at_s, action in self.log if isinstance(action, LinkDown)
        ]


def simulate(world: World, until_s: float) -> tuple[End, End]:
    """Live through a world; return both ends with their logs, in the world's time."""
    network = _Network(world)
    ends = {name: network.end(name, OFFSET_S[name]) for name in "ab"}
    ends["b"].next_send_s = world.phase_s
    for step in range(round(until_s / STEP_S)):
        now_s = step * STEP_S
        restart = world.restart
        if restart is not None and abs(now_s - restart.at_s) < STEP_S / 2:
            old = ends[restart.end]
            ends[restart.end] = network.end(restart.end, restart.offset_s, now_s)
            ends[restart.end].log = old.log
        network.deliver(ends, now_s)
        for end in ends.values():
            if not any(p.end == end.name and p.from_s <= now_s < p.to_s for p in world.pauses):
                _turn(network, end, now_s)
    return ends["a"], ends["b"]


def _turn(network: "_Network", end: End, now_s: float) -> None:
    """Do what the prober does when it wakes: send when due, feed all that arrived, judge."""
    own_s = now_s + end.offset_s
    is_due = now_s >= end.next_send_s - 1e-9
    if not is_due and not end.inbox and own_s < end.detector.next_deadline_s(own_s - STEP_S):
        return
    if is_due:
        network.send(end, now_s)
        interval_s = network.world.config.interval_ms / 1000
        end.next_send_s = max(end.next_send_s + interval_s, now_s + interval_s / 2)
    for event in end.inbox:
        end.heard.add(event.link)
        end.log.extend((now_s, action) for action in end.detector.step(event, own_s))
    end.inbox.clear()
    end.log.extend((now_s, action) for action in end.detector.tick(own_s))


class _Network:
    """The links, with what is on its way."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._rng = Random(world.seed)
        self._flying: list[tuple[float, int, str, ProbeHeard]] = []
        self._last_s: dict[tuple[str, str], float] = {}
        self._count = 0

    def end(self, name: str, offset_s: float, now_s: float = 0.0) -> End:
        """Return a gateway that starts now."""
        detector = Detector(list(self.world.delays_s), self.world.config, now_s + offset_s)
        return End(name, offset_s, now_s, detector)

    def send(self, end: End, now_s: float) -> None:
        """Send one probe on every link."""
        direction, receiver = ("ab", "b") if end.name == "a" else ("ba", "a")
        for link, delays_s in self.world.delays_s.items():
            arrival_s = now_s + delays_s[direction == "ba"] + self._rng.random() * self.world.jitter_s
            arrival_s = self._last_s[link, direction] = max(
                arrival_s, self._last_s.get((link, direction), 0.0)
            )
            if any(
                cut.link == link
                and direction in cut.directions
                and now_s < cut.to_s
                and cut.from_s <= arrival_s
                for cut in self.world.cuts
            ):
                continue
            event = ProbeHeard(link, arrival_s, now_s + end.offset_s, end.detector.rx_down, link in end.heard)
            self._count += 1
            heapq.heappush(self._flying, (arrival_s, self._count, receiver, event))

    def deliver(self, ends: Mapping[str, End], now_s: float) -> None:
        """Put into the sockets what has arrived by now, stamped with its arrival."""
        while self._flying and self._flying[0][0] <= now_s + 1e-9:
            _, _, receiver, event = heapq.heappop(self._flying)
            end = ends[receiver]
            at_s = event.at_s + end.offset_s
            end.inbox.append(replace(event, at_s=at_s))
