"""An associator with its bookkeeping: when to tick, which connections there are, what changed. Pure.

Driven by the same log it comes to the same state: a process that lost its memory, or takes a domain over, replays.
"""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self

from apps.mptcp.engine.associator import Associator
from apps.mptcp.engine.config import AssociatorConfig
from apps.mptcp.engine.records import PacketRecords
from apps.mptcp.engine.values import Change, ChangeKind, Connection

TICK_S: Final = 1.0
# A capture is read as a whole: who falls silent in it for an hour may come back.
CAPTURE_FORGET_S: Final = 3600.0
_HEAD: Final = struct.Struct("<I")


@dataclass(slots=True)
class Outcome:
    """What some records did.

    Args:
        changes: in order.
        changed: connections that took a new shape. gone: engine's number -> the connection it went into.
    """

    changes: list[Change] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    gone: dict[int, int] = field(default_factory=dict)

    def note(self, changes: Iterable[Change]) -> None:
        """Add changes."""
        for change in changes:
            self.changes.append(change)
            if change.kind == ChangeKind.ALARM:
                continue
            self.changed.add(change.connection)
            if change.kind in (ChangeKind.SUBFLOW_JOINED, ChangeKind.CONNECTIONS_MERGED):
                if change.other is not None:
                    self.gone[change.other] = change.connection
                    self.changed.discard(change.other)
            elif change.kind == ChangeKind.CONNECTION_SPLIT and change.other is not None:
                self.gone.pop(change.other, None)
                self.changed.add(change.other)


class Association:
    """One association domain, or one capture.

    Args:
        forget_s: without a packet for that long a subflow is forgotten; ``None``: the engine's own.
    """

    def __init__(self, forget_s: float | None = None) -> None:
        self._config = AssociatorConfig() if forget_s is None else AssociatorConfig(forget_s=forget_s)
        self.engine = Associator(self._config)
        self.ids: set[int] = set()
        self._next_tick_s: float | None = None

    @classmethod
    def restored(cls, data: bytes) -> Self:
        """Return the association that ``snapshot`` wrote down."""
        (length,) = _HEAD.unpack_from(data)
        head = json.loads(data[_HEAD.size : _HEAD.size + length])
        made = cls()
        made.engine = Associator.restore(data[_HEAD.size + length :])
        made.ids = set(head["ids"])
        made._next_tick_s = head["next_tick_s"]
        return made

    def snapshot(self) -> bytes:
        """Return everything as bytes."""
        head = json.dumps({"ids": sorted(self.ids), "next_tick_s": self._next_tick_s}).encode()
        return _HEAD.pack(len(head)) + head + self.engine.snapshot()

    def advance(self, records: PacketRecords, now_s: float) -> Outcome:
        """Take records that arrived at ``now_s``; none at all lets time pass."""
        outcome = Outcome()
        if len(records):
            outcome.note(self.engine.step(records, now_s))
        if self._next_tick_s is None or now_s >= self._next_tick_s:
            outcome.note(self.engine.tick(now_s))
            self._next_tick_s = now_s + TICK_S
        self.ids |= outcome.changed
        self.ids -= outcome.gone.keys()
        return outcome

    def connection(self, number: int) -> Connection | None:
        """Return a connection; ``None`` when it is forgotten."""
        return self.engine.connection(number)

    def forget(self, number: int) -> None:
        """Note that the engine knows a connection no more."""
        self.ids.discard(number)

    @property
    def subflow_count(self) -> int:
        """How many subflows are held."""
        return self.engine.counters["subflows"]


class CaptureAssociation:
    """The connections of a whole capture, those too that the engine forgot on the way."""

    def __init__(self) -> None:
        self._association = Association(CAPTURE_FORGET_S)
        self._kept: dict[int, Connection] = {}
        self._next_keep_s: float | None = None
        self._now_s = 0.0
        self.alarms: list[dict[str, Any]] = []

    def take(self, records: PacketRecords) -> None:
        """Take the next records of the capture."""
        self._now_s = max(self._now_s, records.latest_us / 1e6)
        self._note(self._association.advance(records, self._now_s))
        if self._next_keep_s is None:
            self._next_keep_s = self._now_s + CAPTURE_FORGET_S / 2
        if self._now_s >= self._next_keep_s:
            self._next_keep_s = self._now_s + CAPTURE_FORGET_S / 4
            self._keep()

    def final(self) -> list[Connection]:
        """Return all connections, after the last record."""
        if self._association.ids:
            outcome = Outcome()
            outcome.note(self._association.engine.tick(self._now_s))
            self._note(outcome)
        found = {connection.id: connection for connection in self._association.engine.connections()}
        return [connection for _, connection in sorted((self._kept | found).items())]

    def _note(self, outcome: Outcome) -> None:
        for number in outcome.gone:
            self._kept.pop(number, None)
        self.alarms += [
            {"kind": change.alarm.value, "words": change.words, "at_s": change.at_s}
            for change in outcome.changes
            if change.alarm is not None
        ]

    def _keep(self) -> None:
        """Remember who was silent for long, before the engine forgets."""
        limit_s = self._now_s - CAPTURE_FORGET_S / 4
        for connection in self._association.engine.connections():
            if connection.last_s < limit_s:
                self._kept[connection.id] = connection
