"""The UDP socket that carries the probes of one link, with arrival times from the kernel."""

import contextlib
import socket
import struct
import time

from apps.wan.agent.gateway_spec import GatewayLink

DSCP_CS6 = 0xC0
PRIORITY_CONTROL = 6
SO_TIMESTAMPNS = 35
MAX_DATAGRAM_BYTES = 256
MAX_DRAIN_COUNT = 256
_TIMESPEC = struct.Struct("=qq")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)


class ProbeSocket:
    """Sends to the peer's end of one link and receives only from that link's interface.

    Raises:
        OSError: the interface or the local address does not exist.
    """

    def __init__(self, link: GatewayLink, port: int) -> None:
        self.link = link
        self._peer = (link.peer, port)
        self._socket = socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.interface.encode())
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, DSCP_CS6)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, PRIORITY_CONTROL)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._socket.bind((link.local, port))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor, for select."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send a probe; a link that cannot take it now simply loses it, as it would later."""
        with contextlib.suppress(OSError):
            self._socket.sendto(data, self._peer)

    def drain(self) -> list[tuple[float, bytes]]:
        """Return all that has arrived from the peer's address: (arrival on ``time.monotonic``, bytes)."""
        arrived: list[tuple[float, bytes]] = []
        offset_s = time.monotonic() - time.time()
        for _ in range(MAX_DRAIN_COUNT):
            try:
                data, ancillary, _, sender = self._socket.recvmsg(MAX_DATAGRAM_BYTES, _ANCILLARY_BYTES)
            except OSError:
                break
            if sender != self._peer:
                continue
            at_s = time.time()
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(value) == _TIMESPEC.size:
                    seconds, nanoseconds = _TIMESPEC.unpack(value)
                    at_s = seconds + nanoseconds / 1e9
            arrived.append((at_s + offset_s, data))
        return arrived
