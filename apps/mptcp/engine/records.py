"""What every decoder and sensor produces: one columnar record type, a row per observed packet of a subflow.

Rows are TCP packets that carry an MPTCP option, or SYN, FIN or RST. Addresses are 128 bits in two halves, IPv4 mapped
(``::ffff:a.b.c.d``). A column has a meaning only where ``has`` says so; elsewhere it is 0.
"""

from collections.abc import Sequence
from enum import IntFlag
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any, Final, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

IPV4_MAPPED: Final = 0xFFFF << 32

LATEST_OF: Final = 64
T = TypeVar("T", bound=np.generic)


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


class Column(Generic[T]):
    """One column of ``PacketRecords``: a view of a field, which may be written to."""

    def __init__(self, dtype: type[T]) -> None:
        self.dtype = dtype

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, records: "PacketRecords", owner: type) -> NDArray[T]:
        column: NDArray[T] = records.array[self._name]
        return column


class PacketRecords:
    """Packets in columns of equal length, in the order observed.

    The columns are fields of one array, since what reads packets one after the other wants each in few lines of the
    cache. Batches of sensors carry the columns in the order in which they stand here.

    Args:
        array: of dtype ``RECORD``. What its columns say:
            at_us: epoch microseconds.
            observer: observation point.
            src_hi, src_lo, dst_hi, dst_lo: halves of the addresses.
            payload_bytes: by the IP header, not by what was captured.
            has: bits of ``Has``.
            version: MPTCP version of MP_CAPABLE.
            dsn, data_ack: unextended where ``DSN_64`` or ``DATA_ACK_64`` is not set; ssn: relative;
                map_bytes: 0 is an infinite mapping.
            address_id: of JOIN, ADD_ADDR, REMOVE_ADDR's first, PRIO.
            added_hi, added_lo, added_port: address of ADD_ADDR.
    """

    __slots__ = ("array",)

    at_us = Column(np.int64)
    observer = Column(np.uint16)
    src_hi = Column(np.uint64)
    src_lo = Column(np.uint64)
    dst_hi = Column(np.uint64)
    dst_lo = Column(np.uint64)
    src_port = Column(np.uint16)
    dst_port = Column(np.uint16)
    seq = Column(np.uint32)
    ack = Column(np.uint32)
    tcp_flags = Column(np.uint8)
    payload_bytes = Column(np.uint32)
    has = Column(np.uint32)
    version = Column(np.uint8)
    dsn = Column(np.uint64)
    ssn = Column(np.uint32)
    map_bytes = Column(np.uint16)
    data_ack = Column(np.uint64)
    key = Column(np.uint64)
    peer_key = Column(np.uint64)
    token = Column(np.uint32)
    nonce = Column(np.uint32)
    address_id = Column(np.uint8)
    added_hi = Column(np.uint64)
    added_lo = Column(np.uint64)
    added_port = Column(np.uint16)

    def __init__(self, array: NDArray[Any]) -> None:
        assert array.dtype == RECORD
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    @classmethod
    def zeros(cls, count: int) -> Self:
        """Return ``count`` rows of zeros."""
        return cls(np.zeros(count, RECORD))

    @classmethod
    def joined(cls, parts: Sequence["PacketRecords"]) -> Self:
        """Return all rows of several records, one after the other."""
        return cls(np.concatenate([part.array for part in parts])) if parts else cls.zeros(0)

    def rows(self, selection: Any) -> Self:
        """Return some rows: a mask, indexes or a slice."""
        return type(self)(self.array[selection])

    @property
    def latest_us(self) -> int:
        """The latest time of the last packets; at least one row. Captures are in order but for a few."""
        return int(self.at_us[-LATEST_OF:].max())

    def copy(self, **columns: NDArray[Any]) -> Self:
        """Return the same rows in an array of their own, with other values in some columns."""
        array = self.array.copy()
        for name, values in columns.items():
            array[name] = values
        return type(self)(array)


# Column -> dtype, in the order of batches.
COLUMNS: Final[dict[str, type[np.generic]]] = {
    name: column.dtype for name, column in vars(PacketRecords).items() if isinstance(column, Column)
}
_RARE: Final = frozenset(
    {"version", "key", "peer_key", "token", "nonce", "address_id", "added_hi", "added_lo", "added_port"}
)
# What all packets have comes first, the widest numbers before the others: 85 of 136 bytes.
RECORD: Final = np.dtype(
    [
        (name, COLUMNS[name])
        for name in sorted(COLUMNS, key=lambda name: (name in _RARE, -np.dtype(COLUMNS[name]).itemsize))
    ],
    align=True,
)


def address_halves(text: str) -> tuple[int, int]:
    """Return the halves of an address.

    >>> address_halves("10.0.0.1") == (0, (0xFFFF << 32) + 0x0A000001)
    True
    """
    address = IPv6Address(f"::ffff:{text}") if ":" not in text else IPv6Address(text)
    return int(address) >> 64, int(address) & (1 << 64) - 1


@lru_cache(maxsize=65_536)
def address_text(high: int, low: int) -> str:
    """Return an address as people write it.

    >>> address_text(0, (0xFFFF << 32) + 0x0A000001)
    '10.0.0.1'
    """
    if high == 0 and low >> 32 == 0xFFFF:
        return f"{low >> 24 & 255}.{low >> 16 & 255}.{low >> 8 & 255}.{low & 255}"
    return str(IPv6Address(high << 64 | low))
