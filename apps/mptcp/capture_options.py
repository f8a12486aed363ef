"""What an operator may ask of a capture: to be read as if less of it had been seen. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.random import Generator

from apps.mptcp.engine.records import Has, PacketRecords
from nfvportal.lib.errors import InvalidInputError

Direction = Literal["", "c2s", "s2c"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("", "c2s", "s2c")
_SECRETS: Final = int(Has.KEY | Has.PEER_KEY | Has.TOKEN | Has.CAPABLE_MAP)
_WIDTHS: Final = int(Has.DSN_64 | Has.DATA_ACK_64)
_LOW: Final = np.uint64(0xFFFF_FFFF)


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """How a capture is read.

    Args:
        sample: share of the packets that are looked at, above 0 up to 1, by ``seed``.
        start_after_s: what comes earlier than this after the first packet is passed over, s.
        direction: ``c2s`` only packets from the client, ``s2c`` only those to it; a client is who has the higher port.
        without_tokens: pass over keys and tokens, as if all handshakes were missed.
        width32: cut sequence numbers to 32 bits, as senders do that save space.
    """

    sample: float = 1.0
    seed: int = 1
    start_after_s: float = 0.0
    direction: Direction = ""
    without_tokens: bool = False
    width32: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.sample <= 1:
            raise InvalidInputError("sample", "must be above 0 and at most 1")
        if not 0 <= self.seed < 2**32:
            raise InvalidInputError("seed", "must be from 0 to 2^32 - 1")
        if not 0 <= self.start_after_s <= 1e9:
            raise InvalidInputError("start_after_s", "must be from 0 to 10^9 seconds")
        if self.direction not in DIRECTIONS:
            raise InvalidInputError("direction", "must be empty, c2s or s2c")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return options from what ``to_json`` made; what is missing takes its default."""
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain data."""
        return asdict(self)

    def applied(self, records: PacketRecords, first_us: int, rng: Generator) -> PacketRecords:
        """Return what is left of some records.

        Args:
            first_us: time of the capture's first packet, epoch microseconds.
            rng: decides which packets are sampled; the same one for the whole capture.
        """
        keep = np.ones(len(records), bool)
        if self.sample < 1:
            keep &= rng.random(len(records)) < self.sample
        if self.start_after_s:
            keep &= records.at_us >= first_us + int(self.start_after_s * 1e6)
        if self.direction:
            is_from_client = records.src_port > records.dst_port
            keep &= is_from_client if self.direction == "c2s" else ~is_from_client
        left = records if keep.all() else records.rows(keep)
        return self._poorer(left) if self.without_tokens or self.width32 else left

    def _poorer(self, records: PacketRecords) -> PacketRecords:
        has = records.has
        changes: dict[str, Any] = {}
        if self.without_tokens:
            has = has & ~np.uint32(_SECRETS)
            zeros = PacketRecords.zeros(len(records))
            changes |= {name: getattr(zeros, name) for name in ("key", "peer_key", "token")}
        if self.width32:
            has = has & ~np.uint32(_WIDTHS)
            changes |= {"dsn": records.dsn & _LOW, "data_ack": records.data_ack & _LOW}
        return replace(records, has=has, **changes)
