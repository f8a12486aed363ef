"""Alarms: raised by the engine, acknowledged by people."""

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from apps.mptcp.engine.values import Change
from apps.mptcp.models import Alarm, AssociationDomain, Connection
from apps.mptcp.services.announcements import announce_alarm
from nfvportal.audit.services import audit_record
from nfvportal.events.services import event_publish


def alarm_raise(*, domain: AssociationDomain, connection: Connection | None, change: Change) -> Alarm:
    """Store what the engine alarms of; the same alarm while it is open is raised once."""
    assert change.alarm is not None
    words = change.words[:500]
    known = Alarm.objects.filter(
        domain=domain, connection=connection, kind=change.alarm.value, acknowledged_at=None
    ).first()
    if known is not None:
        return known
    row = Alarm.objects.create(
        domain=domain, connection=connection, kind=change.alarm.value, words=words, at_s=change.at_s
    )
    event_publish(
        type=f"mptcp.{row.kind}",
        at_s=change.at_s,
        severity="alarm",
        subject=f"connection {connection.pk}" if connection else domain.site.name,
        data={
            "words": words,
            "connection": connection.pk if connection else None,
            "domain": domain.site.name,
        },
    )
    announce_alarm(row)
    return row


def alarm_acknowledge(*, row: Alarm, user: User) -> Alarm:
    """Note that somebody has seen the alarm; the first one counts."""
    with transaction.atomic():
        locked = Alarm.objects.select_for_update(of=("self",)).select_related("domain__site").get(pk=row.pk)
        if locked.acknowledged_at is not None:
            return locked
        locked.acknowledged_at, locked.acknowledged_by = timezone.now(), user.get_username()
        locked.save(update_fields=["acknowledged_at", "acknowledged_by"])
        audit_record(
            actor=user,
            action="mptcp.alarm_acknowledge",
            subject=str(locked),
            before=None,
            after={"id": locked.pk},
        )
        announce_alarm(locked)
    return locked
