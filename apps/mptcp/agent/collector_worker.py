"""The collector's thread: takes datagrams of sFlow and IPFIX from exporters that are allowed, and decodes them.

Who sends a datagram is known only by its address, which on an open network anybody can forge: the list of exporters
keeps out mistakes and noise, rates and sizes bound what the rest can cost.
"""

import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from apps.mptcp.agent.record_outlet import RecordOutlet, SourceCounts
from apps.mptcp.engine.ipfix import IpfixDecoder
from apps.mptcp.engine.records import PacketRecords
from apps.mptcp.engine.sflow import SflowDecoder
from nfvportal.agent.role import RoleContext

DATAGRAM_BYTES_MAX: Final = 16_384
BURST: Final = 256
TURN_MS: Final = 100
SENDERS_KNOWN: Final = 4096
# TABLE: why a datagram is dropped.
NOT_ALLOWED, OVER_RATE, TOO_LONG = "not_allowed", "over_rate", "too_long"
_RECEIVE_BYTES: Final = 8 << 20
_SO_RXQ_OVFL, _SO_RCVBUFFORCE = 40, 33


@dataclass(frozen=True, slots=True)
class Exporter:
    """Who may send, and which observation point its samples are of."""

    network: IPv4Network | IPv6Network
    observer: int


@dataclass(frozen=True, slots=True)
class CollectorSpec:
    """Where to listen and to whom; see ``collector``. A port is ``None`` where nothing listens."""

    address: str
    sflow_port: int | None
    ipfix_port: int | None
    exporters: tuple[Exporter, ...]
    datagram_rate_max: int = 2000


@dataclass(slots=True)
class Sender:
    """An address datagrams came from. ``observer`` is ``None``: not allowed."""

    name: str
    observer: int | None
    allowance: float
    refilled_s: float


@dataclass(slots=True)
class _Listener:
    """One socket; ``kernel_drops`` is what the kernel dropped because we were too slow."""

    socket: socket.socket
    is_sflow: bool
    kernel_drops: int = 0


class Senders:
    """Judges datagrams by their sender; those heard last are remembered."""

    def __init__(self, exporters: Sequence[Exporter], rate_max: int) -> None:
        self._exporters = exporters
        self._rate_max = rate_max
        self._known: dict[str, Sender] = {}

    def admit(self, address: str, now_s: float) -> Sender | str:
        """Return the sender, or why its datagram is dropped."""
        sender = self._known.get(address)
        if sender is None:
            if len(self._known) >= SENDERS_KNOWN:
                del self._known[next(iter(self._known))]
            sender = self._known[address] = self._new(address, now_s)
        if sender.observer is None:
            return NOT_ALLOWED
        passed_s = now_s - sender.refilled_s
        sender.allowance = min(self._rate_max, sender.allowance + passed_s * self._rate_max)
        sender.refilled_s = now_s
        if sender.allowance < 1:
            return OVER_RATE
        sender.allowance -= 1
        return sender

    def _new(self, address: str, now_s: float) -> Sender:
        parsed = ip_address(address.partition("%")[0])
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        found = (
            one.observer
            for one in self._exporters
            if one.network.version == parsed.version and parsed in one.network
        )
        return Sender(str(parsed), next(found, None), float(self._rate_max), now_s)


@dataclass(slots=True)
class CollectorCounts:
    """Datagrams taken, and dropped by reason."""

    datagram_count: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def open_listener(address: str, port: int, *, is_sflow: bool) -> _Listener:
    """Return a listener.

    Raises:
        OSError: the address is not ours, or the port is taken or not for us.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        except PermissionError:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        opened.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
        opened.bind((address, port))
    except OSError:
        opened.close()
        raise
    return _Listener(opened, is_sflow)


class CollectorWorker:
    """One thread for both ports.

    Args:
        listeners: open already: whoever starts the worker wants to know why that fails.
    """

    def __init__(self, context: RoleContext, spec: CollectorSpec, listeners: Sequence[_Listener]) -> None:
        self.spec = spec
        self.counts = SourceCounts()
        self.collected = CollectorCounts()
        self.outlet = RecordOutlet(context, spec.exporters[0].observer, None)
        self._listeners = listeners
        self._senders = Senders(spec.exporters, spec.datagram_rate_max)
        self._sflow, self._ipfix = SflowDecoder(), IpfixDecoder()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mptcp collector", daemon=True)
        self._thread.start()

    @property
    def malformed_count(self) -> int:
        """Broken datagrams, packets and options so far."""
        return self._sflow.report.malformed_count + self._ipfix.report.malformed_count

    @property
    def ports(self) -> dict[str, int]:
        """Where it listens."""
        return {
            "sflow" if one.is_sflow else "ipfix": int(one.socket.getsockname()[1]) for one in self._listeners
        }

    def stop(self) -> None:
        """End the thread and close the sockets."""
        self._stop.set()
        self._thread.join()
        for listener in self._listeners:
            listener.socket.close()

    def _run(self) -> None:
        poll = select.poll()
        by_descriptor = {listener.socket.fileno(): listener for listener in self._listeners}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        while not self._stop.is_set():
            for descriptor, _ in poll.poll(TURN_MS):
                self._take(by_descriptor[descriptor])
            self.counts.kernel_drop_count = sum(one.kernel_drops for one in self._listeners)
            self.counts.packet_count = self._sflow.report.packet_count + self._ipfix.report.packet_count
            self.counts.more = self._told()
            self.outlet.tick(self.counts, time.monotonic())
        self.outlet.close(self.counts, time.monotonic())

    def _told(self) -> dict[str, int]:
        """Return what operators see of a collector beside what every source counts."""
        reasons = (NOT_ALLOWED, OVER_RATE, TOO_LONG)
        return {
            **{f"{name}_port": port for name, port in self.ports.items()},
            "datagram_count": self.collected.datagram_count,
            "malformed_count": self.malformed_count,
            "record_count": self.outlet.record_count,
            **{f"{reason}_count": self.collected.dropped[reason] for reason in reasons},
        }

    def _take(self, listener: _Listener) -> None:
        """Take what is there, at most a burst, so that the other port and the clock get their turn."""
        parts = []
        for _ in range(BURST):
            try:
                data, ancillary, flags, peer = listener.socket.recvmsg(
                    DATAGRAM_BYTES_MAX, socket.CMSG_SPACE(4)
                )
            except OSError:  # nothing is left, or the network answered something we sent: we never send
                break
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, _SO_RXQ_OVFL):
                    listener.kernel_drops = struct.unpack("=I", value)[0]
            records = self._judge(listener, data, peer[0], is_cut=bool(flags & socket.MSG_TRUNC))
            if len(records):
                parts.append(records)
        if parts:
            self.outlet.add(PacketRecords.joined(parts), self.counts, time.monotonic())

    def _judge(self, listener: _Listener, data: bytes, address: str, *, is_cut: bool) -> PacketRecords:
        """Return the records of a datagram; none of one that is dropped."""
        sender = self._senders.admit(address, time.monotonic())
        reason = sender if isinstance(sender, str) else TOO_LONG if is_cut else ""
        if reason or isinstance(sender, str) or sender.observer is None:
            self.collected.dropped[reason] += 1
            return PacketRecords.zeros(0)
        self.collected.datagram_count += 1
        at_us = time.time_ns() // 1000
        if listener.is_sflow:
            return self._sflow.feed(data, at_us, sender.observer)
        return self._ipfix.feed(data, sender.name, at_us, sender.observer)
