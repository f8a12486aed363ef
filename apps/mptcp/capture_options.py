"""What an operator may ask of a capture: to be read as if less of it had been seen. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self

import numpy as np

from apps.mptcp.engine import filters
from apps.mptcp.engine.records import PacketRecords
from nfvportal.lib.errors import InvalidInputError

Direction = Literal["", "c2s", "s2c"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("", "c2s", "s2c")
Filter = Callable[[PacketRecords], PacketRecords]


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """How a capture is read.

    Args:
        sample: share of the packets that are looked at, above 0 up to 1, by ``seed``.
        start_after_s: what comes earlier than this after the first packet of a subflow is passed over, s.
        direction: ``c2s`` only packets from the client, ``s2c`` only those to it; see ``engine.filters.Direction``.
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

    def reader(self) -> Filter:
        """Return a filter for the batches of one capture, in order: what is left of each.

        It remembers what it must (when the capture began, who the servers are): one per reading.
        """
        rng = np.random.default_rng(self.seed)
        chain: list[Filter] = []
        if self.start_after_s:
            chain.append(filters.StartAfter(self.start_after_s))
        if self.direction:
            chain.append(filters.Direction(self.direction))
        if self.sample < 1:
            chain.append(lambda records: filters.sample(records, self.sample, rng))
        if self.without_tokens:
            chain.append(filters.without_tokens)
        if self.width32:
            chain.append(filters.width32)

        def left_of(records: PacketRecords) -> PacketRecords:
            for each in chain:
                records = each(records)
            return records

        return left_of
