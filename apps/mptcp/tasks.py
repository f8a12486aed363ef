"""Celery tasks of ``mptcp``: primary keys in, service out, safe to run twice."""

from collections.abc import Mapping, Sequence
from typing import Any

from celery import shared_task

from apps.mptcp.services import (
    captures,
    changes,
    connections,
    live_association,
    moves,
    samples,
    verdicts,
    webhooks,
)


@shared_task(name="mptcp.ingest_samples")
def ingest_samples(device: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Packets that a sensor or collector saw."""
    samples.sensor_samples_ingest(device_name=device, columns=columns)


@shared_task(name="mptcp.associate")
def associate(domain_id: int) -> None:
    """Work off what came for a domain."""
    if live_association.domain_associate(domain_id=domain_id):
        samples.associate_later(domain_id)


@shared_task(name="mptcp.sweep")
def sweep() -> None:
    """Let time pass for domains whose sensors are silent; take up what a killed worker left."""
    samples.domains_sweep()


@shared_task(name="mptcp.deliver")
def deliver() -> None:
    """Tell subscribers what happened."""
    webhooks.changes_deliver()


@shared_task(name="mptcp.expire")
def expire() -> None:
    """End verdicts whose time is over."""
    verdicts.verdicts_expire()


@shared_task(name="mptcp.follow")
def follow() -> None:
    """Let what devices look at follow them to their new site."""
    moves.devices_follow()


@shared_task(name="mptcp.retention")
def retention() -> None:
    """Remove what is past its time."""
    captures.captures_retain()
    connections.connections_retain()
    changes.changes_retain()
