"""Stores what the engine says of connections: whole values, so that storing twice changes nothing."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from apps.mptcp.engine.values import Connection as EngineConnection
from apps.mptcp.engine.values import SubflowState
from apps.mptcp.mapping import connection_fields, evidence_row, points_of, points_stored, subflow_row
from apps.mptcp.models import AssociationDomain, Capture, Connection, ConnectionState, Evidence, Subflow
from apps.mptcp.point_log import PointLog

BATCH: Final = 500
KEEP: Final = timedelta(days=7)
KEEP_GONE: Final = timedelta(hours=1)
DELETE_BATCH: Final = 500
CONNECTION_FIELDS: Final = (
    "state",
    "merged_into",
    "confidence",
    "is_blockable",
    "coverage_ab",
    "coverage_ba",
    "tokens",
    "subflow_count",
    "client",
    "server",
    "addresses",
    "evidence_kinds",
    "dsn_base",
    "first_s",
    "last_s",
)
SUBFLOW_FIELDS: Final = (
    "epoch",
    "a",
    "a_port",
    "b",
    "b_port",
    "state",
    "is_a_client",
    "packet_count",
    "seen_by",
    "first_s",
    "last_s",
    "points",
)


def connections_store(
    *, source: AssociationDomain | Capture, values: Sequence[EngineConnection], points: PointLog
) -> dict[int, Connection]:
    """Create or replace the rows of connections, with their subflows, evidence and points.

    Returns:
        The engine's number -> row.
    """
    stored: dict[int, Connection] = {}
    for start in range(0, len(values), BATCH):
        stored |= _batch_store(source, values[start : start + BATCH], points)
    return stored


@transaction.atomic
def _batch_store(
    source: AssociationDomain | Capture, values: Sequence[EngineConnection], points: PointLog
) -> dict[int, Connection]:
    place: dict[str, Any] = (
        {"domain": source} if isinstance(source, AssociationDomain) else {"capture": source}
    )
    _points_fill(place, values, points)
    rows = Connection.objects.bulk_create(
        [Connection(**place, engine_id=value.id, **connection_fields(value)) for value in values],
        update_conflicts=True,
        unique_fields=[*place, "engine_id"],
        update_fields=CONNECTION_FIELDS,
    )
    pairs = list(zip(rows, values, strict=True))
    subflows = [
        subflow_row(
            row, subflow, points_of(points.of(subflow.flow, subflow.first_s, subflow.last_s), row.dsn_base)
        )
        for row, value in pairs
        for subflow in value.subflows
    ]
    kept = {(subflow.connection_id, subflow.engine_id) for subflow in subflows}
    known = Subflow.objects.filter(connection__in=rows).values_list("pk", "connection_id", "engine_id")
    Subflow.objects.filter(pk__in=[pk for pk, *key in known if tuple(key) not in kept]).delete()
    Subflow.objects.bulk_create(
        subflows,
        update_conflicts=True,
        unique_fields=["connection", "engine_id"],
        update_fields=SUBFLOW_FIELDS,
        batch_size=BATCH,
    )
    Evidence.objects.filter(connection__in=rows).delete()
    Evidence.objects.bulk_create(
        [evidence_row(row, evidence) for row, value in pairs for evidence in value.evidence], batch_size=BATCH
    )
    return {value.id: row for row, value in pairs}


def _points_fill(place: dict[str, Any], values: Sequence[EngineConnection], points: PointLog) -> None:
    """Take over the stored points of subflows whose log began in another process."""
    wanted = {one.id: one.flow for value in values for one in value.subflows if points.lacks(one.flow)}
    if not wanted:
        return
    stored = Subflow.objects.filter(
        engine_id__in=wanted, **{f"connection__{name}": owner for name, owner in place.items()}
    )
    older = {
        row.engine_id: points_stored(row.points, row.connection.dsn_base)
        for row in stored.select_related("connection")
    }
    for number, flow in wanted.items():
        points.fill(flow, older.get(number, ()))


def connections_gone(*, domain: AssociationDomain, merged: Iterable[tuple[int, int]]) -> list[int]:
    """Mark connections that were merged into others: (engine's number that is gone, the one it went into).

    Returns:
        Keys of the rows that are gone.
    """
    gone = []
    for number, into in merged:
        row = Connection.objects.filter(domain=domain, engine_id=number).first()
        if row is None:
            continue
        row.state = ConnectionState.GONE
        row.merged_into = Connection.objects.filter(domain=domain, engine_id=into).first()
        row.subflow_count = 0
        row.save(update_fields=["state", "merged_into", "subflow_count"])
        row.subflows.all().delete()
        row.evidence.all().delete()
        gone.append(row.pk)
    return gone


def connections_end(*, domain: AssociationDomain, numbers: Iterable[int]) -> list[int]:
    """Mark connections that the engine forgot: nothing was seen of them for minutes; return keys of their rows."""
    rows = Connection.objects.filter(domain=domain, engine_id__in=list(numbers)).exclude(
        state__in=(ConnectionState.ENDED, ConnectionState.GONE)
    )
    keys = list(rows.values_list("pk", flat=True))
    Connection.objects.filter(pk__in=keys).update(state=ConnectionState.ENDED)
    Subflow.objects.filter(connection__in=keys).update(state=SubflowState.CLOSED.value)
    return keys


def connections_retain(*, keep: timedelta = KEEP, keep_gone: timedelta = KEEP_GONE) -> int:
    """Delete what sensors saw long ago, and what was merged away, in batches; blocked ones stay; return how many."""
    now_s = timezone.now().timestamp()
    live = Connection.objects.exclude(domain=None).exclude(verdicts__ended_at=None, verdicts__isnull=False)
    old = live.filter(last_s__lt=now_s - keep.total_seconds())
    gone = live.filter(state=ConnectionState.GONE, last_s__lt=now_s - keep_gone.total_seconds())
    deleted = 0
    for doomed in (old, gone):
        while batch := list(doomed.order_by("id").values_list("id", flat=True)[:DELETE_BATCH]):
            Connection.objects.filter(id__in=batch).delete()
            deleted += len(batch)
    return deleted
