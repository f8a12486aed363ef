"""Packets that the kernel sampled, cut and put into a ring shared with us: no system call per packet.

Layout: TPACKET_V3 of Linux' packet(7) (struct tpacket_block_desc, struct tpacket3_hdr of linux/if_packet.h). What comes
out is a capture stream in the pcap format with nanoseconds, so that files and interfaces meet the same decoder.
"""

import ctypes
import mmap
import socket
import struct
from dataclasses import dataclass
from typing import Final

BLOCK_BYTES: Final = 1 << 16
LINK_ETHERNET, LINK_RAW = 1, 101
_ETH_P_ALL: Final = 0x0003
_SOL_PACKET, _STATISTICS, _RX_RING, _VERSION, _TPACKET_V3 = 263, 6, 5, 10, 2
_SO_ATTACH_FILTER: Final = 26
_TO_KERNEL, _TO_US = 0, 1
_REQUEST = struct.Struct("=7I")
_BLOCK = struct.Struct("=8xIII")  # status, number of frames, offset of the first
_STATUS = struct.Struct("=I")
_FRAME = struct.Struct("=6IHH")  # next, seconds, nanoseconds, captured, length, status, mac, net
_PCAP_FILE = struct.Struct("=IHHiIII")
_PCAP_PACKET = struct.Struct("=IIII")


def pcap_head(link_type: int, snaplen: int) -> bytes:
    """Return the head of a capture stream with nanoseconds."""
    return _PCAP_FILE.pack(0xA1B23C4D, 2, 4, 0, 0, snaplen, link_type)


@dataclass(frozen=True, slots=True)
class RingCounts:
    """What the kernel counted since the ring was made: packets that passed the filter, and those it had no room for."""

    packet_count: int
    drop_count: int


class PacketRing:
    """What crosses an interface, both ways. Not thread-safe.

    Args:
        interface: its name.
        program: filter in classic BPF; its return value cuts.
        block_count: size of the ring in blocks of 64 KiB.
        retire_ms: after how long the kernel hands over a block that is not full.
        is_ethernet: packets start with the Ethernet header; otherwise with the IP header, on any kind of interface.

    Raises:
        OSError: no such interface, or the kernel does not allow packet sockets here.
    """

    def __init__(
        self,
        interface: str,
        program: bytes,
        *,
        block_count: int = 64,
        retire_ms: int = 50,
        is_ethernet: bool = False,
    ) -> None:
        self.interface = interface
        self.interface_index = socket.if_nametoindex(interface)
        self._count, self._next = block_count, 0
        self._packets = self._drops = 0
        kind = socket.SOCK_RAW if is_ethernet else socket.SOCK_DGRAM
        # Protocol 0: nothing arrives before the filter is in place and the socket is bound.
        self._socket = socket.socket(socket.AF_PACKET, kind | socket.SOCK_CLOEXEC, 0)
        try:
            self._socket.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
            frames = block_count * BLOCK_BYTES // 2048
            ring = _REQUEST.pack(BLOCK_BYTES, block_count, 2048, frames, retire_ms, 0, 0)
            self._socket.setsockopt(_SOL_PACKET, _RX_RING, ring)
            code = ctypes.create_string_buffer(program, len(program))
            attach = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attach)
            self._ring = mmap.mmap(self._socket.fileno(), block_count * BLOCK_BYTES)
            self._socket.bind((interface, _ETH_P_ALL))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor, for polling."""
        return self._socket.fileno()

    def take(self, block_limit: int = 16) -> bytes:
        """Return the packets of the blocks that are full or old enough, as pcap records; empty: none.

        Args:
            block_limit: how many blocks at most, which bounds the answer to so many times 64 KiB.
        """
        parts: list[bytes] = []
        for _ in range(block_limit):
            base = self._next * BLOCK_BYTES
            status, count, offset = _BLOCK.unpack_from(self._ring, base)
            if not status & _TO_US:
                break
            self._copy(base + offset, count, parts)
            self._ring[base + 8 : base + 12] = _STATUS.pack(_TO_KERNEL)
            self._next = (self._next + 1) % self._count
        return b"".join(parts)

    def _copy(self, at: int, count: int, parts: list[bytes]) -> None:
        ring, frame, head = self._ring, _FRAME.unpack_from, _PCAP_PACKET.pack
        for _ in range(count):
            step, seconds, nanoseconds, captured, length, _, start, _ = frame(ring, at)
            parts.append(head(seconds, nanoseconds, captured, length))
            parts.append(ring[at + start : at + start + captured])
            at += step

    def counts(self) -> RingCounts:
        """Return what passed the filter and what was dropped for want of room, since the ring was made."""
        answer = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 12)
        packets, drops, _ = struct.unpack("=III", answer)
        self._packets += packets
        self._drops += drops
        return RingCounts(self._packets, self._drops)

    def error(self) -> int:
        """Return and clear the socket's error: not 0 when the interface went down or away."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def close(self) -> None:
        """Give the ring back."""
        self._ring.close()
        self._socket.close()
