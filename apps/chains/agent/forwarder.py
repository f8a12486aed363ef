"""The process that moves packets on a device: ``python -m apps.chains.agent.forwarder KIND NAME FD``.

The role in the agent tells it what to do and hears what happened, as lines of JSON over one socket:

    to it    {"spec": {...}, "number": n}
    from it  {"applied": n, "error": null | [field, limit]}   {"event": name, "data": {...}}
             {"samples": {...}}   {"state": {...}}

Single-threaded: whatever is ready is read in bursts, executed, and what came of it is sent before the next wait.
"""

import gc
import json
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from apps.chains.agent.classifier_loop import ClassifierLoop
from apps.chains.agent.packet_sockets import PacketSocket, mtu_ensure
from apps.chains.agent.plane import Plane
from apps.chains.agent.plane_reports import BY_FABRIC, BY_ITSELF, mirrors_of, server_columns
from apps.chains.agent.specs import PlaneSpec, parse_classifier_spec, parse_server_spec
from apps.chains.agent.worker_link import Item, WorkerLink
from apps.chains.agent.worker_start import check_nf, is_recoverable, start_worker
from apps.chains.engine.shim import ETHER_TYPE
from nfvportal.lab.kernel import die_with_parent, wait_precisely
from nfvportal.lib.errors import InvalidInputError

FABRIC_MTU: Final = 1600
BUSY_TICK_S: Final = 0.005
IDLE_TICK_S: Final = 0.2
REPORT_EVERY_S: Final = 1.0
SLOW_READS_MAX: Final = 16_000_000


class Forwarder:
    """One device's share of all paths.

    Args:
        kind: ``server`` or ``classifier``.
        name: this device in operator tables.
        control: connected to the role.
    """

    def __init__(self, kind: str, name: str, control: socket.socket) -> None:
        self._is_classifier = kind == "classifier"
        self._control = control
        self._buffer = b""
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._plane = Plane(name, self._send, self._deliver, self._emit)
        self._links: dict[str, WorkerLink] = {}
        self._link_fds: dict[str, int] = {}
        self._fabric: PacketSocket | None = None
        self._classifier: ClassifierLoop | None = None
        self._state_nonce = ""
        self._is_running = True
        self._watch(control.fileno(), self._read_control)

    def run(self) -> None:
        """Work until the role closes the socket."""
        next_tick_s = next_report_s = time.monotonic()
        while self._is_running:
            now_s = time.monotonic()
            if now_s >= next_tick_s:
                self._tick(now_s)
                next_tick_s = now_s + (BUSY_TICK_S if self._is_busy() else IDLE_TICK_S)
            if now_s >= next_report_s:
                self._report()
                next_report_s = now_s + REPORT_EVERY_S
            pause_s = max(0.0, min(next_tick_s, next_report_s) - now_s)
            for descriptor, _ in self._poll.poll(pause_s, 64):
                handler = self._handlers.get(descriptor)
                if handler is not None:
                    handler()
            self._flush()
        for link in self._links.values():
            link.close()

    def _is_busy(self) -> bool:
        if self._classifier is not None and self._classifier.is_busy:
            return True
        return any(
            merger.depth for run in self._plane.runs.values() for merger in run.mergers.values()
        ) or any(link.depth or link.restart_at_s is not None for link in self._links.values())

    def _tick(self, now_s: float) -> None:
        self._plane.tick(int(now_s * 1e6))
        for link in self._links.values():
            link.restart_if_due()
            self._watch_link(link)
        if self._classifier is not None:
            self._classifier.tick()

    def _flush(self) -> None:
        for link in self._links.values():
            if link.has_unsent:
                link.flush()

    def _watch(self, descriptor: int, handler: Callable[[], None]) -> None:
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, select.EPOLLIN)

    def _unwatch(self, descriptor: int) -> None:
        self._handlers.pop(descriptor, None)
        try:
            self._poll.unregister(descriptor)
        except (OSError, ValueError):
            return  # closed, so it left by itself

    def _watch_link(self, link: WorkerLink) -> None:
        """Poll the socket of the network function's newest process."""
        descriptor = link.end.fileno() if link.pid else -1
        known = self._link_fds.get(link.spec.key, -1)
        if descriptor == known and descriptor in self._handlers:
            return
        if known >= 0:
            self._unwatch(known)
        self._link_fds[link.spec.key] = descriptor
        if descriptor >= 0:
            self._unwatch(descriptor)
            self._watch(descriptor, lambda: self._read_link(link))

    def _read_link(self, link: WorkerLink) -> None:
        pid = link.pid
        link.read()
        if link.pid != pid:
            # The new socket may have the old one's number: register it anew in any case.
            self._link_fds.pop(link.spec.key, None)
            self._watch_link(link)

    def _send(self, frame: bytes) -> None:
        if self._fabric is not None:
            self._fabric.send(frame)

    def _deliver(self, item: Item) -> None:
        if self._classifier is not None:
            self._classifier.deliver(item)
        else:
            self._plane.counters["not_mine"] += 1

    def _read_fabric(self) -> None:
        assert self._fabric is not None
        now_us = time.time_ns() // 1000
        own_mac = self._fabric.mac
        for frame in self._fabric.frames():
            # A switch that does not know an address yet sends to all.
            if frame[:6] == own_mac or frame[0] & 1:
                self._plane.arrive(frame, now_us)

    def _read_control(self) -> None:
        try:
            data = self._control.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or len(self._buffer) > SLOW_READS_MAX:
            self._is_running = False
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            error: list[str] | None = None
            try:
                self._apply(message["spec"])
            except InvalidInputError as problem:
                error = [problem.field, problem.limit]
            except OSError as problem:
                error = ["fabric", f"the device cannot use it: {problem}"]
            self._tell({"state": self._state()})
            self._tell({"applied": message["number"], "error": error})

    def _apply(self, raw: dict[str, Any]) -> None:
        spec = parse_classifier_spec(raw) if self._is_classifier else parse_server_spec(raw)
        for nf in spec.nfs:
            check_nf(nf)
        self._open_fabric(spec.fabric)
        self._start_new(spec)
        self._plane.install(spec.paths)
        if self._is_classifier:
            self._apply_classifier(spec)
        self._stop_old(spec)
        self._ask_states(spec.state_nonce)

    def _ask_states(self, nonce: str) -> None:
        """Ask every network function once per nonce what its state is."""
        if nonce and nonce != self._state_nonce:
            for link in self._links.values():
                link.ask_state(nonce)
        self._state_nonce = nonce

    def _open_fabric(self, interface: str) -> None:
        if self._fabric is not None and self._fabric.interface == interface:
            return
        mtu_ensure(interface, FABRIC_MTU)
        opened = PacketSocket(interface, ETHER_TYPE)
        if self._fabric is not None:
            self._unwatch(self._fabric.fileno())
            self._fabric.close()
        self._fabric = opened
        self._plane.own_mac = opened.mac
        self._watch(opened.fileno(), self._read_fabric)

    def _apply_classifier(self, spec: PlaneSpec) -> None:
        if self._classifier is None:
            self._classifier = ClassifierLoop(self._plane, self._emit)
        for opened, closed in self._classifier.apply(spec):
            if closed >= 0:
                self._unwatch(closed)
            self._watch(opened.fileno(), self._classifier.reader(opened))

    def _start_new(self, spec: PlaneSpec) -> None:
        for nf in spec.nfs:
            link = self._links.get(nf.key)
            if link is None:
                link = WorkerLink(
                    nf, start_worker, self._plane.leave_nf, self._emit, is_recoverable=is_recoverable(nf)
                )
                self._links[nf.key] = link
                self._watch_link(link)
            link.spec = nf
        self._plane.links |= {
            (nf.path, epoch, index): self._links[nf.key]
            for nf in spec.nfs
            for epoch, index in nf.indexes.items()
        }

    def _stop_old(self, spec: PlaneSpec) -> None:
        wanted = {nf.key for nf in spec.nfs}
        self._plane.links = {
            place: link for place, link in self._plane.links.items() if link.spec.key in wanted
        }
        for key in self._links.keys() - wanted:
            link = self._links.pop(key)
            descriptor = self._link_fds.pop(key, -1)
            if descriptor >= 0:
                self._unwatch(descriptor)
            link.close()

    def _emit(self, event: str, data: dict[str, object]) -> None:
        self._tell({"event": event, "data": data})

    def _report(self) -> None:
        if self._fabric is not None:
            self._plane.counters["fabric_overflow"] += self._fabric.overflow_count()
        if self._plane.runs:
            columns = server_columns(self._plane, self._links.values())
            if self._classifier is not None:
                columns = self._classifier.columns()
            if columns["at_s"]:
                self._tell({"samples": columns})
        self._tell({"state": self._state()})

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "epochs": sorted([path, epoch] for path, epoch in self._plane.runs),
            "counters": dict(self._plane.counters),
            "mirror": BY_FABRIC if any(run.spec.groups for run in self._plane.runs.values()) else BY_ITSELF,
            "mirrors": mirrors_of(self._plane),
            "fabric_dropped": self._fabric.dropped if self._fabric is not None else 0,
            "mac": self._plane.own_mac.hex(":"),
            "nfs": {
                link.spec.instance: {"pid": link.pid, "queue": link.depth, **link.counters, **link.figures}
                for link in self._links.values()
            },
        }
        if self._classifier is not None:
            state |= self._classifier.state()
        return state

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self._control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._is_running = False


def main() -> None:
    """Serve until the role goes away."""
    kind, name, descriptor = sys.argv[1], sys.argv[2], int(sys.argv[3])
    die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wait_precisely()
    control = socket.socket(fileno=descriptor)
    control.setblocking(True)
    gc.freeze()
    Forwarder(kind, name, control).run()


if __name__ == "__main__":
    main()
