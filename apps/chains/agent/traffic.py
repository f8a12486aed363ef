"""Role ``chains.traffic``: sends the published mix of packets, or those of a capture file, at a rate; or counts them.

Spec of a sender: ``{"part": "sender", "interface": "lan0", "rate_pps": 200, "seed": 1}``, with ``"capture": PATH`` a
file of the device instead of the mix. Of a receiver: ``{"part": "receiver", "interface": "lan0"}``. ``{}`` stops.
"""

import asyncio
import contextlib
import select
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from apps.chains.agent.packet_sockets import PacketSocket
from apps.chains.engine.capture_file import read_pcap
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource
from nfvportal.agent.role import RoleContext
from nfvportal.lib.errors import InvalidInputError

REPORT_EVERY_S: Final = 1.0
ROUND_S: Final = 0.005
RATE_MAX: Final = 100_000
# So many frames are made once and sent again and again: making one costs more than sending it.
FRAMES_KEPT: Final = 4096
FRAME_MIN, FRAME_MAX = 14, 1514
BEHIND_MAX_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class TrafficSpec:
    """What to do; ``part`` empty for nothing."""

    part: str = ""
    interface: str = ""
    rate_pps: float = 0.0
    seed: int = 1
    capture: str = ""


def parse_traffic_spec(spec: Mapping[str, Any]) -> TrafficSpec:
    """Return the spec.

    Raises:
        InvalidInputError: a field breaks its limit.
    """
    if not spec:
        return TrafficSpec()
    part, interface = spec.get("part"), spec.get("interface")
    if part not in ("sender", "receiver"):
        raise InvalidInputError("part", "must be sender or receiver")
    if not isinstance(interface, str) or not 0 < len(interface) <= 15:
        raise InvalidInputError("interface", "must be the name of an interface")
    if part == "receiver":
        return TrafficSpec(part, interface)
    rate_pps, seed, capture = spec.get("rate_pps"), spec.get("seed", 1), spec.get("capture", "")
    if isinstance(rate_pps, bool) or not isinstance(rate_pps, int | float) or not 0 < rate_pps <= RATE_MAX:
        raise InvalidInputError("rate_pps", f"must be above 0 and at most {RATE_MAX}")
    if not isinstance(seed, int) or not 0 <= seed < 1 << 32:
        raise InvalidInputError("seed", "must be a whole number from 0 to 4294967295")
    if not isinstance(capture, str) or len(capture) > 4096:
        raise InvalidInputError("capture", "must be a path")
    return TrafficSpec(part, interface, float(rate_pps), seed, capture)


def frames_of(spec: TrafficSpec) -> list[bytes]:
    """Return what a sender sends, over and over.

    Raises:
        InvalidInputError: the capture file cannot be read, or holds nothing that can be sent.
    """
    if spec.capture:
        try:
            with Path(spec.capture).open("rb") as file:
                frames = [frame for _, frame in zip(range(FRAMES_KEPT), read_pcap(file), strict=False)]
                found = [data for _, data in frames]
        except OSError as error:
            raise InvalidInputError("capture", f"must be readable ({error.strerror})") from error
    else:
        found = list(TrafficSource(TrafficMix(ipv6_ratio=0.0), spec.seed).frames(FRAMES_KEPT))
    fitting = [frame for frame in found if FRAME_MIN <= len(frame) <= FRAME_MAX]
    if not fitting:
        raise InvalidInputError("capture", f"must hold frames of {FRAME_MIN} to {FRAME_MAX} bytes")
    return fitting


class _Worker:
    """One thread that sends or counts."""

    def __init__(self, spec: TrafficSpec) -> None:
        self.spec = spec
        self.packets = 0
        self.bytes = 0
        self._frames = frames_of(spec) if spec.part == "sender" else []
        try:
            self._link = PacketSocket(spec.interface, is_promiscuous=spec.part == "receiver")
        except OSError as error:
            raise InvalidInputError("interface", f"cannot be used: {error}") from error
        self._stop = threading.Event()
        body = self._send if spec.part == "sender" else self._receive
        self._thread = threading.Thread(target=body, name=f"traffic {spec.part}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()
        self._link.close()

    def _send(self) -> None:
        frames, interval_s = self._frames, 1 / self.spec.rate_pps
        due_s, index = time.monotonic(), 0
        while not self._stop.wait(max(ROUND_S, interval_s)):
            now_s = time.monotonic()
            # After a long pause, what was missed is not made up for in one burst.
            due_s = max(due_s, now_s - BEHIND_MAX_S)
            while due_s <= now_s:
                frame = frames[index]
                index = (index + 1) % len(frames)
                self._link.send(frame)
                self.packets += 1
                self.bytes += len(frame)
                due_s += interval_s

    def _receive(self) -> None:
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        while not self._stop.is_set():
            if poll.poll(200):
                for frame in self._link.frames():
                    self.packets += 1
                    self.bytes += len(frame)


class Traffic:
    """The role; see nfvportal.agent.role.Role."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._worker: _Worker | None = None
        self._reporter: asyncio.Task[None] | None = None

    async def apply(self, spec: Mapping[str, Any]) -> None:
        """Send or count as the spec says.

        Raises:
            InvalidInputError: a field breaks its limit, or the interface or the capture file cannot be used.
        """
        wanted = parse_traffic_spec(spec)
        if self._worker is not None:
            if self._worker.spec == wanted:
                return
            await asyncio.to_thread(self._worker.stop)
            self._worker = None
        if wanted.part:
            self._worker = await asyncio.to_thread(_Worker, wanted)
        if self._reporter is None:
            self._reporter = asyncio.create_task(self._report(), name="chains-traffic-report")

    def snapshot(self) -> Mapping[str, object]:
        """Return what is done and how much so far."""
        if self._worker is None:
            return {"part": "", "packets": 0}
        return {"part": self._worker.spec.part, "packets": self._worker.packets}

    async def close(self) -> None:
        """Stop."""
        if self._reporter is not None:
            self._reporter.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reporter
        if self._worker is not None:
            await asyncio.to_thread(self._worker.stop)

    async def _report(self) -> None:
        before = (0, 0, time.monotonic())
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            if (worker := self._worker) is None:
                continue
            now = (worker.packets, worker.bytes, time.monotonic())
            seconds = now[2] - before[2]
            packets, size = max(0, now[0] - before[0]), max(0, now[1] - before[1])
            before = now
            self._context.sample(
                {
                    "at_s": [round(time.time(), 3)],
                    "part": [worker.spec.part],
                    "packets": [worker.packets],
                    "rate_pps": [round(packets / seconds, 1)],
                    "rate_bps": [round(size * 8 / seconds)],
                }
            )
