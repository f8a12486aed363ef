"""The record of a subflow.

A record holds what was ever needed of a subflow's packets, so that packets are forgotten at once: life and roles, and
per number space an unwrapped range, a ring of (time, highest number so far) and what its mappings carried. About 600
bytes each, so 10^6 subflows take 0.6 GB.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.records import COLUMNS, PacketRecords

RING: Final = 8

# A number space of a subflow; index 0 is what side a sends, 1 what side b sends.
SPACE: Final = np.dtype(
    [
        ("lo", "u8"),  # lowest and highest number seen, in mappings or acknowledged, unwrapped
        ("hi", "u8"),
        ("data_lo", "u8"),  # the same of mappings only
        ("data_hi", "u8"),
        ("ssn_lo", "u8"),  # subflow sequence numbers of the same mappings, unwrapped
        ("ssn_hi", "u8"),
        ("fin", "u8"),  # number of DATA_FIN
        ("start", "u8"),  # IDSN + 1, from the sender's key
        ("first_us", "i8"),
        ("last_us", "i8"),
        ("hi_us", "i8"),  # when hi was reached
        ("ring_us", "i8", (RING,)),
        ("ring_hi", "u8", (RING,)),
        ("points", "u4"),
        ("data_points", "u4"),
        ("ring_next", "u1"),
        ("ring_count", "u1"),
        ("outliers", "u1"),  # numbers in a row that were too far away to believe
        ("is_64", "u1"),  # whether the upper half of the numbers is known
        ("has_fin", "u1"),
        ("is_fin_acked", "u1"),
        ("has_start", "u1"),
    ],
    align=True,
)

SUBFLOW: Final = np.dtype(
    [
        ("a_hi", "u8"),
        ("a_lo", "u8"),
        ("b_hi", "u8"),
        ("b_lo", "u8"),
        ("id", "i8"),  # -1: the record is free
        ("first_us", "i8"),
        ("last_us", "i8"),
        ("touched_us", "i8"),  # the engine's time of the step that last changed it
        ("packets", "i8"),
        ("observers", "u8"),  # bit per observation point, see ``SubflowTable.observers``
        ("key", "u8", (2,)),
        ("space", SPACE, (2,)),
        ("isn", "u4", (2,)),
        ("epoch", "u4"),
        ("flags", "u4"),
        ("a_port", "u2"),
        ("b_port", "u2"),
    ],
    align=True,
)

# Bits of a subflow's ``flags``. Where there are two, the second is side b's.
CLIENT_A, CLIENT_B = 1 << 0, 1 << 1
ISN_A, ISN_B = 1 << 2, 1 << 3  # known from SYN
GUESS_A, GUESS_B = 1 << 4, 1 << 5  # lowest that mappings allow
KEY_A, KEY_B = 1 << 6, 1 << 7
CLOSED = 1 << 8
REPLACED = 1 << 9  # its 4-tuple was used again; no longer in the hash
MIRRORED = 1 << 10  # a middlebox sent the options back: they are no word of the other side
FASTCLOSED = 1 << 11
JOINED = 1 << 12  # MP_JOIN was seen
VERSION_0, VERSION_1 = 1 << 13, 1 << 14
BACKUP_A, BACKUP_B = 1 << 15, 1 << 16

Record = NDArray[Any]  # one row of the table

EMPTY: Final = -1
DELETED: Final = -2
OBSERVERS_MAX: Final = 64


# Columns of a packet that the loop over packets reads.
PACKET: Final = np.dtype(
    [
        (name, COLUMNS[name])
        for name in (
            "at_us", "src_hi", "src_lo", "dst_hi", "dst_lo", "dsn", "data_ack", "seq", "ack", "payload_bytes", "has",
            "ssn", "observer", "src_port", "dst_port", "map_bytes", "tcp_flags",
        )
    ],
    align=True,
)  # fmt: skip


class Columns(NamedTuple):
    """The same as arrays."""

    at_us: NDArray[np.int64]
    src_hi: NDArray[np.uint64]
    src_lo: NDArray[np.uint64]
    dst_hi: NDArray[np.uint64]
    dst_lo: NDArray[np.uint64]
    dsn: NDArray[np.uint64]
    data_ack: NDArray[np.uint64]
    seq: NDArray[np.uint32]
    ack: NDArray[np.uint32]
    payload_bytes: NDArray[np.uint32]
    has: NDArray[np.uint32]
    ssn: NDArray[np.uint32]
    observer: NDArray[np.uint16]
    src_port: NDArray[np.uint16]
    dst_port: NDArray[np.uint16]
    map_bytes: NDArray[np.uint16]
    tcp_flags: NDArray[np.uint8]


def columns(records: PacketRecords) -> Columns:
    """Return the columns, each contiguous, of the dtype that records promise."""
    return Columns(*(np.ascontiguousarray(getattr(records, name), COLUMNS[name]) for name in Columns._fields))
