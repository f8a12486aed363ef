"""What a decoder says about its input, besides the records."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from apps.mptcp.engine.frames import SUPPORTED_LINKS, FrameDecoder


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """Counts of one input so far.

    Args:
        input_format: ``pcap``, ``pcapng``, ``sflow``, ``ipfix``; empty: not known (yet), or none of them.
        packet_count: packets found; tcp_count: with TCP; mptcp_count: with an MPTCP option; row_count: records made.
        truncated_count: packets whose headers or options the capture cut off.
        malformed: broken packets, options and records by kind. passed_over: whole ones that are none of ours, by kind.
        link_types: packets per link-layer header type of libpcap.
        unsupported_link_types: those of ``link_types`` that were passed over.
        first_us, last_us: lowest and highest time of a packet, epoch microseconds; None: no packet.
        is_cut: the input ended within a record. is_broken: from somewhere on it could not be read.
        ignored_byte_count: bytes behind that place.
    """

    input_format: str = ""
    byte_count: int = 0
    packet_count: int = 0
    tcp_count: int = 0
    mptcp_count: int = 0
    row_count: int = 0
    truncated_count: int = 0
    malformed: Mapping[str, int] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    link_types: Mapping[int, int] = field(default_factory=dict)
    unsupported_link_types: Mapping[int, int] = field(default_factory=dict)
    first_us: int | None = None
    last_us: int | None = None
    is_cut: bool = False
    is_broken: bool = False
    ignored_byte_count: int = 0

    @classmethod
    def of_samples(
        cls,
        input_format: str,
        frames: FrameDecoder,
        byte_count: int,
        row_count: int,
        malformed: Mapping[str, int],
        passed_over: Mapping[str, int],
        links: Mapping[int, int],
        span: tuple[int, int] | None,
    ) -> "DecodeReport":
        """Return the report of what comes in whole datagrams; ``span``: lowest and highest time."""
        return cls(
            input_format=input_format,
            byte_count=byte_count,
            packet_count=frames.frame_count,
            tcp_count=frames.tcp_count,
            mptcp_count=frames.mptcp_count,
            row_count=row_count,
            truncated_count=frames.truncated_count,
            malformed=malformed,
            passed_over=passed_over,
            link_types=dict(links),
            unsupported_link_types={link: links[link] for link in links if link not in SUPPORTED_LINKS},
            first_us=None if span is None else span[0],
            last_us=None if span is None else span[1],
        )

    @property
    def malformed_count(self) -> int:
        """All that was broken."""
        return sum(self.malformed.values())


def with_counts(counts: Mapping[str, int], frames: FrameDecoder) -> tuple[dict[str, int], dict[str, int]]:
    """Return malformed and passed over of a container (``bad_...`` and others) and its frames together."""
    bad = {name: count for name, count in counts.items() if count and name.startswith("bad_")}
    other = {name: count for name, count in counts.items() if count and not name.startswith("bad_")}
    malformed = {name.removeprefix("bad_"): count for name, count in bad.items()}
    return malformed | dict(frames.malformed), other | dict(frames.passed_over)
