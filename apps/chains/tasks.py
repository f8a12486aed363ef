"""Celery tasks of ``chains``: primary keys in, service out, safe to run twice."""

from collections.abc import Mapping, Sequence
from typing import Any

from celery import shared_task

from apps.chains.models import Chain
from apps.chains.services import alarms, drift, reconcile, telemetry
from nfvportal.events.models import Event


@shared_task(name="chains.record_undeclared_write")
def record_undeclared_write(event_id: int) -> None:
    """A network function wrote what its profile does not declare."""
    alarms.undeclared_write_record(event=Event.objects.get(pk=event_id))


@shared_task(name="chains.reconcile_state")
def reconcile_state(event_id: int) -> None:
    """A device of the data plane told its whole state: give it what it shall hold."""
    del event_id
    reconcile.specs_reconcile()


@shared_task(name="chains.reconcile")
def reconcile_all() -> None:
    """Make up for whatever was missed: end what no job carries on, compare desired states with the deployments."""
    reconcile.deployments_reconcile()
    reconcile.specs_reconcile()


@shared_task(name="chains.replan")
def replan() -> None:
    """Compare every deployed chain with its plan."""
    for chain in Chain.objects.filter(deployments__is_active=True).distinct():
        drift.drift_check(chain)


@shared_task(name="chains.ingest_server_samples")
def ingest_server_samples(device: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Counters per operator of one server."""
    telemetry.server_samples_ingest(device_name=device, columns=columns)


@shared_task(name="chains.ingest_classifier_samples")
def ingest_classifier_samples(device: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Latency and counters per path."""
    del device
    telemetry.classifier_samples_ingest(columns=columns)


@shared_task(name="chains.retention")
def retention() -> None:
    """Delete seconds past their retention."""
    telemetry.telemetry_retain()
