"""The TCP frames that left by a link in the last moments, kept by the kernel in a ring that costs no work per frame.

When the link fails, what was under way on it is gone. TCP would notice by its own timers, long after the reroute; sent
again over another link, most of it arrives as if nothing had happened, and what arrives twice TCP sorts out.

Layout: TPACKET_V3 of Linux' packet(7) (struct tpacket_block_desc, struct tpacket3_hdr of linux/if_packet.h).
"""

import ctypes
import mmap
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

KEEP_S = 0.2
RETIRE_MS = 5
BLOCK_BYTES = 1 << 16
MIN_BLOCKS, MAX_BLOCKS = 64, 1024
SPARE_BLOCKS = 8
ETHERNET_BYTES = 14
ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_RX_RING, PACKET_VERSION, TPACKET_V3 = 263, 5, 10, 2
SO_ATTACH_FILTER = 26
TP_STATUS_KERNEL, TP_STATUS_USER = 0, 1
_REQUEST = struct.Struct("=7I")
_BLOCK = struct.Struct("=8xIII")  # status, number of frames, offset of the first
_STATUS = struct.Struct("=I")
_LAST_AT = struct.Struct("=40xII")  # of the newest frame: seconds, nanoseconds
_FRAME = struct.Struct("=IIIIIIHH")  # next, seconds, nanoseconds, captured, length, status, mac, net
_INSTRUCTION = struct.Struct("=HBBI")
# Classic BPF: outgoing (packet type 4), IPv4, TCP, else nothing. SKF_AD_PKTTYPE is at -0x1000 + 4.
_FILTER = b"".join(
    _INSTRUCTION.pack(*instruction)
    for instruction in (
        (0x28, 0, 0, 0xFFFFF004),
        (0x15, 0, 5, 4),
        (0x28, 0, 0, 12),
        (0x15, 0, 3, 0x0800),
        (0x30, 0, 0, 23),
        (0x15, 0, 1, 6),
        (0x06, 0, 0, 0xFFFF),
        (0x06, 0, 0, 0),
    )
)


@dataclass(frozen=True, slots=True)
class SentPacket:
    """An IP packet that left; ``at_s`` epoch seconds."""

    at_s: float
    data: bytes


class ReplayRing:
    """What left by one interface. Not thread-safe: its owner calls ``keep`` and ``packets`` from one thread.

    Args:
        interface: name of the link's interface.
        rate_bps: rate of the link, which sizes the ring.

    Raises:
        OSError: the kernel does not allow packet sockets here.
    """

    def __init__(self, interface: str, rate_bps: int) -> None:
        blocks = int(rate_bps / 8 * KEEP_S * 2 / BLOCK_BYTES) + MIN_BLOCKS
        self._count = min(MAX_BLOCKS, blocks)
        self._oldest = self._held = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            self._socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
            frames = self._count * BLOCK_BYTES // 2048
            self._socket.setsockopt(
                SOL_PACKET,
                PACKET_RX_RING,
                _REQUEST.pack(BLOCK_BYTES, self._count, 2048, frames, RETIRE_MS, 0, 0),
            )
            program = ctypes.create_string_buffer(_FILTER, len(_FILTER))
            self._socket.setsockopt(
                socket.SOL_SOCKET,
                SO_ATTACH_FILTER,
                struct.pack("@HP", len(_FILTER) // _INSTRUCTION.size, ctypes.addressof(program)),
            )
            self._ring = mmap.mmap(self._socket.fileno(), self._count * BLOCK_BYTES)
            self._socket.bind((interface, ETH_P_ALL))
        except OSError:
            self._socket.close()
            raise
        self._own_mac: bytes = self._socket.getsockname()[4]

    def close(self) -> None:
        """Give the ring back."""
        self._ring.close()
        self._socket.close()

    def keep(self) -> None:
        """Take over what the kernel has filled, give back what is too old; call every few milliseconds."""
        while self._held < self._count and self._status(self._oldest + self._held) & TP_STATUS_USER:
            self._held += 1
        too_old_s = time.time() - KEEP_S
        while self._held and (self._held > self._count - SPARE_BLOCKS or self._last_at_s() < too_old_s):
            at = self._oldest * BLOCK_BYTES
            self._ring[at + 8 : at + 12] = _STATUS.pack(TP_STATUS_KERNEL)
            self._oldest = (self._oldest + 1) % self._count
            self._held -= 1

    def packets(self, since_s: float) -> Iterator[SentPacket]:
        """Yield what left at ``since_s`` or later, oldest first; frames of the last 5 ms may still be missing."""
        for number in range(self._held):
            base = (self._oldest + number) % self._count * BLOCK_BYTES
            _, count, offset = _BLOCK.unpack_from(self._ring, base)
            for _ in range(count):
                at = base + offset
                step, seconds, nanoseconds, captured, _, _, mac, _ = _FRAME.unpack_from(self._ring, at)
                at_s = seconds + nanoseconds / 1e9
                if at_s >= since_s:
                    yield SentPacket(at_s, self._ring[at + mac + ETHERNET_BYTES : at + mac + captured])
                offset += step

    def send(self, packet: bytes, peer_mac: bytes) -> None:
        """Send an IP packet to the neighbour at the other end; a full queue loses it."""
        try:
            self._socket.send(peer_mac + self._own_mac + b"\x08\x00" + packet, socket.MSG_DONTWAIT)
        except OSError:
            return

    def _status(self, index: int) -> int:
        return int(_BLOCK.unpack_from(self._ring, index % self._count * BLOCK_BYTES)[0])

    def _last_at_s(self) -> float:
        seconds, nanoseconds = _LAST_AT.unpack_from(self._ring, self._oldest * BLOCK_BYTES)
        return float(seconds + nanoseconds / 1e9)
