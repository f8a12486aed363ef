"""Frames to records: what all decoders of captures and samples share."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import frame_kernel as kernel
from apps.mptcp.engine.records import PacketRecords

_MALFORMED: Final = {
    "link_header": kernel.BAD_LINK,
    "ipv4_header": kernel.BAD_IPV4,
    "ipv6_header": kernel.BAD_IPV6,
    "tcp_header": kernel.BAD_TCP,
    "tcp_option": kernel.BAD_TCP_OPTION,
    "mptcp_option": kernel.BAD_MPTCP_OPTION,
}
_PASSED_OVER: Final = {
    "link_type": kernel.LINK_UNKNOWN,
    "not_ip": kernel.NOT_IP,
    "not_tcp": kernel.NOT_TCP,
    "later_fragment": kernel.LATER_FRAGMENT,
    "mptcp_subtype": kernel.SUBTYPE_UNKNOWN,
    "mptcp_version": kernel.VERSION_UNKNOWN,
    "mptcp_option_repeated": kernel.OPTION_REPEATED,
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
        return np.ascontiguousarray(np.array(self._found, np.int64).reshape(-1, 5).T)


class FrameDecoder:
    """Decodes frames of any link layer and counts what they were."""

    def __init__(self) -> None:
        self._counts = np.zeros(kernel.COUNT_KINDS, np.int64)

    def decode(
        self, octets: NDArray[np.uint8], frames: NDArray[np.int64], observer: int = 0
    ) -> PacketRecords:
        """Return the rows of some frames, in their order.

        Args:
            octets: read-only; holds the frames.
            frames: int64[5, frames]: start, captured bytes, bytes on the wire, link type, microseconds.

        Complexity: O(bytes of headers), about 130 bytes of memory per frame.
        """
        count = frames.shape[1]
        wide = np.zeros((11, count), np.uint64)
        words = np.zeros((7, count), np.uint32)
        halves = np.zeros((4, count), np.uint16)
        small = np.zeros((3, count), np.uint8)
        rows = kernel.read_frames(
            octets, frames[0], frames[1], frames[2], frames[3], frames[4],
            wide, words, halves, small, self._counts,
        )  # fmt: skip
        tables = (wide[:, :rows], words[:, :rows], halves[:, :rows], small[:, :rows])
        if 2 * rows < count:  # whoever keeps the few rows shall not keep the room for all frames
            tables = (tables[0].copy(), tables[1].copy(), tables[2].copy(), tables[3].copy())
        return _rows_to_records(*tables, observer)

    @property
    def frame_count(self) -> int:
        """Frames decoded so far."""
        return int(self._counts[kernel.FRAMES])

    @property
    def tcp_count(self) -> int:
        """Packets among them with a whole enough TCP header."""
        return int(self._counts[kernel.TCP_PACKETS])

    @property
    def mptcp_count(self) -> int:
        """Packets with an option of MPTCP."""
        return int(self._counts[kernel.MPTCP_PACKETS])

    @property
    def truncated_count(self) -> int:
        """Packets whose headers or options the capture cut off."""
        return int(self._counts[kernel.CUT_HEADERS] + self._counts[kernel.CUT_OPTIONS])

    @property
    def malformed(self) -> Mapping[str, int]:
        """Broken headers and options by kind, those above 0."""
        return {name: int(self._counts[index]) for name, index in _MALFORMED.items() if self._counts[index]}

    @property
    def passed_over(self) -> Mapping[str, int]:
        """Packets and options that are none of ours, by kind, those above 0."""
        return {name: int(self._counts[index]) for name, index in _PASSED_OVER.items() if self._counts[index]}


def _rows_to_records(
    wide: NDArray[np.uint64],
    words: NDArray[np.uint32],
    halves: NDArray[np.uint16],
    small: NDArray[np.uint8],
    observer: int,
) -> PacketRecords:
    """Name the rows of the kernel's tables; nothing is copied."""
    return PacketRecords(
        at_us=wide[kernel.AT_US].view(np.int64),
        observer=np.full(wide.shape[1], observer, np.uint16),
        src_hi=wide[kernel.SRC_HI],
        src_lo=wide[kernel.SRC_LO],
        dst_hi=wide[kernel.DST_HI],
        dst_lo=wide[kernel.DST_LO],
        src_port=halves[kernel.SRC_PORT],
        dst_port=halves[kernel.DST_PORT],
        seq=words[kernel.SEQ],
        ack=words[kernel.ACK],
        tcp_flags=small[kernel.FLAGS],
        payload_bytes=words[kernel.PAYLOAD],
        has=words[kernel.HAS],
        version=small[kernel.VERSION],
        dsn=wide[kernel.DSN],
        ssn=words[kernel.SSN],
        map_bytes=halves[kernel.MAP_BYTES],
        data_ack=wide[kernel.DATA_ACK],
        key=wide[kernel.KEY],
        peer_key=wide[kernel.PEER_KEY],
        token=words[kernel.TOKEN],
        nonce=words[kernel.NONCE],
        address_id=small[kernel.ADDRESS_ID],
        added_hi=wide[kernel.ADDED_HI],
        added_lo=wide[kernel.ADDED_LO],
        added_port=halves[kernel.ADDED_PORT],
    )
