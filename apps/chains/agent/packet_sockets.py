"""Sockets that take whole frames from an interface and put them there."""

import fcntl
import socket
import struct
from collections.abc import Iterator
from typing import Final

ETH_P_ALL: Final = 0x0003
FRAME_MAX: Final = 2048
BURST: Final = 64
RECEIVE_BYTES: Final = 8 << 20
_SOL_PACKET, _ADD_MEMBERSHIP, _MR_PROMISC, _IGNORE_OUTGOING = 263, 1, 1, 23
_STATISTICS, _AUXDATA = 6, 8
# struct tpacket_auxdata: status, two lengths, two offsets, then the tag and its type.
_TAG = struct.Struct("=IIIHHHH")
_TAG_VALID, _TAG_TYPE_VALID = 1 << 4, 1 << 6
_TAG_TYPE: Final = 0x8100
_SO_RCVBUFFORCE = 33
_SIOCGIFMTU, _SIOCSIFMTU = 0x8921, 0x8922


class PacketSocket:
    """One interface.

    Args:
        interface: its name.
        ether_type: what to take; other frames stay with the kernel.
        is_promiscuous: also take what is addressed to others.

    Attributes:
        dropped: frames that the interface did not take.

    Raises:
        OSError: no such interface, or the kernel does not allow packet sockets here.
    """

    def __init__(self, interface: str, ether_type: int = ETH_P_ALL, *, is_promiscuous: bool = False) -> None:
        self.interface = interface
        self.dropped = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            self._socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BYTES)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, RECEIVE_BYTES)
            self._socket.bind((interface, ether_type))
            if is_promiscuous:
                member = struct.pack("iHH8s", socket.if_nametoindex(interface), _MR_PROMISC, 0, bytes(8))
                self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, member)
        except OSError:
            self._socket.close()
            raise
        # The kernel takes VLAN tags off what it hands to us and tells them beside it; frames of one type have none.
        self._has_tags = ether_type == ETH_P_ALL
        if self._has_tags:
            self._socket.setsockopt(_SOL_PACKET, _AUXDATA, 1)
        self._socket.setblocking(False)
        self.mac: bytes = self._socket.getsockname()[4]

    def fileno(self) -> int:
        """Return the descriptor, for polling."""
        return self._socket.fileno()

    def frames(self) -> Iterator[bytes]:
        """Yield the frames that are there, at most a burst."""
        if self._has_tags:
            yield from self._frames_with_tags()
            return
        receive = self._socket.recv
        for _ in range(BURST):
            try:
                yield receive(FRAME_MAX)
            except BlockingIOError:
                return
            except OSError:
                return  # the interface went down; polling says when it is back

    def _frames_with_tags(self) -> Iterator[bytes]:
        receive, room = self._socket.recvmsg, socket.CMSG_SPACE(_TAG.size)
        for _ in range(BURST):
            try:
                frame, told, _, _ = receive(FRAME_MAX, room)
            except BlockingIOError:
                return
            except OSError:
                return  # the interface went down; polling says when it is back
            yield _tagged(frame, told[0][2]) if told else frame

    def send(self, frame: bytes) -> None:
        """Put a frame on the wire; one that does not fit or finds the queue full is counted."""
        try:
            self._socket.send(frame)
        except OSError:
            self.dropped += 1

    def overflow_count(self) -> int:
        """Return how many frames the kernel dropped since the last call, because we were too slow to take them."""
        return int(struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))[1])

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def _tagged(frame: bytes, auxiliary: bytes) -> bytes:
    """Return a frame with the tag that the kernel tells beside it."""
    if len(auxiliary) < _TAG.size:
        return frame
    status, *_, tag, tag_type = _TAG.unpack_from(auxiliary)
    if not status & _TAG_VALID:
        return frame
    kind = tag_type if status & _TAG_TYPE_VALID else _TAG_TYPE
    return frame[:12] + struct.pack("!HH", kind, tag) + frame[12:]


def mtu_ensure(interface: str, mtu: int) -> None:
    """Raise an interface's MTU to ``mtu`` if it is lower.

    Raises:
        OSError: no such interface, or the device does not allow it.
    """
    name = interface.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, _SIOCGIFMTU, struct.pack("16si12x", name, 0))
        if struct.unpack("16si12x", answer)[1] < mtu:
            fcntl.ioctl(control, _SIOCSIFMTU, struct.pack("16si12x", name, mtu))
