"""Writes of the event log: publish, dispatch to the reactions, keep within limits."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from nfvportal.celery import app
from nfvportal.events.models import Event
from nfvportal.events.selectors import event_data
from nfvportal.events.severities import SeverityName
from nfvportal.live.publish import publish
from nfvportal.reactions import REACTIONS

logger = logging.getLogger(__name__)
DISPATCH_TIMEOUT = timedelta(seconds=2)
SWEEP_LIMIT = 500
KEEP = timedelta(days=30)
KEEP_COUNT = 500_000
DELETE_BATCH = 5_000


def event_publish(
    *,
    type: str,
    at_s: float,
    severity: SeverityName,
    subject: str,
    data: Mapping[str, Any],
    device_name: str = "",
    source_key: str | None = None,
) -> Event | None:
    """Store an event; after commit tell browsers and start its reactions.

    Args:
        at_s: when it happened, by the clock of the source.
        source_key: the event's name at its source; told twice, it is stored once.

    Returns:
        The event, or ``None`` when ``source_key`` is already stored.
    """
    now = timezone.now()
    event = Event(
        type=type,
        at=_moment(at_s, now),
        severity=severity,
        subject=subject[:200],
        device_name=device_name,
        data=dict(data),
        source_key=source_key,
        dispatched_at=None if type in REACTIONS else now,
    )
    try:
        with transaction.atomic():
            event.save(force_insert=True)
            transaction.on_commit(lambda: _announce(event), robust=True)
    except IntegrityError:
        if source_key is None or not Event.objects.filter(source_key=source_key).exists():
            raise
        return None
    return event


def events_sweep() -> int:
    """Dispatch events whose dispatch was lost with a broker or a process; return how many."""
    count = 0
    with transaction.atomic():
        left = (
            Event.objects.select_for_update(skip_locked=True)
            .filter(dispatched_at=None, created_at__lt=timezone.now() - DISPATCH_TIMEOUT)
            .order_by("id")[:SWEEP_LIMIT]
        )
        for event in left:
            if not event_dispatch(event):
                break  # the broker is away: the rest would fail alike
            count += 1
    return count


def event_dispatch(event: Event) -> bool:
    """Hand the event to its reactions and remember that; ``False`` when the broker is away."""
    try:
        for task in REACTIONS.get(event.type, ()):
            app.send_task(task, kwargs={"event_id": event.pk}, queue="control", retry=False)
    except Exception as error:  # the broker's client raises errors of several libraries
        logger.warning("reactions of event %d (%s) wait for the broker: %s", event.pk, event.type, error)
        return False
    Event.objects.filter(pk=event.pk).update(dispatched_at=timezone.now())
    return True


def events_retain(*, keep: timedelta = KEEP, keep_count: int = KEEP_COUNT) -> int:
    """Delete events older than ``keep`` or beyond ``keep_count``, in small batches; return how many."""
    beyond = Event.objects.order_by("-id").values_list("id", flat=True)[keep_count : keep_count + 1].first()
    done = Event.objects.exclude(dispatched_at=None).order_by("id").values_list("id", flat=True)
    deleted = 0
    for doomed in (done.filter(at__lt=timezone.now() - keep), done.filter(id__lte=beyond or 0)):
        while batch := list(doomed[:DELETE_BATCH]):
            deleted += Event.objects.filter(id__in=batch).delete()[0]
    return deleted


def _announce(event: Event) -> None:
    if event.dispatched_at is None:
        event_dispatch(event)
    publish("events", event.type, dict(event_data(event)), event.at.timestamp())


def _moment(at_s: float, now: datetime) -> datetime:
    """Return ``at_s`` as a moment; a device's clock may say anything, our log holds only what a date can be."""
    try:
        return datetime.fromtimestamp(at_s, UTC)
    except (ValueError, OverflowError, OSError):
        return now
