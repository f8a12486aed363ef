"""Which links between two gateways work, decided from probes alone. A machine: no clock, no socket.

Transitions of one link (``silent``: no probe for ``multiplier`` intervals, and another link proves that the peer kept
sending meanwhile; ``unheard``: the peer says that it does not hear us on this link):

| state | event | next state | action |
|---|---|---|---|
| unknown | a probe arrives, not unheard | up | LinkUp (no hold-down: nothing failed yet) |
| unknown | nothing for ``startup_s`` while another link is heard | down | LinkDown |
| unknown | unheard | down | LinkDown |
| up | silent (direction rx), unheard (tx), or both | down | LinkDown |
| down | ``clean_count`` echoing probes in a row, and not unheard | hold_down | none |
| hold_down | silent, unheard or no echo | down | none (still down for everybody else) |
| hold_down | the hold-down is over, and the link is heard | up | LinkUp |

Nothing heard on any link: no link changes its state, ``AllSilent`` is reported once, ``HearingAgain`` when it is over.
That rule is also why a link is only called silent when another one vouches: it carried a probe that the peer sent at
least ``multiplier - 1`` intervals after the last one heard on the silent link, and it is not late itself (when all
links are cut at once, slow ones lose what is on its way, and a fast one would vouch with its last word). A peer that
pauses is silent everywhere at once and vouches for nothing; when it goes on, each link has its own delay to bring the
first probe (arrival minus departure compares links whatever the clocks' origins), and only then does patience begin.

Our own pauses do not count as silence: arrival times come from the kernel, all that arrived is fed before ``tick``, and
after ``tick`` came late by more than half an interval, patience starts anew (whatever paused us, a busy host or its
hypervisor, has often paused the links as well).

Source: RFC 5880 section 6.8.4 (detection time), adaptive multiplier and hold-down with doubling: our own design
(apps/wan/README.md). Deviation from RFC 5880: remote state is carried over the other links, so that a one-way failure
is known at both ends within one detection time plus one one-way delay.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from apps.wan.engine.gap_history import GapHistory

LATE_INTERVALS = 1.5
CLOCK_JUMP_S = 10.0


class LinkState(StrEnum):
    """Where a link stands."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"
    HOLD_DOWN = "hold_down"


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """Limits of the decision.

    Args:
        interval_ms: time between two probes of the peer on one link, 1..1000.
        multiplier: intervals of silence that make a link down, at least; 2..50. Grows with the link's own gaps.
        clean_count: probes in a row before a failed link is trusted again.
        hold_base_s: hold-down after the first failure; doubles with every further one.
        hold_max_s: longest hold-down.
        flap_memory_s: a failure is forgotten after this time.
        startup_s: how long an unknown link may stay silent.
    """

    interval_ms: float = 10.0
    multiplier: int = 3
    clean_count: int = 20
    hold_base_s: float = 1.0
    hold_max_s: float = 60.0
    flap_memory_s: float = 300.0
    startup_s: float = 1.0


@dataclass(frozen=True, slots=True)
class ProbeHeard:
    """A probe arrived.

    Args:
        link: its link.
        at_s: arrival on our clock.
        sent_s: departure on the peer's clock (any origin).
        rx_down: links that the peer says it does not hear.
        is_echoing: whether it carries an echo: the peer has heard us on this link since its start. A peer that has just
            restarted does not know yet what it does not hear.
    """

    link: str
    at_s: float
    sent_s: float
    rx_down: frozenset[str] = frozenset()
    is_echoing: bool = True


@dataclass(frozen=True, slots=True)
class LinkDown:
    """A link failed. ``direction``: ``rx`` we hear nothing, ``tx`` the peer hears nothing, ``both``."""

    link: str
    direction: str
    last_heard_s: float | None
    detected_s: float
    flap_count: int


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A link works again after ``down_s`` seconds, of which ``hold_down_s`` were caution; both 0 at the first time."""

    link: str
    at_s: float
    down_s: float
    hold_down_s: float


@dataclass(frozen=True, slots=True)
class AllSilent:
    """Nothing is heard on any link: the peer may be dead, or we may be cut off. No link changes its state."""

    since_s: float


@dataclass(frozen=True, slots=True)
class HearingAgain:
    """The peer is heard again after ``AllSilent``."""

    at_s: float


Action = LinkDown | LinkUp | AllSilent | HearingAgain


@dataclass(slots=True)
class _Link:
    name: str
    gaps: GapHistory
    since_s: float
    state: LinkState = LinkState.UNKNOWN
    heard_s: float | None = None
    sent_s: float = -math.inf
    clean_count: int = 0
    down_s: float = 0.0
    hold_until_s: float = math.inf
    hold_s: float = 0.0
    is_rx_down: bool = False
    direction: str = ""
    failures_s: list[float] = field(default_factory=list)

    @property
    def transit_s(self) -> float:
        """How long the newest probe took, plus the difference of the clocks, the same for all links."""
        assert self.heard_s is not None
        return self.heard_s - self.sent_s


class Detector:
    """Judges all links of one site pair.

    Args:
        links: names; at most 32.
        config: limits.
        now_s: start, on the clock that all later times use.

    Complexity: ``step`` and ``tick`` are O(links).
    """

    def __init__(self, links: Sequence[str], config: DetectorConfig, now_s: float) -> None:
        self._config = config
        self._interval_s = config.interval_ms / 1000
        self._links = {
            name: _Link(name, GapHistory(self._interval_s, now_s), since_s=now_s) for name in sorted(links)
        }
        self._tick_s = now_s
        self._pause_end_s = -math.inf
        self._unheard: frozenset[str] = frozenset()
        self._report_sent_s = -math.inf
        self._last: _Link | None = None
        self._newest_sent_s = -math.inf
        self._resumed_sent_s = -math.inf
        self._resumed_at_s = now_s
        self._is_all_silent = False
        self._is_anything_heard = False

    def step(self, event: ProbeHeard, now_s: float) -> tuple[Action, ...]:
        """Take a probe; return what follows from it at once. Call ``tick`` after all probes that have arrived."""
        link = self._links[event.link]
        actions: list[Action] = []
        self._follow_peer(link, event)
        if link.heard_s is not None:
            link.gaps.add(max(0.0, event.at_s - link.heard_s), event.at_s)
        link.heard_s = max(event.at_s, link.heard_s or -math.inf)
        link.sent_s = event.sent_s
        link.clean_count = link.clean_count + 1 if event.is_echoing else 0
        if link.is_rx_down and link.clean_count >= self._config.clean_count:
            link.is_rx_down = False
        if event.sent_s >= self._report_sent_s:
            self._report_sent_s, self._unheard = event.sent_s, event.rx_down
        self._is_anything_heard = True
        if self._is_all_silent:
            self._is_all_silent = False
            actions.append(HearingAgain(event.at_s))
        actions.extend(self._judge_reports(now_s))
        if link.state == LinkState.UNKNOWN and link.name not in self._unheard:
            actions.append(self._up(link, now_s, down_s=0.0, hold_s=0.0))
        return tuple(actions)

    def tick(self, now_s: float) -> tuple[Action, ...]:
        """Judge silence and hold-downs; call at ``next_deadline_s`` and at least once per interval."""
        actions: list[Action] = []
        if now_s - self._tick_s > LATE_INTERVALS * self._interval_s:
            self._pause_end_s = now_s
        self._tick_s = now_s
        for link in self._links.values():
            if self._is_silent(link, now_s):
                link.clean_count = 0
                link.is_rx_down = True
        actions.extend(self._judge_reports(now_s))
        for link in self._links.values():
            actions.extend(self._judge(link, now_s))
        actions.extend(self._judge_all_silent(now_s))
        return tuple(actions)

    def next_deadline_s(self, now_s: float) -> float:
        """Return when ``tick`` could next decide something: the earliest end of patience or of a hold-down."""
        deadline_s = math.inf
        for link in self._links.values():
            if link.state == LinkState.UP and not link.is_rx_down and link.heard_s is not None:
                patience_s = self._waiting_since_s(link) + self._patience_s(link)
                if patience_s > now_s:
                    deadline_s = min(deadline_s, patience_s)
            elif link.state == LinkState.HOLD_DOWN and link.hold_until_s > now_s:
                deadline_s = min(deadline_s, link.hold_until_s)
        return deadline_s

    @property
    def up(self) -> frozenset[str]:
        """Links that may carry traffic. Unknown ones may too: at the start nothing has been proven broken."""
        usable = (LinkState.UP, LinkState.UNKNOWN)
        return frozenset(link.name for link in self._links.values() if link.state in usable)

    @property
    def unknown(self) -> frozenset[str]:
        """Links of which nothing is known yet."""
        return frozenset(link.name for link in self._links.values() if link.state == LinkState.UNKNOWN)

    @property
    def rx_down(self) -> frozenset[str]:
        """Links that we do not hear, to be told to the peer in every probe."""
        return frozenset(link.name for link in self._links.values() if link.is_rx_down)

    def snapshot(self) -> dict[str, dict[str, object]]:
        """Return per link: state, direction of the failure, since when, multiplier, flaps."""
        return {
            link.name: {
                "state": link.state.value,
                "direction": link.direction,
                "since_s": link.since_s,
                "multiplier": self._multiplier(link),
                "flap_count": len(link.failures_s),
                "hold_until_s": link.hold_until_s if link.state == LinkState.HOLD_DOWN else None,
            }
            for link in self._links.values()
        }

    def _multiplier(self, link: _Link) -> int:
        """Return N = max(configured, ceil(p99.9 gap of the last minute / interval) + 1)."""
        return max(self._config.multiplier, link.gaps.p999_intervals + 1)

    def _patience_s(self, link: _Link) -> float:
        return self._multiplier(link) * self._interval_s

    def _is_silent(self, link: _Link, now_s: float) -> bool:
        """Whether the link is silent for too long and another one proves that the peer kept sending."""
        if link.state == LinkState.UNKNOWN and link.heard_s is None:
            waited_s = now_s - max(
                link.since_s, self._resumed_at_s
            )  # a peer that was not there proves nothing
            return waited_s >= self._config.startup_s and any(
                self._is_fresh(other, now_s) for other in self._links.values()
            )
        if link.heard_s is None or now_s - self._waiting_since_s(link) < self._patience_s(link) - 1e-9:
            return False
        # Tick phases of the two ends differ by up to an interval: a fifth of one is allowed for rounding.
        proof_s = (
            max(link.sent_s, self._resumed_sent_s) + (self._multiplier(link) - 1 - 0.2) * self._interval_s
        )
        return any(
            other is not link and self._is_vouching(other, now_s) and other.sent_s >= proof_s
            for other in self._links.values()
        )

    def _waiting_since_s(self, link: _Link) -> float:
        """Return since when silence counts: the last probe, the end of our own last pause, or of the peer's."""
        if link.heard_s is None:
            return self._pause_end_s
        return max(link.heard_s, self._pause_end_s, self._resumed_sent_s + link.transit_s)

    def _follow_peer(self, link: _Link, event: ProbeHeard) -> None:
        """Note when the peer starts to send, again after a pause, or with another clock after its machine restarted."""
        transit_s = event.at_s - event.sent_s
        if self._last is not None and abs(transit_s - self._last.transit_s) > CLOCK_JUMP_S:
            known = self._last if link.heard_s is None else link
            self._shift_peer_clock(transit_s - known.transit_s)
        self._last = link
        if event.sent_s - self._newest_sent_s > (self._config.multiplier - 0.5) * self._interval_s:
            self._resumed_sent_s, self._resumed_at_s = event.sent_s, event.at_s
        self._newest_sent_s = max(self._newest_sent_s, event.sent_s)

    def _shift_peer_clock(self, shift_s: float) -> None:
        """Say all earlier departures in the peer's new clock, so that they compare with later ones."""
        for link in self._links.values():
            link.sent_s -= shift_s
        self._newest_sent_s -= shift_s
        self._resumed_sent_s -= shift_s
        self._report_sent_s -= shift_s

    def _is_fresh(self, link: _Link, now_s: float) -> bool:
        return link.heard_s is not None and now_s - link.heard_s < self._patience_s(link)

    def _is_vouching(self, link: _Link, now_s: float) -> bool:
        """Whether the link works at this moment: one that is late itself may have been cut together with the other."""
        late_s = min(LATE_INTERVALS, self._multiplier(link) - LATE_INTERVALS) * self._interval_s
        return link.heard_s is not None and now_s - link.heard_s < late_s

    def _judge_reports(self, now_s: float) -> list[Action]:
        """Act on what the peer does not hear; only while the peer itself is heard, so that the report is fresh."""
        actions: list[Action] = []
        for name in self._unheard:
            link = self._links.get(name)
            if link is not None and link.state in (LinkState.UP, LinkState.UNKNOWN) and not link.is_rx_down:
                # In a two-way failure the peer's word may be faster than our own patience: we are late there as well.
                is_late = link.heard_s is None or now_s - link.heard_s > LATE_INTERVALS * self._interval_s
                actions.append(self._down(link, "both" if is_late else "tx", now_s))
        return actions

    def _judge(self, link: _Link, now_s: float) -> list[Action]:
        is_unheard = link.name in self._unheard
        if link.state in (LinkState.UP, LinkState.UNKNOWN):
            if link.is_rx_down:
                return [self._down(link, "both" if is_unheard else "rx", now_s)]
        elif link.state == LinkState.DOWN:
            is_clean = link.clean_count >= self._config.clean_count
            if is_clean and not link.is_rx_down and not is_unheard and self._is_fresh(link, now_s):
                link.state = LinkState.HOLD_DOWN
                link.since_s = now_s
                link.hold_s = self._hold_s(link, now_s)
                link.hold_until_s = now_s + link.hold_s
        elif link.is_rx_down or is_unheard or not link.clean_count:
            link.state = LinkState.DOWN
            link.since_s = now_s
            link.clean_count = 0
        elif now_s >= link.hold_until_s and self._is_fresh(link, now_s):
            return [self._up(link, now_s, down_s=now_s - link.down_s, hold_s=link.hold_s)]
        return []

    def _judge_all_silent(self, now_s: float) -> list[Action]:
        if self._is_all_silent or not self._is_anything_heard:
            return []
        patience_s = max(self._patience_s(link) for link in self._links.values())
        if any(now_s - self._waiting_since_s(link) < patience_s for link in self._links.values()):
            return []
        self._is_all_silent = True
        return [AllSilent(max(link.heard_s or -math.inf for link in self._links.values()))]

    def _down(self, link: _Link, direction: str, now_s: float) -> LinkDown:
        link.state, link.direction, link.since_s, link.down_s = LinkState.DOWN, direction, now_s, now_s
        link.clean_count = 0
        link.failures_s = self._recent(link, now_s)
        link.failures_s.append(now_s)
        return LinkDown(link.name, direction, link.heard_s, now_s, len(link.failures_s))

    def _up(self, link: _Link, now_s: float, *, down_s: float, hold_s: float) -> LinkUp:
        link.state, link.direction, link.since_s = LinkState.UP, "", now_s
        link.hold_until_s = math.inf
        return LinkUp(link.name, now_s, down_s, hold_s)

    def _recent(self, link: _Link, now_s: float) -> list[float]:
        return [at_s for at_s in link.failures_s if now_s - at_s < self._config.flap_memory_s]

    def _hold_s(self, link: _Link, now_s: float) -> float:
        """Return the hold-down: the base, doubled with every recent failure beyond the first."""
        flaps = max(1, len(self._recent(link, now_s)))
        return float(min(self._config.hold_max_s, self._config.hold_base_s * 2.0 ** min(flaps - 1, 30)))
