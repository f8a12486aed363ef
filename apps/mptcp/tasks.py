"""Celery tasks of ``mptcp``: primary keys in, service out, safe to run twice."""

from celery import shared_task

from apps.mptcp.services import captures


@shared_task(name="mptcp.retention")
def retention() -> None:
    """Remove what is past its time."""
    captures.captures_retain()
