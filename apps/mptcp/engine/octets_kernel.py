"""Numbers in network order out of bytes, for compiled loops. Who calls has seen to it that the bytes are there."""

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.compiling import inlined

Octets = NDArray[np.uint8]


@inlined
def u8(b: Octets, p: int) -> int:
    """Return one byte; the sum makes it a signed word for the compiler, an exact number for the interpreter."""
    return 0 + int(b[np.uint64(p)])


@inlined
def u16(b: Octets, p: int) -> int:
    """Return two bytes in network order."""
    return u8(b, p) << 8 | u8(b, p + 1)


@inlined
def u32(b: Octets, p: int) -> int:
    """Return four bytes in network order."""
    return u8(b, p) << 24 | u8(b, p + 1) << 16 | u8(b, p + 2) << 8 | u8(b, p + 3)


@inlined
def u64(b: Octets, p: int) -> int:
    """Return eight bytes in network order, as a bit pattern."""
    return u32(b, p) << 32 | u32(b, p + 4)


@inlined
def ending_at(b: Octets, after: int, size: int) -> int:
    """Return the last ``size`` bytes before ``after``, 0, 4 or 8 in network order, without a branch.

    Eight bytes are read: what is before must be there.
    """
    return u64(b, after - 8) & ((1 << 4 * size) << 4 * size) - 1
