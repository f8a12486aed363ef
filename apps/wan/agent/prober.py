"""The fast path of a gateway: probes every link, judges, reroutes. One thread, no waiting for anybody."""

import logging
import os
import secrets
import select
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from apps.wan.agent.gateway_spec import GatewaySpec
from apps.wan.agent.probe_socket import ProbeSocket
from apps.wan.agent.replayer import Replayer
from apps.wan.agent.rerouter import Rerouter
from apps.wan.engine.detector import Action as DetectorAction
from apps.wan.engine.detector import AllSilent, Detector, HearingAgain, LinkDown, LinkUp, ProbeHeard
from apps.wan.engine.link_quality import LinkQuality
from apps.wan.engine.map_planner import Move, plan_map
from apps.wan.engine.probe_codec import Probe, ReplayGuard, decode_probe, encode_probe, link_id

logger = logging.getLogger(__name__)
SAMPLE_EVERY_S = 0.25
REALTIME_PRIORITY = 20
Emit = Callable[[str, Mapping[str, object], float], None]


@dataclass(slots=True)
class _LinkIo:
    """What the thread keeps per link."""

    socket: ProbeSocket
    guard: ReplayGuard
    seq: int = 0
    heard_ns: int | None = None
    heard_at_s: float = 0.0
    echoed_sent_s: float | None = None
    quality: LinkQuality = field(default_factory=LinkQuality)


@dataclass(frozen=True, slots=True)
class QualityWindow:
    """One sampling window as the role reports it."""

    link: str
    state: str
    rtt_ms: float | None
    jitter_ms: float | None
    loss_ratio: float
    gap_ms_max: float | None


def use_realtime(priority: int = REALTIME_PRIORITY) -> bool:
    """Schedule the calling thread before ordinary ones, where that is permitted."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
    except PermissionError:
        return False
    return True


class Prober(threading.Thread):
    """Runs until ``stop``. Decides alone; the portal only hears of it.

    Args:
        spec: links, keys, limits.
        rerouter: carries out the map.
        emit: reports an event (type, data, at).
        report: takes the quality of all links, four times a second.
        replayer: sends again what was under way on a failed link; ``None``: nobody does.
    """

    def __init__(
        self,
        spec: GatewaySpec,
        rerouter: Rerouter,
        emit: Emit,
        report: Callable[[list[QualityWindow]], None],
        replayer: Replayer | None = None,
    ) -> None:
        super().__init__(name="wan-prober", daemon=True)
        self._spec = spec
        self._rerouter = rerouter
        self._emit = emit
        self._report = report
        self._replayer = replayer
        self._boot_id = time.time_ns()
        # A start in the middle of the sequence space tells nothing about how long we run.
        first = secrets.randbelow(1 << 16)
        self._links = {
            link.name: _LinkIo(ProbeSocket(link, spec.probe_port), ReplayGuard(link_id(link.name)), seq=first)
            for link in spec.links
        }
        self._names = sorted(self._links)
        self._detector = Detector(self._names, spec.detector, time.monotonic())
        self._pending: GatewaySpec | None = None
        self._stopping = threading.Event()
        self._is_settled = False
        self._next_send_s = self._next_sample_s = 0.0

    def stop(self) -> None:
        """End the thread and close its sockets."""
        self._stopping.set()
        if self.is_alive():
            self.join()
        for link in self._links.values():
            link.socket.close()

    def update(self, spec: GatewaySpec) -> None:
        """Take over a spec with the same links and probes but another map; within one probe interval."""
        self._pending = spec

    def link_states(self) -> dict[str, dict[str, object]]:
        """Return what the detector knows per link; times are epoch seconds."""
        offset_s = time.time() - time.monotonic()
        states = self._detector.snapshot()
        for state in states.values():
            for name in ("since_s", "hold_until_s"):
                if isinstance(value := state[name], float):
                    state[name] = round(value + offset_s, 3)
        return states

    def refused_counts(self) -> dict[str, int]:
        """Return how many datagrams were refused, by reason."""
        counts: dict[str, int] = {}
        for link in self._links.values():
            for kind, count in link.guard.refused.items():
                counts[kind] = counts.get(kind, 0) + count
        return counts

    def run(self) -> None:
        """Probe, listen, judge, until stopped."""
        logger.info("probing %s, real-time %s", ", ".join(self._names), use_realtime())
        sockets = [link.socket for link in self._links.values()]
        by_socket = {link.socket: link for link in self._links.values()}
        self._next_send_s = self._next_sample_s = time.monotonic()
        while not self._stopping.is_set():
            try:
                self._turn(sockets, by_socket)
            except Exception:
                # A gateway that stops judging is worse than one that skips a turn.
                logger.exception("a turn of the prober failed")
                time.sleep(self._spec.detector.interval_ms / 1000)

    def _turn(self, sockets: list[ProbeSocket], by_socket: Mapping[ProbeSocket, _LinkIo]) -> None:
        """Send when it is time, wait for probes or the next decision, judge."""
        now_s = time.monotonic()
        if now_s >= self._next_send_s:
            self._send(now_s)
            # After a pause of our own, missed probes are not made up for.
            interval_s = self._spec.detector.interval_ms / 1000
            self._next_send_s = max(self._next_send_s + interval_s, now_s + interval_s / 2)
            self._take_over_spec()
        if now_s >= self._next_sample_s:
            self._next_sample_s = max(self._next_sample_s + SAMPLE_EVERY_S, now_s + SAMPLE_EVERY_S / 2)
            self._sample()
        wake_s = min(self._next_send_s, self._next_sample_s, self._detector.next_deadline_s(now_s) + 1e-4)
        select.select(sockets, [], [], max(0.0, wake_s - time.monotonic()))
        # All that has arrived counts before silence is judged: a pause of ours is not the link's. Hence the time of
        # judgement is taken first: a pause between two sockets would make the one read earlier look silent.
        judged_s = time.monotonic()
        for sock in sockets:
            self._receive(by_socket[sock])
        self._act(self._detector.tick(judged_s))
        self._settle()

    def _send(self, now_s: float) -> None:
        down = self._detector.rx_down
        rx_down = frozenset(index for index, name in enumerate(self._names) if name in down)
        for name in self._names:
            link = self._links[name]
            held_us = int((now_s - link.heard_at_s) * 1e6) if link.heard_ns is not None else 0
            sent_ns = time.monotonic_ns()
            probe = Probe(
                self._boot_id, link.guard.link_id, link.seq, sent_ns, link.heard_ns, held_us, rx_down
            )
            link.seq += 1
            link.socket.send(encode_probe(self._spec.probe_key, probe))

    def _receive(self, link: _LinkIo) -> None:
        for at_s, data in link.socket.drain():
            probe = link.guard.admit(decode_probe(self._spec.probe_key, data))
            if probe is None:
                continue
            rtt_ms = None
            if probe.echo_sent_ns is not None:
                rtt_ms = at_s * 1e3 - probe.echo_sent_ns / 1e6 - probe.echo_held_us / 1e3
                # An echo of our previous start has another clock origin; none is slower than a minute.
                rtt_ms = rtt_ms if 0 <= rtt_ms < 60_000 else None
                link.echoed_sent_s = probe.echo_sent_ns / 1e9
            link.heard_ns, link.heard_at_s = probe.sent_ns, at_s
            link.quality.add(probe.seq, at_s, rtt_ms)
            unheard = frozenset(self._names[index] for index in probe.rx_down if index < len(self._names))
            is_echoing = probe.echo_sent_ns is not None
            event = ProbeHeard(link.socket.link.name, at_s, probe.sent_ns / 1e9, unheard, is_echoing)
            self._act(self._detector.step(event, time.monotonic()))

    def _act(self, actions: tuple[DetectorAction, ...]) -> None:
        for action in actions:
            if isinstance(action, LinkDown):
                self._link_down(action)
            elif isinstance(action, LinkUp):
                self._link_up(action)
            elif isinstance(action, AllSilent):
                data = {"links": self._names, "since_s": self._epoch(action.since_s)}
                self._emit("wan.all_silent", data, time.time())
            elif isinstance(action, HearingAgain):
                self._emit("wan.hearing_again", {}, self._epoch(action.at_s))

    def _link_down(self, action: LinkDown) -> None:
        moves = self._replan()
        acted_s = time.monotonic()
        echoed_s = self._links[action.link].echoed_sent_s
        if self._replayer is not None and echoed_s is not None:
            self._replayer.replay(action.link, moves, self._epoch(echoed_s))
        heard_s = action.last_heard_s if action.last_heard_s is not None else action.detected_s
        self._emit(
            "wan.link_failed",
            {
                "link": action.link,
                "direction": action.direction,
                "last_heard_at_s": self._epoch(heard_s),
                "detected_at_s": self._epoch(action.detected_s),
                "acted_at_s": self._epoch(acted_s),
                "detection_ms": round((action.detected_s - heard_s) * 1000, 3),
                "action_ms": round((acted_s - action.detected_s) * 1000, 3),
                "flap_count": action.flap_count,
                **self._map_facts(moves),
            },
            self._epoch(action.detected_s),
        )

    def _link_up(self, action: LinkUp) -> None:
        if not self._is_settled:
            return  # the first sign of life after our start is no news; see _settle
        moves = self._replan()
        self._emit(
            "wan.link_restored",
            {
                "link": action.link,
                "up_at_s": self._epoch(action.at_s),
                "down_s": round(action.down_s, 3),
                "hold_down_s": action.hold_down_s,
                **self._map_facts(moves),
            },
            self._epoch(action.at_s),
        )

    def _settle(self) -> None:
        """Once every link is known after the start, follow the map and tell the whole state."""
        if not self._is_settled and not self._detector.unknown:
            self._is_settled = True
            moves = self._replan()
            self._emit("wan.gateway.state", self.state(), time.time())
            logger.info("all links known: %s; moved %d", self._detector.snapshot(), len(moves))

    def state(self) -> dict[str, object]:
        """Return the whole state as event ``wan.gateway.state`` carries it."""
        links = [{"name": name, **facts} for name, facts in self.link_states().items()]
        return {"links": links, **self._map_facts(()), "refused": self.refused_counts()}

    def _replan(self) -> tuple[Move, ...]:
        """Move the subnets that must move. A link of which nothing is known is never moved to, only stayed on."""
        if not self._spec.is_rerouting:
            return ()
        up = self._detector.up
        proven = up - self._detector.unknown
        spec, current = self._spec, self._rerouter.mapping
        plan = plan_map(sorted(spec.subnets), spec.weights, proven or up, spec.home, current, spec.advice)
        if plan.moves and not self._rerouter.flip(plan.moves):
            logger.warning("the kernel refused a part of %s; the reconciler will try again", plan.moves)
        return plan.moves

    def _take_over_spec(self) -> None:
        spec, self._pending = self._pending, None
        if spec is not None:
            self._spec = spec
            self._rerouter.adopt(spec, self._rerouter.mapping)
            if self._is_settled:
                self._replan()

    def _map_facts(self, moves: tuple[Move, ...]) -> dict[str, object]:
        return {
            "moves": [{"index": move.index, "from": move.from_link, "to": move.to_link} for move in moves],
            "map": {str(index): link for index, link in sorted(self._rerouter.mapping.items())},
            "epoch": self._spec.epoch,
        }

    def _sample(self) -> None:
        states = self._detector.snapshot()
        windows = []
        for name in self._names:
            quality = self._links[name].quality.take(SAMPLE_EVERY_S, self._spec.detector.interval_ms)
            state = str(states[name]["state"])
            windows.append(
                QualityWindow(
                    name, state, quality.rtt_ms, quality.jitter_ms, quality.loss_ratio, quality.gap_ms_max
                )
            )
        self._report(windows)

    @staticmethod
    def _epoch(monotonic_s: float) -> float:
        return round(time.time() - time.monotonic() + monotonic_s, 6)
