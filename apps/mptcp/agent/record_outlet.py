"""Records on their way from a sensor to the portal: in batches, bounded in rate and memory, all loss counted.

Each batch is one ``samples`` frame with one row; for ``records``, ``count`` and the times see ``engine.record_batch``.
The other columns say how much of the traffic the records stand for; counts run from the start of the role:
``observer``; ``sampling_ratio``; ``packet_count``: packets the source gave us; ``kernel_drop_count``: packets lost
before us; ``own_drop_count``: records given up by the limit on the rate; ``is_up``: whether the source works; and what
else the source counts.
A batch without records comes every second, so that who is silent differs from who sees nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from apps.mptcp.engine.record_batch import BATCH_RECORDS_MAX, records_to_columns
from apps.mptcp.engine.records import PacketRecords
from nfvportal.agent.role import RoleContext

FLUSH_AFTER_S: Final = 0.25
REPORT_EVERY_S: Final = 1.0
# What a portal takes from one sensor without falling behind; more is dropped here, where it costs least.
RECORD_RATE_MAX: Final = 20_000


@dataclass(slots=True)
class SourceCounts:
    """What a source counted since the role began; ``more``: further columns of its batches."""

    packet_count: int = 0
    kernel_drop_count: int = 0
    is_up: bool = True
    more: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class RecordOutlet:
    """Gathers records of one observation point. Not thread-safe: its source's thread owns it.

    Args:
        context: where batches go.
        observer: observation point of all records.
        sampling_ratio: share of the packets that the source looks at, 0..1; ``None``: the source does not say.
        rate_max: records per second; a second's worth may come at once.
    """

    context: RoleContext
    observer: int
    sampling_ratio: float | None
    rate_max: int = RECORD_RATE_MAX
    own_drop_count: int = 0
    record_count: int = 0
    _parts: list[PacketRecords] = field(default_factory=list)
    _waiting: int = 0
    _since_s: float | None = None
    _allowed: float = 0.0
    _allowed_at_s: float | None = None
    _reported_s: float | None = None

    def add(self, records: PacketRecords, counts: SourceCounts, now_s: float) -> None:
        """Take records; full batches leave at once.

        Args:
            now_s: monotonic time.
        """
        records = self._within_rate(records, now_s)
        if len(records):
            self._parts.append(records)
            self._waiting += len(records)
            self._since_s = now_s if self._since_s is None else self._since_s
        if self._waiting >= BATCH_RECORDS_MAX:
            self._flush(counts, now_s, is_all=False)

    def tick(self, counts: SourceCounts, now_s: float) -> None:
        """Send what has waited long enough, or word that there is nothing."""
        if self._since_s is not None and now_s - self._since_s >= FLUSH_AFTER_S:
            self._flush(counts, now_s, is_all=True)
        elif self._reported_s is None or now_s - self._reported_s >= REPORT_EVERY_S:
            self._send(PacketRecords.zeros(0), counts, now_s)

    def close(self, counts: SourceCounts, now_s: float) -> None:
        """Send the rest."""
        self._flush(counts, now_s, is_all=True)

    def _within_rate(self, records: PacketRecords, now_s: float) -> PacketRecords:
        since_s = 1.0 if self._allowed_at_s is None else now_s - self._allowed_at_s
        self._allowed = min(self.rate_max, self._allowed + since_s * self.rate_max)
        self._allowed_at_s = now_s
        kept = min(len(records), int(self._allowed))
        self._allowed -= kept
        self.own_drop_count += len(records) - kept
        return records if kept == len(records) else records.rows(slice(kept))

    def _flush(self, counts: SourceCounts, now_s: float, *, is_all: bool) -> None:
        rest = PacketRecords.joined(self._parts)
        at = 0
        while len(rest) - at >= (1 if is_all else BATCH_RECORDS_MAX):
            self._send(rest.rows(slice(at, at + BATCH_RECORDS_MAX)), counts, now_s)
            at += BATCH_RECORDS_MAX
        rest = rest.rows(slice(at, None))
        self._parts, self._waiting = [rest] if len(rest) else [], len(rest)
        self._since_s = now_s if len(rest) else None

    def _send(self, records: PacketRecords, counts: SourceCounts, now_s: float) -> None:
        self._reported_s = now_s
        self.record_count += len(records)
        columns: Mapping[str, Sequence[object]] = {
            "observer": [self.observer],
            "sampling_ratio": [self.sampling_ratio],
            "packet_count": [counts.packet_count],
            "kernel_drop_count": [counts.kernel_drop_count],
            "own_drop_count": [self.own_drop_count],
            "is_up": [counts.is_up],
            **{name: [value] for name, value in counts.more.items()},
            **records_to_columns(records),
        }
        self.context.sample(columns)
