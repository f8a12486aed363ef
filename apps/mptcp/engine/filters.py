"""What an observer would have seen of the same traffic with less: filters of rows, for the CLI and the benchmarks.

All are pure; the same rows and the same seed give the same answer. A filter that works over several batches of one
input is an object that remembers what it must; its memory is bounded as its docstring says.
"""

from typing import Any, Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from apps.mptcp.engine.records import Has, PacketRecords, TcpFlag
from nfvportal.lib.errors import InvalidInputError

DIRECTIONS: Final = ("c2s", "s2c")
SERVERS_MAX: Final = 65_536
_KEY_BITS: Final = (
    Has.CAPABLE | Has.KEY | Has.PEER_KEY | Has.JOIN | Has.TOKEN | Has.CAPABLE_MAP | Has.FASTCLOSE
)
_LOW_32: Final = np.uint64(0xFFFFFFFF)
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)


def sample(records: PacketRecords, probability: float, rng: Generator) -> PacketRecords:
    """Keep each row with a probability, independently, as a sampling sensor does.

    Raises:
        InvalidInputError: ``sample``: not above 0 and at most 1.
    """
    if not 0 < probability <= 1:
        raise InvalidInputError("sample", "must be above 0 and at most 1")
    if probability == 1:
        return records
    return records.rows(rng.random(len(records)) < probability)


class StartAfter:
    """Drops what came within some seconds of the first row: a capture that started late.

    Args:
        seconds: from the first row's time; at least 0.
    """

    def __init__(self, seconds: float) -> None:
        if not 0 <= seconds < 1e9:
            raise InvalidInputError("start_after", "must be 0 to 1000000000 seconds")
        self._delay_us = round(seconds * 1e6)
        self._start_us: int | None = None

    def __call__(self, records: PacketRecords) -> PacketRecords:
        """Return the later rows of the next batch."""
        if not len(records):
            return records
        if self._start_us is None:
            self._start_us = int(records.at_us[0]) + self._delay_us
        return records.rows(records.at_us >= self._start_us)


class Direction:
    """Keeps the rows of one direction: client to server (``c2s``) or back (``s2c``).

    A SYN shows who the server is; its address and port are remembered (at most ``SERVERS_MAX``). Where none was seen
    the server is the side with the lower port, or with the lower address where ports are equal.

    Raises:
        InvalidInputError: ``direction``: neither of the two.
    """

    def __init__(self, way: str) -> None:
        if way not in DIRECTIONS:
            raise InvalidInputError("direction", "must be c2s or s2c")
        self._is_c2s = way == "c2s"
        self._servers = np.zeros(0, np.uint64)

    def __call__(self, records: PacketRecords) -> PacketRecords:
        """Return the rows of the next batch that go this way."""
        source = _mixed(records.src_hi, records.src_lo, records.src_port)
        target = _mixed(records.dst_hi, records.dst_lo, records.dst_port)
        is_opening = (records.tcp_flags & np.uint8(TcpFlag.SYN | TcpFlag.ACK)) == TcpFlag.SYN
        if is_opening.any():
            self._servers = np.union1d(self._servers, target[is_opening])[:SERVERS_MAX]
        to_server, from_server = np.isin(target, self._servers), np.isin(source, self._servers)
        is_higher = records.src_hi > records.dst_hi
        is_higher |= (records.src_hi == records.dst_hi) & (records.src_lo > records.dst_lo)
        by_number = (records.src_port > records.dst_port) | (
            (records.src_port == records.dst_port) & is_higher
        )
        is_c2s = np.where(to_server == from_server, by_number, to_server)
        return records.rows(is_c2s if self._is_c2s else ~is_c2s)


def without_tokens(records: PacketRecords) -> PacketRecords:
    """Drop SYNs, and keys, tokens and nonces elsewhere: no handshake helps the association.

    Rows that then say nothing of MPTCP, and are neither FIN nor RST, are dropped too.
    """
    records = records.rows((records.tcp_flags & np.uint8(TcpFlag.SYN)) == 0)
    gone = (records.has & np.uint32(_KEY_BITS)) != 0
    had_map = (records.has & np.uint32(Has.CAPABLE_MAP)) != 0
    for column in (records.key, records.peer_key, records.token, records.nonce, records.version):
        column[:] = 0
    records.ssn[had_map] = 0
    records.map_bytes[had_map] = 0
    records.has[:] &= np.uint32(~int(_KEY_BITS) & 0xFFFFFFFF)
    is_end = (records.tcp_flags & np.uint8(TcpFlag.FIN | TcpFlag.RST)) != 0
    return records.rows(~gone | (records.has != 0) | is_end)


def width32(records: PacketRecords) -> PacketRecords:
    """Cut DSN and DATA_ACK to 32 bits, as a sender without the long form writes them."""
    has = records.has & np.uint32(~int(Has.DSN_64 | Has.DATA_ACK_64) & 0xFFFFFFFF)
    return records.copy(dsn=records.dsn & _LOW_32, data_ack=records.data_ack & _LOW_32, has=has)


def fingerprints(records: PacketRecords) -> NDArray[np.uint64]:
    """Return 64 bits per row that are equal for one packet seen at several observation points.

    Of 4-tuple, sequence and acknowledgement numbers of both levels, TCP flags and bytes. Two different packets are
    equal with 2^-64.
    """
    return _mixed(
        records.src_hi, records.src_lo, records.dst_hi, records.dst_lo, records.dsn, records.data_ack,
        records.src_port.astype(np.uint64) << np.uint64(16) | records.dst_port,
        records.seq.astype(np.uint64) << np.uint64(32) | records.ack,
        records.payload_bytes.astype(np.uint64) << np.uint64(8) | records.tcp_flags,
    )  # fmt: skip


def _mixed(*parts: NDArray[Any]) -> NDArray[np.uint64]:
    """Return 64 bits that depend on every bit of some columns."""
    mixed = np.zeros(len(parts[0]), np.uint64)
    for part in parts:
        mixed = (mixed ^ part) * _MIX
        mixed ^= mixed >> np.uint64(29)
        mixed = mixed * _MIX
        mixed ^= mixed >> np.uint64(32)
    return mixed


class Deduplication:
    """Drops what another observation point has told already; needs no common clock.

    A packet repeated at *one* point (a retransmission) is kept. Of the packets seen, those of the last ``capacity`` or
    more rows are remembered (in two generations); memory at most 20 bytes for each of ``2 * capacity`` rows.

    Args:
        capacity: rows to remember, at least 1.
    """

    def __init__(self, capacity: int = 1 << 20) -> None:
        if capacity < 1:
            raise InvalidInputError("capacity", "must be at least 1")
        self._capacity = capacity
        self._young = _Seen.empty()
        self._old = _Seen.empty()
        self.dropped_count = 0

    def __call__(self, records: PacketRecords) -> PacketRecords:
        """Return the rows of the next batch that no other observation point has shown before.

        Complexity: O(n log n) for a batch of n rows, and O(m) to remember m.
        """
        if not len(records):
            return records
        prints = fingerprints(records)
        batch = _Seen.of(prints, records.observer)
        first_observer = batch.observer_of(prints, records.observer)
        for known in (self._young, self._old):
            first_observer = known.observer_of(prints, first_observer)
        is_new = first_observer == records.observer
        self.dropped_count += int(len(records) - np.count_nonzero(is_new))
        self._young = self._young.merged(batch)
        if len(self._young.prints) >= self._capacity:
            self._young, self._old = _Seen.empty(), self._young
        return records.rows(is_new)


class _Seen:
    """Fingerprints, sorted, each with the observation point that showed it first."""

    def __init__(self, prints: NDArray[np.uint64], observers: NDArray[np.uint16]) -> None:
        self.prints = prints
        self.observers = observers

    @classmethod
    def empty(cls) -> "_Seen":
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.uint16))

    @classmethod
    def of(cls, prints: NDArray[np.uint64], observers: NDArray[np.uint16]) -> "_Seen":
        """Return the distinct ones; of equal ones the first counts."""
        distinct, first = np.unique(prints, return_index=True)
        return cls(distinct, observers[first])

    def observer_of(self, prints: NDArray[np.uint64], otherwise: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Return who showed each of some prints first, or ``otherwise``."""
        if not len(self.prints):
            return otherwise
        place = np.minimum(np.searchsorted(self.prints, prints), len(self.prints) - 1)
        return np.where(self.prints[place] == prints, self.observers[place], otherwise)

    def merged(self, later: "_Seen") -> "_Seen":
        """Return both; of equal ones the earlier counts."""
        return _Seen.of(
            np.concatenate([self.prints, later.prints]), np.concatenate([self.observers, later.observers])
        )
