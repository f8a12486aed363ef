"""The classifier's part: which packets take which path, their ids and times, and when an epoch may follow another.

Packets of a path come out in the order of their ids, and what was dropped comes out as a nil, so what is in flight is
known exactly: ids given out, less the newest id that came back. A new epoch starts when nothing of the old one is in
flight any more; packets that arrive meanwhile wait. So each network function sees them in one order, across epochs.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from apps.chains.agent.specs import Match
from apps.chains.engine.fields import Field
from apps.chains.engine.packet import parse
from apps.chains.engine.protocols import TCP, UDP

FLOWS_MAX: Final = 65_536
BINS: Final = 32
# Where ports and TCP header end in a frame with an IPv4 header without options.
PORTS_END: Final = 38
TCP_END: Final = 54
LATENCIES_MAX: Final = 4000


class PathFlow:
    """What the classifier knows of one path.

    Attributes:
        epoch: epoch that new packets take; 0 for none.
        wanted: epoch that follows once nothing is in flight; equal to ``epoch`` when nothing is to change.
        next_id: id of the next packet.
        last_id: newest id that came back.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.wanted = 0
        self.next_id = 1
        self.last_id = 0
        self.counters: Counter[str] = Counter()
        self.dropped_by: Counter[int] = Counter()
        self.held: deque[tuple[bytes, int]] = deque()
        self.wait_until_us = 0
        self.wait_since_us = 0
        self.sent_marks: deque[tuple[int, int]] = deque()
        self.latencies_us: list[float] = []
        self.bins = [0] * BINS

    @property
    def in_flight(self) -> int:
        """Packets under way."""
        return self.next_id - 1 - self.last_id

    def came_back(self, packet_id: int, now_us: int, at_us: int, is_nil: bool, dropped_by: int) -> bool:
        """Note what came out of the path; return whether it may go on."""
        counters = self.counters
        if packet_id <= self.last_id or packet_id >= self.next_id:
            counters["late"] += 1
            return False
        counters["lost"] += packet_id - self.last_id - 1
        self.last_id = packet_id
        while self.sent_marks and self.sent_marks[0][0] <= packet_id:
            self.sent_marks.popleft()
        if is_nil:
            counters["dropped"] += 1
            self.dropped_by[dropped_by] += 1
            return False
        counters["out"] += 1
        latency_us = now_us - at_us
        self.bins[min(max(latency_us, 1).bit_length() - 1, BINS - 1)] += 1
        if len(self.latencies_us) < LATENCIES_MAX:
            self.latencies_us.append(latency_us)
        return True

    def mark_sent(self, now_us: int) -> None:
        """Remember when the newest id was given out, to a millisecond."""
        newest = self.next_id - 1
        if self.sent_marks and now_us - self.sent_marks[-1][1] < 1000:
            self.sent_marks[-1] = (newest, self.sent_marks[-1][1])
        else:
            self.sent_marks.append((newest, now_us))

    def give_up(self, now_us: int, timeout_us: int) -> None:
        """Count what is under way for too long as timed out."""
        while self.sent_marks and self.sent_marks[0][1] + timeout_us <= now_us:
            packet_id, _ = self.sent_marks.popleft()
            if packet_id > self.last_id:
                self.counters["timed_out"] += packet_id - self.last_id
                self.last_id = packet_id


class Rules:
    """Ordered rules, remembered per flow: a dictionary lookup for all packets of a flow but the first.

    Complexity: O(1) for a known flow, O(rules) for a new one.
    """

    def __init__(self, rules: Sequence[tuple[int, Match]]) -> None:
        self._rules = rules
        self._known: OrderedDict[bytes, int] = OrderedDict()

    def path_of(self, frame: bytes) -> int:
        """Return the path of a frame; 0 for none."""
        if not self._rules:
            return 0
        # Protocol, addresses and ports of whole IPv4 packets without options; whatever else is looked at in full.
        key = frame[23:24] + frame[26:PORTS_END] if _is_plain(frame) else b""
        if key:
            known = self._known.get(key)
            if known is not None:
                return known
        path = self._look_up(frame)
        if key:
            self._known[key] = path
            if len(self._known) > FLOWS_MAX:
                self._known.popitem(last=False)
        return path

    def _look_up(self, frame: bytes) -> int:
        packet = parse(frame)
        if not packet.ip_version:
            return 0
        half = len(packet.addresses()) // 2
        src, dst = ip_address(packet.addresses()[:half]), ip_address(packet.addresses()[half:])
        dst_port = packet.get(Field.DST_PORT)
        for path, match in self._rules:
            if match.proto is not None and packet.proto != match.proto:
                continue
            if match.dst_ports and dst_port not in match.dst_ports:
                continue
            if match.src is not None and src not in match.src:
                continue
            if match.dst is not None and dst not in match.dst:
                continue
            return path
        return 0


def _is_plain(frame: bytes) -> bool:
    """Whether a frame is an unfragmented IPv4 packet without options and with a TCP or UDP header that holds."""
    if len(frame) < TCP_END or frame[12:15] != b"\x08\x00\x45" or frame[20] & 0x3F or frame[21]:
        return False
    size = (frame[16] << 8 | frame[17]) - 20
    if size > len(frame) - 34:
        return False
    if frame[23] == TCP:
        return 20 <= (frame[46] >> 4) * 4 <= size
    return frame[23] == UDP and 8 <= (frame[38] << 8 | frame[39]) <= size


def try_switch(flow: PathFlow, now_us: int, timeout_us: int) -> bool:
    """Move to the wanted epoch if nothing is in flight, or if that takes too long; return whether it moved."""
    if flow.epoch == flow.wanted:
        return False
    if not flow.wait_until_us:
        flow.wait_since_us, flow.wait_until_us = now_us, now_us + timeout_us
    if flow.in_flight and now_us < flow.wait_until_us:
        return False
    if flow.in_flight:
        flow.counters["timed_out"] += flow.in_flight
        flow.last_id = flow.next_id - 1
        flow.sent_marks.clear()
    flow.epoch = flow.wanted
    flow.wait_until_us = 0
    return True
