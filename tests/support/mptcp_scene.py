"""Small scenes of Multipath TCP for tests of the service: connections whose truth is known, as packets and captures."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.mptcp_containers import Seen, pcap
from tests.support.mptcp_packets import ACK, SYN, Segment, capable, dss, frame, join_syn

START_S = 1_700_000_000
MAP_BYTES = 1000


def token_of(key: int) -> int:
    """Return the token of a version 1 key."""
    return int(struct.unpack(">I", hashlib.sha256(struct.pack(">Q", key)).digest()[:4])[0])


def idsn_of(key: int) -> int:
    """Return the initial data sequence number of a version 1 key."""
    return int(struct.unpack(">Q", hashlib.sha256(struct.pack(">Q", key)).digest()[-8:])[0])


@dataclass(slots=True)
class SceneConnection:
    """A connection from 10.1.x.<number> to 10.2.0.10, one client address per subflow.

    Packets come one by one from ``handshake``, ``join`` and ``data``; data goes round the subflows.
    """

    number: int = 1
    sent: int = 0
    subflows: list[Segment] = field(default_factory=list)

    @property
    def client_key(self) -> int:
        """The client's key."""
        return 0x1111_0000_0000_0000 + self.number

    @property
    def server_key(self) -> int:
        """The server's key."""
        return 0x2222_0000_0000_0000 + self.number

    @property
    def token(self) -> int:
        """What joins of the client name."""
        return token_of(self.server_key)

    def handshake(self) -> list[Segment]:
        """Return the three packets of the first subflow."""
        up = self._new()
        down = _turned(up)
        return [
            up.but(flags=SYN, options=capable()),
            down.but(flags=SYN | ACK, options=capable(key=self.server_key)),
            up.but(seq=up.seq + 1, options=capable(key=self.client_key, peer_key=self.server_key)),
        ]

    def join(self) -> list[Segment]:
        """Return the SYN that adds a subflow."""
        up = self._new()
        return [up.but(flags=SYN, options=join_syn(self.token, nonce=7, address_id=len(self.subflows)))]

    def silent(self) -> "SceneConnection":
        """Add a subflow whose handshake nobody saw."""
        self._new()
        return self

    def data(self, count: int) -> list[Segment]:
        """Return data packets of the client, each followed by the server's acknowledgement."""
        segments = []
        for _ in range(count):
            up = self.subflows[self.sent % len(self.subflows)]
            offset = self.sent * MAP_BYTES
            dsn, ack = idsn_of(self.client_key) + 1 + offset, idsn_of(self.server_key) + 1 + self.sent
            wrap = 1 << 64
            segments.append(
                up.but(
                    seq=up.seq + 1 + offset,
                    options=dss(ack=ack % wrap, dsn=dsn % wrap, ssn=1 + offset, map_bytes=MAP_BYTES),
                    payload=bytes(MAP_BYTES),
                )
            )
            segments.append(_turned(up).but(options=dss(ack=(dsn + MAP_BYTES) % wrap)))
            self.sent += 1
        return segments

    def _new(self) -> Segment:
        index = len(self.subflows)
        up = Segment(
            src=f"10.1.{index + 1}.{self.number % 250 + 1}",
            dst="10.2.0.10",
            src_port=40_000 + self.number * 8 % 20_000 + index,
            dst_port=5001,
            seq=1000 * (index + 1),
        )
        self.subflows.append(up)
        return up


def _turned(segment: Segment) -> Segment:
    return segment.but(
        src=segment.dst, dst=segment.src, src_port=segment.dst_port, dst_port=segment.src_port, seq=9000
    )


def whole(number: int = 1, subflow_count: int = 3, data_count: int = 60) -> list[Segment]:
    """Return all packets of a connection with its handshake and joins."""
    connection = SceneConnection(number)
    segments = connection.handshake()
    for _ in range(subflow_count - 1):
        segments += connection.join()
    return segments + connection.data(data_count)


def capture_of(segments: Sequence[Segment], *, start_s: float = START_S, step_us: int = 1000) -> bytes:
    """Return a pcap file of packets that follow each other by ``step_us``."""
    start_us = int(start_s * 1e6)
    return pcap(Seen(start_us + index * step_us, frame(segment)) for index, segment in enumerate(segments))
