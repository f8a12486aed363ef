"""The log of changes that subscribers replay: written in the transaction of the change, numbered in order."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from apps.mptcp.engine.values import Change, ChangeKind
from apps.mptcp.models import AssociationDomain, ChangeLog, Connection, Subflow
from apps.mptcp.services.alarms import alarm_raise
from apps.mptcp.services.leases import changes_lock
from nfvportal.celery import app

KEEP: Final = timedelta(days=7)
KEEP_COUNT: Final = 1_000_000
DELETE_BATCH: Final = 5_000


def changes_store(
    *, domain: AssociationDomain, changes: Sequence[Change], stored: Mapping[int, Connection]
) -> None:
    """Write changes to the log and raise the alarms among them; subscribers are told after the commit.

    Args:
        stored: rows at hand, by the engine's number; others are looked up.
    """
    if not changes:
        return
    rows = dict(stored)
    wanted = {change.connection for change in changes} | {
        change.other for change in changes if change.other is not None
    }
    missing = wanted - rows.keys()
    for row in Connection.objects.filter(domain=domain, engine_id__in=missing):
        rows[row.engine_id] = row
    flows = _flows(domain, changes)
    logged = [_row(change, rows, flows) for change in changes if change.kind != ChangeKind.CONNECTION_FOUND]
    found = [
        _row(change, rows, flows)
        for change in changes
        if change.kind == ChangeKind.CONNECTION_FOUND and change.connection in stored
    ]
    for change in changes:
        if change.kind == ChangeKind.ALARM:
            alarm_raise(domain=domain, connection=rows.get(change.connection), change=change)
    changes_lock()
    ChangeLog.objects.bulk_create([*found, *logged])
    transaction.on_commit(deliver_later, robust=True)


def _flows(domain: AssociationDomain, changes: Sequence[Change]) -> dict[int, dict[str, Any]]:
    """Return engine's number of a subflow -> its 4-tuple, for those that changes name."""
    numbers = {change.subflow for change in changes if change.subflow is not None}
    rows = Subflow.objects.filter(connection__domain=domain, engine_id__in=numbers).defer("points")
    return {
        row.engine_id: {"a": row.a, "a_port": row.a_port, "b": row.b, "b_port": row.b_port} for row in rows
    }


def _row(change: Change, rows: Mapping[int, Connection], flows: Mapping[int, dict[str, Any]]) -> ChangeLog:
    data: dict[str, Any] = {}
    if change.subflow is not None:
        data["subflow"] = {"id": change.subflow, **flows.get(change.subflow, {})}
    if change.other is not None:
        other = rows.get(change.other)
        data["other"] = other.pk if other else None
    if change.alarm is not None:
        data |= {"alarm": change.alarm.value, "words": change.words}
    row = rows.get(change.connection)
    return ChangeLog(kind=change.kind.value, connection=row, data=data, at_s=change.at_s)


def deliver_later() -> None:
    """Ask for the delivery to webhooks."""
    app.send_task("mptcp.deliver", queue="telemetry", retry=False, expires=30)


def changes_retain(*, keep: timedelta = KEEP, keep_count: int = KEEP_COUNT) -> int:
    """Delete changes older than ``keep`` or beyond ``keep_count``, in small batches; return how many."""
    beyond = (
        ChangeLog.objects.order_by("-id").values_list("id", flat=True)[keep_count : keep_count + 1].first()
    )
    old = ChangeLog.objects.order_by("id").values_list("id", flat=True)
    deleted = 0
    for doomed in (old.filter(created_at__lt=timezone.now() - keep), old.filter(id__lte=beyond or 0)):
        while batch := list(doomed[:DELETE_BATCH]):
            deleted += ChangeLog.objects.filter(id__in=batch).delete()[0]
    return deleted
