"""sFlow version 5 datagrams with raw packet headers to records.

A machine without states: a datagram is whole in itself. Time is that of the datagram's arrival, sFlow tells none.
Counter samples, other flow records and those of enterprises are passed over by their length.

Source: sFlow version 5 (sflow.org, 2004), sections 4 and 5.
"""

import struct
from collections import Counter, OrderedDict
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import numpy as np

from apps.mptcp.engine import frame_kernel as kernel
from apps.mptcp.engine.frames import FrameDecoder, FrameList
from apps.mptcp.engine.records import PacketRecords
from apps.mptcp.engine.report import DecodeReport, with_counts

SOURCES_MAX: Final = 4096
_RAW_HEADER: Final = 1
# Header protocol of a raw header -> link-layer header type.
_LINKS: Final = {1: kernel.ETHERNET, 7: kernel.PPP, 11: kernel.IPV4, 12: kernel.IPV6, 14: kernel.PPP_SERIAL}
# Sample format -> bytes before the records, and where source, rate, drops and the number of records are.
_FLOW_SAMPLES: Final = {1: (32, 4, 8, 16, 28), 3: (44, 8, 12, 20, 40)}
_COUNTER_SAMPLES: Final = frozenset({2, 4})


@dataclass(frozen=True, slots=True)
class SflowSource:
    """What one data source of one agent last said.

    Args:
        agent: its address; source: number of the interface or other source within it.
        sampling_rate: one packet of so many is sampled.
        dropped_count: samples that the agent dropped, since it started; sample_count: those received here.
    """

    agent: str
    source: int
    sampling_rate: int
    dropped_count: int
    sample_count: int


class _CutShortError(Exception):
    """A length that leads out of the datagram or the sample."""


class SflowDecoder:
    """Decodes datagrams of any agents; counts what it could not read."""

    def __init__(self) -> None:
        self._frames = FrameDecoder()
        self._counts: Counter[str] = Counter()
        self._links: Counter[int] = Counter()
        self._byte_count = self._row_count = 0
        self._span: tuple[int, int] | None = None
        # Those heard last are kept.
        self._sources: OrderedDict[tuple[str, int], SflowSource] = OrderedDict()

    def feed(self, datagram: bytes, at_us: int, observer: int = 0) -> PacketRecords:
        """Return the rows of one datagram.

        Args:
            at_us: when it came; observer: the observation point its sender is.

        Complexity: O(bytes); each sample and record takes eight of them at least.
        """
        self._byte_count += len(datagram)
        found = FrameList()
        try:
            self._read_datagram(datagram, at_us, found)
        except _CutShortError:
            self._counts["bad_datagram"] += 1
        if not len(found):
            return PacketRecords.zeros(0)
        self._links.update(found.links)
        self._span = (
            (at_us, at_us) if self._span is None else (min(self._span[0], at_us), max(self._span[1], at_us))
        )
        records = self._frames.decode(np.frombuffer(datagram, np.uint8), found.table(), observer)
        self._row_count += len(records)
        return records

    @property
    def sources(self) -> tuple[SflowSource, ...]:
        """What the data sources last said, those heard last at the end."""
        return tuple(self._sources.values())

    @property
    def report(self) -> DecodeReport:
        """What was found so far."""
        malformed, passed_over = with_counts(self._counts, self._frames)
        return DecodeReport.of_samples(
            "sflow",
            self._frames,
            self._byte_count,
            self._row_count,
            malformed,
            passed_over,
            self._links,
            self._span,
        )

    def _read_datagram(self, data: bytes, at_us: int, found: FrameList) -> None:
        """Find the frames of a datagram."""
        version, kind = _words(data, 0, 2)
        if version != 5:
            self._counts["bad_version"] += 1
            return
        size = {1: 4, 2: 16}.get(kind)
        if size is None:
            self._counts["bad_agent_address"] += 1
            return
        address = data[8 : 8 + size]
        *_, sample_count = _words(data, 8 + size, 4)
        agent = str(ip_address(address))
        position = 24 + size
        for _ in range(sample_count):
            kind, size = _words(data, position, 2)
            start, position = position + 8, position + 8 + size
            if position > len(data):
                raise _CutShortError
            if kind in _FLOW_SAMPLES:
                try:
                    self._read_sample(data, start, position, kind, agent, at_us, found)
                except _CutShortError:
                    self._counts["bad_sample"] += 1
            else:
                self._counts["counter_sample" if kind in _COUNTER_SAMPLES else "other_sample"] += 1

    def _read_sample(
        self, data: bytes, start: int, end: int, kind: int, agent: str, at_us: int, found: FrameList
    ) -> None:
        """Find the frames of a flow sample, compact or expanded."""
        head, source, rate, drops, records = _FLOW_SAMPLES[kind]
        if start + head > end:
            raise _CutShortError
        fields = {place: _words(data, start + place, 1)[0] for place in (source, rate, drops, records)}
        self._note_source(agent, fields[source], fields[rate], fields[drops])
        position = start + head
        for _ in range(fields[records]):
            if position + 8 > end:
                raise _CutShortError
            kind, size = _words(data, position, 2)
            if position + 8 + size > end:
                raise _CutShortError
            if kind == _RAW_HEADER:
                self._read_raw_header(data, position + 8, size, at_us, found)
            else:
                self._counts["other_flow_record"] += 1
            position += 8 + size

    def _read_raw_header(self, data: bytes, start: int, size: int, at_us: int, found: FrameList) -> None:
        """Note the frame of a raw packet header."""
        if size < 16:
            raise _CutShortError
        protocol, frame_bytes, _, captured = _words(data, start, 4)
        if 16 + captured > size:
            raise _CutShortError
        if protocol in _LINKS:
            found.add(start + 16, captured, frame_bytes, _LINKS[protocol], at_us)
        else:
            self._counts["header_protocol"] += 1

    def _note_source(self, agent: str, source: int, rate: int, drops: int) -> None:
        """Remember what a data source says; forget the one that was silent longest when there are too many."""
        key = (agent, source)
        before = self._sources.pop(key, None)
        count = 1 if before is None else before.sample_count + 1
        self._sources[key] = SflowSource(agent, source, rate, drops, count)
        if len(self._sources) > SOURCES_MAX:
            self._sources.popitem(last=False)


def _words(data: bytes, position: int, count: int) -> tuple[int, ...]:
    """Return numbers of four bytes that must be there."""
    if position + 4 * count > len(data):
        raise _CutShortError
    return struct.unpack_from(f">{count}I", data, position)
