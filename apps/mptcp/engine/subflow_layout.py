"""The record of a subflow.

A record holds what was ever needed of a subflow's packets, so that packets are forgotten at once: life and roles, and
per number space an unwrapped range, a ring of (time, highest number so far) and what its mappings carried. About 600
bytes each, so 10^6 subflows take 0.6 GB.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

RING: Final = 8

# What most packets change comes first, so that it is in few lines of the cache.
# A number space of a subflow; index 0 is what side a sends, 1 what side b sends.
SPACE: Final = np.dtype(
    [
        ("lo", "u8"),  # lowest and highest number seen, in mappings or acknowledged, unwrapped
        ("hi", "u8"),
        ("first_us", "i8"),
        ("last_us", "i8"),
        ("hi_us", "i8"),  # when hi was reached
        ("points", "u4"),
        ("data_points", "u4"),
        ("ring_next", "u1"),
        ("ring_count", "u1"),
        ("outliers", "u1"),  # numbers in a row that were too far away to believe
        ("is_64", "u1"),  # whether the upper half of the numbers is known
        ("has_fin", "u1"),
        ("is_fin_acked", "u1"),
        ("has_start", "u1"),
        ("pushed_us", "i8"),  # newest time in the ring
        ("data_lo", "u8"),  # the same of mappings only
        ("data_hi", "u8"),
        ("ssn_lo", "u8"),  # subflow sequence numbers of the same mappings, unwrapped
        ("ssn_hi", "u8"),
        ("fin", "u8"),  # number of DATA_FIN
        ("start", "u8"),  # IDSN + 1, from the sender's key
        ("ring_us", "i8", (RING,)),
        ("ring_hi", "u8", (RING,)),
    ],
    align=True,
)

SUBFLOW: Final = np.dtype(
    [
        ("a_hi", "u8"),
        ("a_lo", "u8"),
        ("b_hi", "u8"),
        ("b_lo", "u8"),
        ("a_port", "u2"),
        ("b_port", "u2"),
        ("flags", "u4"),
        ("isn", "u4", (2,)),
        ("last_us", "i8"),
        ("touched_us", "i8"),  # the engine's time of the step that last changed it
        ("id", "i8"),  # -1: the record is free
        ("first_us", "i8"),
        ("packets", "i8"),
        ("observers", "u8"),  # bit per observation point, see ``SubflowTable.observers``
        ("epoch", "u4"),
        ("address_id", "i2", (2,)),  # that each end gave in MP_JOIN, -1: none
        ("key", "u8", (2,)),
        ("space", SPACE, (2,)),
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
