"""Reads of the event log."""

from typing import Any, TypedDict

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import QuerySet

from nfvportal.events.models import Event

SNAPSHOT_EVENTS = 50


class EventData(TypedDict):
    """An event as browsers and REST see it. Times are epoch seconds."""

    id: int
    type: str
    at_s: float
    severity: str
    subject: str
    device: str
    data: dict[str, Any]


def event_data(event: Event) -> EventData:
    """Return the event as plain data."""
    return {
        "id": event.pk,
        "type": event.type,
        "at_s": event.at.timestamp(),
        "severity": event.severity,
        "subject": event.subject,
        "device": event.device_name,
        "data": event.data,
    }


def event_list(*, type: str = "", severity: str = "", device: str = "") -> QuerySet[Event]:
    """Return events, newest first, optionally of one type, severity or device."""
    wanted = {"type": type, "severity": severity, "device_name": device}
    return Event.objects.filter(**{field: value for field, value in wanted.items() if value})


def events_snapshot(user: AbstractBaseUser | AnonymousUser, topic: str) -> dict[str, Any]:
    """Return what the topic ``events`` starts with: the newest events."""
    del user, topic  # every viewer sees every event
    return {"events": [event_data(event) for event in event_list()[:SNAPSHOT_EVENTS]]}
