"""Celery tasks of the event log."""

from celery import shared_task

from nfvportal.events.services import events_retain, events_sweep


@shared_task(name="events.sweep")
def sweep() -> int:
    """Dispatch what a dead broker or process left behind."""
    return events_sweep()


@shared_task(name="events.retention")
def retention() -> int:
    """Delete what is older than the log keeps."""
    return events_retain()
