"""Keeps, for the picture, some data sequence numbers over time per subflow: few, evenly, within a bound. No Django.

A subflow that has more points than ``POINTS_MAX`` loses every second one and takes only every second from then on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.records import Has, PacketRecords, address_text
from apps.mptcp.engine.values import FlowKey

POINTS_MAX: Final = 240
FLOWS_MAX: Final = 20_000
# Odd numbers with well spread bits: a row's six flow columns become one number to group by.
_MIX: Final = tuple(
    np.uint64(number)
    for number in (
        0x9E3779B97F4A7C15,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x27D4EB2F165667C5,
        0x85EBCA77C2B2AE63,
        0xD6E8FEB86659FD93,
    )
)


class Point(NamedTuple):
    """A mapping: when it was seen, its first number on the wire, its length; ``side`` 0 is from ``a`` to ``b``."""

    at_s: float
    dsn: int
    size_bytes: int
    side: int
    width_bits: int


@dataclass(slots=True)
class _Flow:
    points: list[Point] = field(default_factory=list)
    stride: int = 1
    count: int = 0
    is_whole: bool = True

    def thin(self) -> None:
        """Keep the bound."""
        while len(self.points) > POINTS_MAX:
            self.points = self.points[::2]
            self.stride *= 2


class PointLog:
    """Points per subflow, by 4-tuple.

    Args:
        is_late: it begins in the middle of lives: of a subflow there may be older points elsewhere, see ``fill``.
    """

    def __init__(self, *, is_late: bool = False) -> None:
        self._flows: dict[FlowKey, _Flow] = {}
        self._is_late = is_late

    def add(self, records: PacketRecords) -> None:
        """Take the mappings among some records.

        Complexity: one sort of the rows with a mapping, then a step per subflow among them.
        """
        rows = records.rows((records.has & int(Has.DSN)) != 0)
        if not len(rows):
            return
        is_swapped = _is_second_lower(rows)
        group = _groups(rows, is_swapped)
        order = np.argsort(group, kind="stable")
        starts = np.flatnonzero(np.r_[True, group[order][1:] != group[order][:-1]])
        for start, end in zip(starts, np.r_[starts[1:], len(order)], strict=True):
            self._add_flow(rows, order[start:end], is_swapped)

    def of(self, flow: FlowKey, first_s: float, last_s: float) -> list[Point]:
        """Return a subflow's points within its life, ascending as observed."""
        known = self._flows.get(flow)
        slack_s = 0.001
        return [
            point
            for point in (known.points if known else ())
            if first_s - slack_s <= point.at_s <= last_s + slack_s
        ]

    def lacks(self, flow: FlowKey) -> bool:
        """Whether a subflow may have points from before this log began."""
        known = self._flows.get(flow)
        return self._is_late and (known is None or not known.is_whole)

    def fill(self, flow: FlowKey, older: Sequence[Point]) -> None:
        """Put a subflow's points from before this log in front; those that are here too, seen again, count once."""
        known = self._flows.setdefault(flow, _Flow())
        known.is_whole = True
        merged = {(round(point.at_s, 6), point.side): point for point in (*older, *known.points)}
        known.points = [merged[key] for key in sorted(merged)]
        known.count = max(known.count, len(known.points))
        known.thin()

    def forget(self, flow: FlowKey) -> None:
        """Drop what is known of a subflow that is gone."""
        self._flows.pop(flow, None)

    def _add_flow(
        self, rows: PacketRecords, indexes: NDArray[np.intp], is_swapped: NDArray[np.bool_]
    ) -> None:
        flow = _flow_at(rows, int(indexes[0]), bool(is_swapped[indexes[0]]))
        known = self._flows.get(flow)
        if known is None:
            if len(self._flows) >= FLOWS_MAX:
                return
            known = self._flows[flow] = _Flow(is_whole=not self._is_late)
        first = -known.count % known.stride
        known.count += len(indexes)
        for index in indexes[first :: known.stride].tolist():
            known.points.append(
                Point(
                    int(rows.at_us[index]) / 1e6,
                    int(rows.dsn[index]),
                    int(rows.map_bytes[index]),
                    int(is_swapped[index]),
                    64 if rows.has[index] & int(Has.DSN_64) else 32,
                )
            )
        known.thin()


def _is_second_lower(rows: PacketRecords) -> NDArray[np.bool_]:
    """Whether the destination is the lower end, so that the row runs from ``b`` to ``a``."""
    is_equal_hi, is_equal_lo = rows.dst_hi == rows.src_hi, rows.dst_lo == rows.src_lo
    lower: NDArray[np.bool_] = (rows.dst_hi < rows.src_hi) | (
        is_equal_hi & ((rows.dst_lo < rows.src_lo) | (is_equal_lo & (rows.dst_port < rows.src_port)))
    )
    return lower


def _groups(rows: PacketRecords, is_swapped: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return one number per row that is equal for both directions of a subflow."""
    pairs = (
        (rows.src_hi, rows.dst_hi),
        (rows.src_lo, rows.dst_lo),
        (rows.src_port.astype(np.uint64), rows.dst_port.astype(np.uint64)),
    )
    mixed = np.zeros(len(rows), np.uint64)
    for index, (source, target) in enumerate(pairs):
        mixed ^= (np.where(is_swapped, target, source) + np.uint64(index + 1)) * _MIX[2 * index]
        mixed = (mixed << np.uint64(31)) | (mixed >> np.uint64(33))
        mixed ^= (np.where(is_swapped, source, target) + np.uint64(index + 1)) * _MIX[2 * index + 1]
        mixed = (mixed << np.uint64(29)) | (mixed >> np.uint64(35))
    return mixed


def _flow_at(rows: PacketRecords, index: int, is_swapped: bool) -> FlowKey:
    source = address_text(int(rows.src_hi[index]), int(rows.src_lo[index])), int(rows.src_port[index])
    target = address_text(int(rows.dst_hi[index]), int(rows.dst_lo[index])), int(rows.dst_port[index])
    (a, a_port), (b, b_port) = (target, source) if is_swapped else (source, target)
    return FlowKey(a, a_port, b, b_port)
