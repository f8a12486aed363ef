"""The classifier on its interfaces: frames in, ids out, what comes back leaves in order."""

import time
from collections.abc import Callable
from typing import Any, Final

from apps.chains.agent.classifying import PathFlow, Rules, try_switch
from apps.chains.agent.packet_sockets import PacketSocket
from apps.chains.agent.plane import Emit, PathRun, Plane
from apps.chains.agent.plane_reports import percentile
from apps.chains.agent.specs import PlaneSpec, Stepped, Trace
from apps.chains.agent.worker_link import Item
from apps.chains.engine.operators import Hop

HELD_MAX: Final = 8192
DEFAULT_TIMEOUT_US: Final = 200_000


class ClassifierLoop:
    """See ``classifying``. Frames that no rule takes go straight on, in both directions."""

    def __init__(self, plane: Plane, emit: Emit) -> None:
        self._plane = plane
        self._emit = emit
        self._flows: dict[int, PathFlow] = {}
        self._rules = Rules(())
        self._next_rules = self._rules
        self._ingress: PacketSocket | None = None
        self._egress: PacketSocket | None = None
        self._trace: Trace | None = None
        self._trace_left = 0
        self._stepped: Stepped | None = None
        self._at_us = 0
        self._untouched = 0
        self._overflows = 0

    @property
    def is_busy(self) -> bool:
        """Whether something is under way or waits."""
        return any(flow.in_flight or flow.epoch != flow.wanted for flow in self._flows.values())

    def apply(self, spec: PlaneSpec) -> list[tuple[PacketSocket, int]]:
        """Follow a spec; return sockets that were opened, each with the descriptor it replaces or -1.

        Raises:
            OSError: an interface cannot be used.
        """
        changes = []
        for name, wanted in (("_ingress", spec.ingress), ("_egress", spec.egress)):
            old: PacketSocket | None = getattr(self, name)
            if old is not None and old.interface == wanted:
                continue
            opened = PacketSocket(wanted, is_promiscuous=True)
            changes.append((opened, old.fileno() if old is not None else -1))
            setattr(self, name, opened)
            if old is not None:
                old.close()
        self._next_rules = Rules(spec.rules)
        self._stepped = spec.stepped
        for path in spec.active.keys() | self._flows.keys():
            flow = self._flows.setdefault(path, PathFlow())
            flow.wanted = spec.active.get(path, 0)
            self._switch(path, flow)
        self._adopt_rules()
        if spec.trace is not None and (self._trace is None or self._trace.nonce != spec.trace.nonce):
            self._trace_left = spec.trace.count
        self._trace = spec.trace
        return changes

    def _adopt_rules(self) -> None:
        """Follow the newest rules once no path waits: until then its packets must not pass by those under way."""
        if all(flow.epoch == flow.wanted for flow in self._flows.values()):
            self._rules = self._next_rules

    def reader(self, opened: PacketSocket) -> Callable[[], None]:
        """Return what reads a socket when it has frames."""
        if opened is self._ingress:
            return self._read_ingress
        return self._read_egress

    def _read_ingress(self) -> None:
        assert self._ingress is not None
        now_us = self._now_us()
        for frame in self._ingress.frames():
            path = self._rules.path_of(frame)
            flow = self._flows.get(path) if path else None
            if flow is None or not (flow.epoch or flow.wanted):
                self._untouched += 1
                self._pass(frame)
                continue
            flow.counters["in"] += 1
            if flow.epoch == flow.wanted and not flow.held:
                self._launch(path, flow, frame, now_us)
            elif len(flow.held) < HELD_MAX:
                flow.held.append((frame, now_us))
            else:
                flow.counters["held_full"] += 1

    def _read_egress(self) -> None:
        assert self._egress is not None
        for frame in self._egress.frames():
            if self._ingress is not None:
                self._ingress.send(frame)

    def _pass(self, frame: bytes) -> None:
        if self._egress is not None:
            self._egress.send(frame)

    def _now_us(self) -> int:
        """Return the time for packets; it never goes back."""
        self._at_us = max(self._at_us, time.time_ns() // 1000)
        return self._at_us

    def _launch(self, path: int, flow: PathFlow, frame: bytes, at_us: int) -> None:
        run = self._plane.runs.get((path, flow.epoch))
        if run is None:
            flow.counters["no_table"] += 1
            return
        item_at_us = at_us
        if self._stepped is not None:
            item_at_us = self._stepped.start_us + flow.next_id * self._stepped.step_us
        item = Item(run, flow.next_id, item_at_us, frame)
        flow.next_id += 1
        flow.mark_sent(at_us)
        if self._trace_left and self._trace is not None and self._trace.path == path:
            self._trace_left -= 1
            item.is_traced = True
        self._plane.forward(run, Hop(run.spec.table.first), item)

    def deliver(self, item: Item) -> None:
        """Take what came out of a path."""
        run = item.path
        assert isinstance(run, PathRun)
        flow = self._flows.get(run.spec.path)
        if flow is None:
            return
        now_us = time.time_ns() // 1000
        is_nil = item.data is None
        may_leave = flow.came_back(item.packet_id, now_us, item.at_us, is_nil, item.dropped_by)
        if may_leave and item.data is not None:
            self._pass(item.data)
        if item.is_traced:
            self._emit(
                "trace",
                {
                    "nonce": self._trace.nonce if self._trace is not None else "",
                    "path": run.spec.path,
                    "packet_id": item.packet_id,
                    "fate": "dropped" if is_nil else "released",
                    "dropped_by": item.dropped_by if is_nil else None,
                    "latency_us": now_us - item.at_us,
                    "at_us": now_us,
                },
            )
        if flow.epoch != flow.wanted and not flow.in_flight:
            self._switch(run.spec.path, flow)

    def tick(self) -> None:
        """Give up what is under way for too long; move to the next epoch where that was waited for."""
        now_us = self._now_us()
        for path, flow in self._flows.items():
            flow.give_up(now_us, 2 * self._timeout_us(path, flow))
            self._switch(path, flow)

    def _timeout_us(self, path: int, flow: PathFlow) -> int:
        run = self._plane.runs.get((path, flow.epoch))
        return run.spec.timeout_us if run is not None else DEFAULT_TIMEOUT_US

    def _switch(self, path: int, flow: PathFlow) -> None:
        now_us = self._now_us()
        under_way = flow.in_flight
        if not try_switch(flow, now_us, 2 * self._timeout_us(path, flow)):
            return
        held, lost = len(flow.held), under_way - flow.in_flight
        while flow.held:
            frame, at_us = flow.held.popleft()
            if flow.epoch:
                self._launch(path, flow, frame, at_us)
            else:
                self._pass(frame)
        self._adopt_rules()
        self._emit(
            "epoch_active",
            {
                "path": path,
                "epoch": flow.epoch,
                "held_packets": held,
                "waited_ms": round((now_us - flow.wait_since_us) / 1000, 3),
                "lost": lost,
            },
        )

    def columns(self) -> dict[str, list[object]]:
        """Return counters per path, and the last second's latencies, which start anew."""
        columns: dict[str, list[object]] = {}
        for path, flow in self._flows.items():
            latencies = sorted(flow.latencies_us)
            flow.latencies_us = []
            bins, flow.bins = flow.bins, [0] * len(flow.bins)
            row = {
                "at_s": round(time.time(), 3),
                "path": path,
                "epoch": flow.epoch,
                "in": flow.counters["in"],
                "out": flow.counters["out"],
                "dropped": flow.counters["dropped"],
                "timed_out": flow.counters["timed_out"] + flow.counters["lost"],
                "in_flight": flow.in_flight,
                "held": len(flow.held),
                "latency_us_p50": percentile(latencies, 0.5),
                "latency_us_p95": percentile(latencies, 0.95),
                "latency_us_p99": percentile(latencies, 0.99),
                "latency_bins": bins,
            }
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
        return columns or {"at_s": []}

    def state(self) -> dict[str, Any]:
        """Return what is active and counted."""
        for opened in (self._ingress, self._egress):
            self._overflows += opened.overflow_count() if opened is not None else 0
        return {
            "active": {str(path): flow.epoch for path, flow in self._flows.items()},
            "untouched": self._untouched,
            "overflow": self._overflows,
            "flows": {
                str(path): {
                    **flow.counters,
                    "in_flight": flow.in_flight,
                    "dropped_by": {str(index): count for index, count in flow.dropped_by.items()},
                }
                for path, flow in self._flows.items()
            },
        }
