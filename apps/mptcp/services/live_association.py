"""The association worker: one domain, one writer, the log in, rows and news out.

Each process that works for a domain keeps the association in memory and follows the log; only who holds the lease
writes. A process that comes new, or was away, restores the snapshot and replays what came since, silently. So a killed
worker loses nothing: its entries are still in the log, the position in the database says which are stored.
"""

import logging
import os
import socket
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from apps.mptcp.association import Association, Outcome
from apps.mptcp.engine.values import Connection as EngineConnection
from apps.mptcp.models import AssociationDomain
from apps.mptcp.point_log import PointLog
from apps.mptcp.record_log import (
    START,
    Entry,
    log_entries,
    log_trim,
    position_order,
    work_begins,
)
from apps.mptcp.services.announcements import announce_connections, announce_counters, announce_domain
from apps.mptcp.services.changes import changes_store
from apps.mptcp.services.connections import connections_end, connections_gone, connections_store
from apps.mptcp.services.leases import domain_lease
from apps.mptcp.services.verdicts import verdicts_follow

logger = logging.getLogger(__name__)
ENTRIES_AT_ONCE: Final = 32
REPLAY_AT_ONCE: Final = 256
SNAPSHOT_EVERY: Final = timedelta(seconds=10)
# Counters of connections whose shape stays are stored in turns: a second's worth of writing is bounded.
REFRESH_MAX: Final = 200
REFRESH_EVERY_S: Final = 1.0
# Below the time after which Celery gives a task to somebody else.
SLICE_S: Final = 2.0
WORKER: Final = f"{socket.gethostname()}:{os.getpid()}"


@dataclass(slots=True)
class _Held:
    """What this process remembers of a domain, up to ``position`` of its log."""

    position: str
    association: Association
    points: PointLog = field(default_factory=PointLog)
    shown: dict[int, tuple[object, ...]] = field(default_factory=dict)
    refreshed_s: float = 0.0
    next_id: int = 0

    def take(self, entry: Entry) -> Outcome:
        """Follow the log by one entry."""
        self.position = entry.position
        if not entry.at_s:
            return Outcome()
        self.points.add(entry.records)
        return self.association.advance(entry.records, entry.at_s)


_held: dict[int, _Held] = {}


class LeaseLostError(Exception):
    """Somebody else wrote for the domain meanwhile; nothing of ours was stored."""


def domain_associate(*, domain_id: int) -> bool:
    """Work off the log of a domain; ``True`` when there is more to do.

    Returns at once when another process is at it.
    """
    work_begins(domain_id)
    with domain_lease(domain_id) as is_held:
        if not is_held:
            return False
        ends_s = time.monotonic() + SLICE_S
        try:
            while _step(domain_id):
                if time.monotonic() > ends_s:
                    return True
        except LeaseLostError:
            _held.pop(domain_id, None)
            return True
        except BaseException:
            _held.pop(domain_id, None)  # what is in memory may be ahead of what is stored
            raise
    return False


def _step(domain_id: int) -> bool:
    """Take some entries and store what they did; ``False`` when there were none."""
    domain = AssociationDomain.objects.filter(pk=domain_id).select_related("site").first()
    if domain is None:
        _held.pop(domain_id, None)
        return False
    held = _caught_up(domain)
    entries = list(log_entries(domain_id, domain.position, ENTRIES_AT_ONCE))
    if not entries:
        return False
    outcome = Outcome()
    for entry in entries:
        _add(outcome, held.take(entry))
    _store(domain, held, outcome, record_count=sum(len(entry.records) for entry in entries))
    return True


def _add(total: Outcome, outcome: Outcome) -> None:
    total.note(outcome.changes)
    total.changed -= outcome.gone.keys()


def _caught_up(domain: AssociationDomain) -> _Held:
    """Return the association as of the domain's position: from memory, else from the snapshot, and the log since."""
    held = _held.get(domain.pk)
    is_usable = held is not None and (
        position_order(domain.snapshot_position)
        <= position_order(held.position)
        <= position_order(domain.position)
    )
    if held is None or not is_usable:
        held = _restored(domain)
        _held[domain.pk] = held
    while position_order(held.position) < position_order(domain.position):
        missed = list(log_entries(domain.pk, held.position, REPLAY_AT_ONCE, upto=domain.position))
        for entry in missed:
            held.take(entry)
        if not missed:
            break  # Valkey lost its memory: what was stored stays, the engine knows less
    held.position = domain.position
    return held


def _restored(domain: AssociationDomain) -> _Held:
    if domain.snapshot is None:
        return _Held(START, Association())
    try:
        association = Association.restored(bytes(domain.snapshot))
        return _Held(domain.snapshot_position, association, PointLog(is_late=True))
    except Exception:  # a snapshot of another version may fail in any way
        logger.exception("snapshot of %s cannot be read; its association begins anew", domain)
        return _Held(domain.snapshot_position, Association())


def _store(domain: AssociationDomain, held: _Held, outcome: Outcome, record_count: int) -> None:
    """Store what changed, tell of it after the commit, trim what a new snapshot covers."""
    now = timezone.now()
    association = held.association
    changed = [value for number in outcome.changed if (value := association.connection(number)) is not None]
    counted, forgotten = _refreshed(held, outcome)
    is_due = domain.snapshot_at is None or now - domain.snapshot_at >= SNAPSHOT_EVERY
    with transaction.atomic():
        locked = AssociationDomain.objects.select_for_update().get(pk=domain.pk)
        if locked.position != domain.position:
            raise LeaseLostError
        stored = connections_store(source=domain, values=[*changed, *counted], points=held.points)
        gone = connections_gone(domain=domain, merged=outcome.gone.items())
        ended = connections_end(domain=domain, numbers=forgotten)
        verdicts_follow(changed=[stored[value.id].pk for value in changed], gone=gone)
        changes_store(domain=domain, changes=outcome.changes, stored=stored)
        fields: dict[str, object] = {
            "position": held.position,
            "worked_at": now,
            "worked_by": WORKER[:100],
            "record_count": F("record_count") + record_count,
            "subflow_count": association.subflow_count,
        }
        if is_due:
            fields |= {
                "snapshot": association.snapshot(), "snapshot_position": held.position, "snapshot_at": now
            }  # fmt: skip
        AssociationDomain.objects.filter(pk=domain.pk).update(**fields)
        announce_connections([*(stored[value.id].pk for value in changed), *gone, *ended])
        announce_counters(stored[value.id].pk for value in counted)
        announce_domain(AssociationDomain.objects.select_related("site").get(pk=domain.pk))
    if is_due:
        log_trim(domain.pk, held.position)
    for value in (*changed, *counted):
        held.shown[value.id] = _looks(value)
    for number in (*outcome.gone, *forgotten):
        held.shown.pop(number, None)
        association.forget(number)


def _refreshed(held: _Held, outcome: Outcome) -> tuple[list[EngineConnection], list[int]]:
    """Return connections whose counters are to be stored now, and the numbers of those that the engine forgot."""
    now_s = time.monotonic()
    if now_s - held.refreshed_s < REFRESH_EVERY_S:
        return [], []
    held.refreshed_s = now_s
    order = sorted(held.association.ids - outcome.changed)
    later = [number for number in order if number >= held.next_id]
    turn = (later + order[: len(order) - len(later)])[:REFRESH_MAX]
    held.next_id = turn[-1] + 1 if turn else 0
    counted, forgotten = [], []
    for number in turn:
        value = held.association.connection(number)
        if value is None:
            forgotten.append(number)
        elif held.shown.get(number) != _looks(value):
            counted.append(value)
    return counted, forgotten


def _looks(value: EngineConnection) -> tuple[object, ...]:
    """Return what would be seen if it changed."""
    packets = sum(subflow.packet_count for subflow in value.subflows)
    states = tuple(subflow.state for subflow in value.subflows)
    return value.last_s, packets, states, value.confidence, value.coverage, value.is_ended, value.tokens
