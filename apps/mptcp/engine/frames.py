"""Frames to records: what all decoders of captures and samples share."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import frame_counts as counted
from apps.mptcp.engine import frame_kernel as kernel
from apps.mptcp.engine.records import RECORD, PacketRecords

_MALFORMED: Final = {
    "link_header": counted.BAD_LINK,
    "ipv4_header": counted.BAD_IPV4,
    "ipv6_header": counted.BAD_IPV6,
    "tcp_header": counted.BAD_TCP,
    "tcp_option": counted.BAD_TCP_OPTION,
    "mptcp_option": counted.BAD_MPTCP_OPTION,
}
_PASSED_OVER: Final = {
    "link_type": counted.LINK_UNKNOWN,
    "not_ip": counted.NOT_IP,
    "not_tcp": counted.NOT_TCP,
    "later_fragment": counted.LATER_FRAGMENT,
    "mptcp_subtype": counted.SUBTYPE_UNKNOWN,
    "mptcp_version": counted.VERSION_UNKNOWN,
    "mptcp_option_repeated": counted.OPTION_REPEATED,
}
SUPPORTED_LINKS: Final = frozenset(
    {
        kernel.ETHERNET, kernel.PPP, kernel.PPP_SERIAL, kernel.PPP_ETHER, kernel.PPP_DIRECTION, kernel.SLL,
        kernel.SLL2, kernel.NULL, kernel.LOOP, kernel.RAW_DLT, kernel.RAW_DLT_BSD, kernel.RAW, kernel.IPV4,
        kernel.IPV6,
    }
)  # fmt: skip


class FrameList:
    """Where a few frames lie in a datagram, gathered one by one."""

    def __init__(self) -> None:
        self._found: list[tuple[int, int, int, int, int]] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, start: int, captured: int, size: int, link: int, at_us: int) -> None:
        """Note one; the captured bytes must be within the datagram."""
        self._found.append((start, captured, size, link, at_us))

    @property
    def links(self) -> list[int]:
        """Link types, one per frame."""
        return [frame[3] for frame in self._found]

    def table(self) -> NDArray[np.int64]:
        """Return what ``FrameDecoder.decode`` takes."""
        return np.ascontiguousarray(np.array(self._found, np.int64).reshape(-1, kernel.FRAME_FIELDS))


class FrameDecoder:
    """Decodes frames of any link layer and counts what they were."""

    def __init__(self) -> None:
        self._counts = np.zeros(counted.COUNT_KINDS, np.int64)

    def decode(
        self, octets: NDArray[np.uint8], frames: NDArray[np.int64], observer: int = 0
    ) -> PacketRecords:
        """Return the rows of some frames, in their order.

        Args:
            octets: read-only; holds the frames.
            frames: int64[frames, 5]: start, captured bytes, bytes on the wire, link type, microseconds.

        Complexity: O(bytes of headers), 136 bytes of memory per frame.
        """
        count = len(frames)
        rows = np.empty(count, RECORD)
        found = kernel.read_frames(octets, frames, observer, rows, self._counts)
        records = PacketRecords(rows[:found])
        # Whoever keeps the few rows shall not keep the room for all frames.
        return records.copy() if 2 * found < count else records

    @property
    def frame_count(self) -> int:
        """Frames decoded so far."""
        return int(self._counts[counted.FRAMES])

    @property
    def tcp_count(self) -> int:
        """Packets among them with a whole enough TCP header."""
        return int(self._counts[counted.TCP_PACKETS])

    @property
    def mptcp_count(self) -> int:
        """Packets with an option of MPTCP."""
        return int(self._counts[counted.MPTCP_PACKETS])

    @property
    def truncated_count(self) -> int:
        """Packets whose headers or options the capture cut off."""
        return int(self._counts[counted.CUT_HEADERS] + self._counts[counted.CUT_OPTIONS])

    @property
    def malformed(self) -> Mapping[str, int]:
        """Broken headers and options by kind, those above 0."""
        return {name: int(self._counts[index]) for name, index in _MALFORMED.items() if self._counts[index]}

    @property
    def passed_over(self) -> Mapping[str, int]:
        """Packets and options that are none of ours, by kind, those above 0."""
        return {name: int(self._counts[index]) for name, index in _PASSED_OVER.items() if self._counts[index]}
