"""The sensor's thread: takes what the kernel sampled on an interface, decodes it and hands it on."""

import logging
import select
import socket
import threading
import time
from dataclasses import dataclass
from typing import Final

from apps.mptcp.agent.packet_filter import sampling_program
from apps.mptcp.agent.packet_ring import LINK_RAW, PacketRing, pcap_head
from apps.mptcp.agent.record_outlet import RecordOutlet, SourceCounts
from apps.mptcp.engine.capture import CaptureDecoder
from nfvportal.agent.role import RoleContext

logger = logging.getLogger(__name__)
TURN_MS: Final = 100
LOOK_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class SensorSpec:
    """What to sample; see ``sensor``."""

    interface: str
    sampling_ratio: float = 0.01
    mptcp_only: bool = True
    snaplen: int = 128
    observer: int = 0


def open_ring(spec: SensorSpec) -> PacketRing:
    """Return the ring of a spec.

    Raises:
        OSError: no such interface, or no packet sockets here.
    """
    program = sampling_program(spec.sampling_ratio, spec.snaplen, mptcp_only=spec.mptcp_only)
    return PacketRing(spec.interface, program)


class SensorWorker:
    """One thread. When the interface goes away it waits for one of the same name.

    Args:
        ring: the first ring, open already: whoever starts the worker wants to know why that fails.
    """

    def __init__(self, context: RoleContext, spec: SensorSpec, ring: PacketRing) -> None:
        self.spec = spec
        self.counts = SourceCounts()
        self.outlet = RecordOutlet(context, spec.observer, spec.sampling_ratio)
        self._context = context
        self._ring: PacketRing | None = ring
        self._before = (0, 0)  # counts of rings that are gone
        self._decoder = CaptureDecoder(spec.observer)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sensor {spec.interface}", daemon=True)
        self._thread.start()

    @property
    def malformed_count(self) -> int:
        """Broken packets and options so far."""
        return self._decoder.report.malformed_count

    def stop(self) -> None:
        """End the thread and give the ring back."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        self._decoder.feed(pcap_head(LINK_RAW, self.spec.snaplen))
        looked_s = time.monotonic()
        while not self._stop.is_set():
            self._take()
            now_s = time.monotonic()
            if now_s - looked_s >= LOOK_EVERY_S:
                looked_s = now_s
                self._look_after()
            self.outlet.tick(self.counts, now_s)
        self.outlet.close(self.counts, time.monotonic())
        if self._ring is not None:
            self._ring.close()

    def _take(self) -> None:
        if self._ring is None:
            self._stop.wait(TURN_MS / 1000)
            return
        poll = select.poll()
        poll.register(self._ring.fileno(), select.POLLIN)
        events = poll.poll(TURN_MS)
        taken = self._ring.take()
        if taken:
            self.outlet.add(self._decoder.feed(taken), self.counts, time.monotonic())
        elif events and events[0][1] & select.POLLERR:
            self._lose("it went down")

    def _look_after(self) -> None:
        """Read the kernel's counters; notice that the interface is another one, or there again."""
        if self._ring is None:
            self._return()
            return
        counts = self._ring.counts()
        self.counts.packet_count = self._before[0] + counts.packet_count
        self.counts.kernel_drop_count = self._before[1] + counts.drop_count
        try:
            if socket.if_nametoindex(self.spec.interface) != self._ring.interface_index:
                self._lose("it was replaced")
        except OSError:
            self._lose("it is gone")

    def _lose(self, reason: str) -> None:
        assert self._ring is not None
        counts = self._ring.counts()
        self._before = (self._before[0] + counts.packet_count, self._before[1] + counts.drop_count)
        self.counts.packet_count, self.counts.kernel_drop_count = self._before
        self._ring.close()
        self._ring = None
        self.counts.is_up = False
        logger.warning("cannot sample %s: %s", self.spec.interface, reason)
        self._tell("mptcp.sensor_failed", reason)

    def _return(self) -> None:
        try:
            ring = open_ring(self.spec)
        except OSError:
            return
        if ring.error():  # it exists but is down: who binds is told so at once
            ring.close()
            return
        self._ring = ring
        self.counts.is_up = True
        self._tell("mptcp.sensor_recovered", "")

    def _tell(self, event: str, reason: str) -> None:
        data = {"interface": self.spec.interface, "observer": self.spec.observer, "reason": reason}
        self._context.emit(event, data)
