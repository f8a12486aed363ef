"""The process that is an emulated link: it moves frames between two interfaces when the model says so.

A thin shell around two ``LinkDirection`` machines. Orders come and answers go over a socket pair as JSON.
"""

import contextlib
import errno
import gc
import json
import os
import random
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from nfvportal.lab.bring_up import RelayPorts
from nfvportal.lab.faults import Fault, blocked_directions, shape_under_fault
from nfvportal.lab.kernel import die_with_parent, schedule_realtime, set_interface_up, wait_precisely
from nfvportal.lab.link_model import LinkDirection
from nfvportal.lab.topology import LinkShape

ORDER_MAX_BYTES = 4_096
REALTIME_PRIORITY = 20
# Frames taken from one side before the other gets its turn: 64 full frames are 15 ms of a 50 Mbit/s link.
BATCH_FRAMES = 64
# Rounds that follow each other at once wait for company: half the wake-ups under load, and a frame on its own is
# not delayed. Sending times come from the model, so rates and their order stay exact.
PACE_S = 0.000_5
FRAME_MAX_BYTES = 2_048
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_PACKET_QDISC_BYPASS = 20
_PACKET_IGNORE_OUTGOING = 23
_ETH_P_ALL = 0x0003
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 8 * 1024 * 1024
_ETHERTYPE_IPV4 = b"\x08\x00"
_DSCP_CS6 = 48
# A full device queue or an interface that is down loses the frame, as a wire would.
_SEND_ERRORS_THAT_LOSE = frozenset({errno.ENOBUFS, errno.ENETDOWN, errno.EAGAIN, errno.EMSGSIZE, errno.ENXIO})


def is_priority(frame: bytes) -> bool:
    """Whether a frame belongs in the priority lane: IPv4 with DSCP CS6, which probes carry."""
    return len(frame) > 15 and frame[12:14] == _ETHERTYPE_IPV4 and frame[15] >> 2 == _DSCP_CS6


class Side:
    """One end: where frames come in, and the direction that they leave by."""

    __slots__ = ("_lost_late", "direction", "out", "port", "source")

    def __init__(
        self, source: socket.socket, out: socket.socket, port: str, direction: LinkDirection[bytes]
    ) -> None:
        self.source = source
        self.out = out
        self.port = port
        self.direction = direction
        self._lost_late = 0

    def take_in(self, clock: Callable[[], float]) -> None:
        """Offer waiting frames to the model, at most one batch."""
        receive, offer = self.source.recv, self.direction.offer
        try:
            for _ in range(BATCH_FRAMES):
                frame = receive(FRAME_MAX_BYTES)
                offer(clock(), len(frame), is_priority(frame), frame)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise

    def send_due(self, now_s: float) -> None:
        """Send the frames whose time has come."""
        send = self.out.send
        for frame in self.direction.deliver(now_s):
            try:
                send(frame)
            except OSError as error:
                if error.errno not in _SEND_ERRORS_THAT_LOSE:
                    raise

    def counters(self) -> dict[str, int]:
        """Return the model's counters, and how many frames the kernel dropped because this process came too late."""
        # Reading the kernel's statistics sets them back to zero.
        statistics = self.source.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._lost_late += struct.unpack("II", statistics)[1]
        return asdict(self.direction.counters) | {"lost_late": self._lost_late}


class Relay:
    """One emulated link: two sides, a fault or none, and the orders of the lab."""

    def __init__(self, name: str, shape: LinkShape, ports: RelayPorts, orders: socket.socket) -> None:
        a, b = _open_port(ports.a), _open_port(ports.b)
        self._shape = shape
        self._orders = orders
        self._fault: Fault | None = None
        self._sides = (
            Side(a, b, ports.a, LinkDirection(shape, random.Random(f"{name} ab").random)),  # noqa: S311  # loss, no secret
            Side(b, a, ports.b, LinkDirection(shape, random.Random(f"{name} ba").random)),  # noqa: S311
        )

    def run(self) -> None:
        """Move frames until the lab closes the order socket."""
        side_a, side_b = self._sides
        sources = [side_a.source, side_b.source, self._orders]
        clock, wait, sleep = time.monotonic, select.select, time.sleep
        next_round_s = 0.0
        while True:
            next_at_s = min(side_a.direction.next_at_s(), side_b.direction.next_at_s())
            wait_s = None if next_at_s == float("inf") else max(0.0, next_at_s - clock())
            ready = wait(sources, (), (), wait_s)[0]
            if (early_s := next_round_s - clock()) > 0:
                sleep(early_s)
            next_round_s = clock() + PACE_S
            if ready:
                if self._orders in ready and not self._take_order():
                    return
                for side in self._sides:
                    if side.source in ready:
                        side.take_in(clock)
            now_s = clock()
            side_a.send_due(now_s)
            side_b.send_due(now_s)

    def _take_order(self) -> bool:
        data = self._orders.recv(ORDER_MAX_BYTES)
        if not data:
            return False
        order: dict[str, Any] = json.loads(data)
        if order["op"] == "set":
            answer: dict[str, Any] = {
                "at_s": self._set_fault(Fault(**order["fault"]) if order["fault"] else None)
            }
        else:
            ab, ba = (side.counters() for side in self._sides)
            answer = {"ab": ab, "ba": ba}
        self._orders.send(json.dumps(answer).encode())
        return True

    def _set_fault(self, fault: Fault | None) -> float:
        """Switch to a fault (or none) and return the epoch time at which frames were first treated by it."""
        had_carrier = self._fault is None or self._fault.kind != "carrier"
        self._fault = fault
        has_carrier = fault is None or fault.kind != "carrier"
        if has_carrier and not had_carrier:
            # Before the link heals: frames need both interfaces.
            self._set_carrier(True)
        shape, now_s = shape_under_fault(self._shape, fault), time.monotonic()
        for index, (side, is_blocked) in enumerate(zip(self._sides, blocked_directions(fault), strict=True)):
            side.direction.reshape(shape, now_s)
            side.direction.block(is_blocked, now_s)
            if fault is not None and fault.seed is not None:
                side.direction.reseed(random.Random(fault.seed * 2 + index).random)  # noqa: S311
        at_s = time.time()
        if had_carrier and not has_carrier:
            # Takes milliseconds in the kernel; the link is blocked already.
            self._set_carrier(False)
        return at_s

    def _set_carrier(self, is_up: bool) -> None:
        for side in self._sides:
            set_interface_up(side.port, is_up)


def start_relay(name: str, shape: LinkShape, ports: RelayPorts) -> tuple[int, socket.socket]:
    """Fork the process of one link; returns its pid and the socket that takes orders."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent_pid = os.getpid()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    ours.close()
    try:
        die_with_parent(signal.SIGKILL, parent_pid)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        wait_precisely()
        schedule_realtime(REALTIME_PRIORITY)
        relay = Relay(name, shape, ports, theirs)
        # Nothing here makes cycles; a collection would only make a frame late.
        gc.freeze()
        gc.disable()
        theirs.send(b"{}")
        relay.run()
    finally:
        os._exit(1)


def _open_port(port: str) -> socket.socket:
    source = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    source.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    source.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
    for buffer, forced in ((socket.SO_RCVBUF, _SO_RCVBUFFORCE), (socket.SO_SNDBUF, 32)):
        try:
            source.setsockopt(socket.SOL_SOCKET, forced, _BUFFER_BYTES)
        except PermissionError:
            with contextlib.suppress(OSError):
                source.setsockopt(socket.SOL_SOCKET, buffer, _BUFFER_BYTES)
    source.setblocking(False)
    # Bound last: nothing arrives before the options hold.
    source.bind((port, _ETH_P_ALL))
    return source
