"""What every decoder and sensor produces: one columnar record type, a row per observed packet of a subflow.

Rows are TCP packets that carry an MPTCP option, or SYN, FIN or RST. Addresses are 128 bits in two halves, IPv4 mapped
(``::ffff:a.b.c.d``). A column has a meaning only where ``has`` says so; elsewhere it is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntFlag
from ipaddress import IPv6Address
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

IPV4_MAPPED: Final = 0xFFFF << 32


class Has(IntFlag):
    """What a packet carried, bit by bit in ``PacketRecords.has``."""

    CAPABLE = 1 << 0
    KEY = 1 << 1  # MP_CAPABLE with the sender's key
    PEER_KEY = 1 << 2  # MP_CAPABLE with both keys, or FASTCLOSE with the receiver's
    JOIN = 1 << 3
    TOKEN = 1 << 4  # MP_JOIN of a SYN
    DSN = 1 << 5  # a mapping: dsn, ssn, map_bytes
    DSN_64 = 1 << 6
    DATA_ACK = 1 << 7
    DATA_ACK_64 = 1 << 8
    DATA_FIN = 1 << 9
    ADD_ADDR = 1 << 10
    ADD_ADDR_ECHO = 1 << 11
    REMOVE_ADDR = 1 << 12
    PRIO = 1 << 13
    BACKUP = 1 << 14
    FAIL = 1 << 15
    FASTCLOSE = 1 << 16
    TCPRST = 1 << 17
    CAPABLE_MAP = (
        1 << 18
    )  # MP_CAPABLE with data: ssn is 1, dsn is the initial one plus 1, known only by the key
    TRUNCATED = 1 << 19  # options or headers were cut off by the capture
    MALFORMED = 1 << 20  # an MPTCP option of impossible length was passed over


class TcpFlag(IntFlag):
    """TCP header flags, as in ``PacketRecords.tcp_flags``."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10


@dataclass(frozen=True, slots=True, eq=False)
class PacketRecords:
    """Packets in columns of equal length, in the order observed.

    Args:
        at_us: int64, epoch microseconds.
        observer: uint16, observation point.
        src_hi, src_lo, dst_hi, dst_lo: uint64, halves of the addresses; src_port, dst_port: uint16.
        seq, ack: uint32; tcp_flags: uint8; payload_bytes: uint32, by the IP header, not by what was captured.
        has: uint32, bits of ``Has``.
        version: uint8, MPTCP version of MP_CAPABLE.
        dsn, data_ack: uint64, unextended where ``DSN_64`` or ``DATA_ACK_64`` is not set; ssn: uint32, relative;
            map_bytes: uint16 (0: infinite mapping).
        key, peer_key: uint64; token, nonce: uint32; address_id: uint8 (of JOIN, ADD_ADDR, REMOVE_ADDR's first, PRIO).
        added_hi, added_lo: uint64, address of ADD_ADDR; added_port: uint16.
    """

    at_us: NDArray[np.int64]
    observer: NDArray[np.uint16]
    src_hi: NDArray[np.uint64]
    src_lo: NDArray[np.uint64]
    dst_hi: NDArray[np.uint64]
    dst_lo: NDArray[np.uint64]
    src_port: NDArray[np.uint16]
    dst_port: NDArray[np.uint16]
    seq: NDArray[np.uint32]
    ack: NDArray[np.uint32]
    tcp_flags: NDArray[np.uint8]
    payload_bytes: NDArray[np.uint32]
    has: NDArray[np.uint32]
    version: NDArray[np.uint8]
    dsn: NDArray[np.uint64]
    ssn: NDArray[np.uint32]
    map_bytes: NDArray[np.uint16]
    data_ack: NDArray[np.uint64]
    key: NDArray[np.uint64]
    peer_key: NDArray[np.uint64]
    token: NDArray[np.uint32]
    nonce: NDArray[np.uint32]
    address_id: NDArray[np.uint8]
    added_hi: NDArray[np.uint64]
    added_lo: NDArray[np.uint64]
    added_port: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.at_us)

    @classmethod
    def zeros(cls, count: int) -> Self:
        """Return ``count`` rows of zeros."""
        return cls(*(np.zeros(count, dtype) for dtype in COLUMNS.values()))

    @classmethod
    def joined(cls, parts: Sequence["PacketRecords"]) -> "PacketRecords":
        """Return all rows of several records, one after the other."""
        if not parts:
            return cls.zeros(0)
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS))

    def rows(self, selection: Any) -> "PacketRecords":
        """Return some rows: a mask, indexes or a slice."""
        return PacketRecords(*(getattr(self, name)[selection] for name in COLUMNS))


# Column -> dtype, in the order of the fields.
COLUMNS: Final[dict[str, type[np.generic]]] = {
    "at_us": np.int64,
    "observer": np.uint16,
    "src_hi": np.uint64,
    "src_lo": np.uint64,
    "dst_hi": np.uint64,
    "dst_lo": np.uint64,
    "src_port": np.uint16,
    "dst_port": np.uint16,
    "seq": np.uint32,
    "ack": np.uint32,
    "tcp_flags": np.uint8,
    "payload_bytes": np.uint32,
    "has": np.uint32,
    "version": np.uint8,
    "dsn": np.uint64,
    "ssn": np.uint32,
    "map_bytes": np.uint16,
    "data_ack": np.uint64,
    "key": np.uint64,
    "peer_key": np.uint64,
    "token": np.uint32,
    "nonce": np.uint32,
    "address_id": np.uint8,
    "added_hi": np.uint64,
    "added_lo": np.uint64,
    "added_port": np.uint16,
}
assert tuple(COLUMNS) == tuple(field.name for field in fields(PacketRecords))


def address_halves(text: str) -> tuple[int, int]:
    """Return the halves of an address.

    >>> address_halves("10.0.0.1") == (0, (0xFFFF << 32) + 0x0A000001)
    True
    """
    address = IPv6Address(f"::ffff:{text}") if ":" not in text else IPv6Address(text)
    return int(address) >> 64, int(address) & (1 << 64) - 1


def address_text(high: int, low: int) -> str:
    """Return an address as people write it.

    >>> address_text(0, (0xFFFF << 32) + 0x0A000001)
    '10.0.0.1'
    """
    if high == 0 and low >> 32 == 0xFFFF:
        return f"{low >> 24 & 255}.{low >> 16 & 255}.{low >> 8 & 255}.{low & 255}"
    return str(IPv6Address(high << 64 | low))
