"""Celery tasks of ``wan``: primary keys in, service out, safe to run twice."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from celery import Task, shared_task
from django.utils import timezone

from apps.wan.models import SitePair
from apps.wan.samples import minutes_roll_up, partitions_drop, partitions_make
from apps.wan.selectors import active_faults, agent_data, link_state_data, wan_link_list
from apps.wan.services import failovers, maps, telemetry
from nfvportal.events.models import Event
from nfvportal.inventory.models import Device
from nfvportal.live.publish import publish

MEASURE_RETRY_S = 1.5
MEASURE_RETRIES = 20


@shared_task(name="wan.record_failover")
def record_failover(event_id: int) -> None:
    """A gateway rerouted around a link."""
    failovers.failover_record(event=Event.objects.get(pk=event_id))


@shared_task(name="wan.record_restore")
def record_restore(event_id: int) -> None:
    """A gateway trusts a link again."""
    failovers.restore_record(event=Event.objects.get(pk=event_id))


@shared_task(name="wan.replan")
def replan(event_id: int) -> None:
    """Compute the global map after an event and push it."""
    event = Event.objects.get(pk=event_id)
    link = str(event.data.get("link", ""))[:64]
    pair_id = maps.pair_of_link(link)
    if pair_id is not None:
        words = "failed" if event.type == "wan.link_failed" else "is back"
        maps.map_replan(pair_id=pair_id, reason=f"{link} {words}")


@shared_task(name="wan.reconcile_state")
def reconcile_state(event_id: int) -> None:
    """A gateway told its whole state."""
    for pair_id in failovers.states_reconcile(event=Event.objects.get(pk=event_id)):
        maps.map_replan(pair_id=pair_id, reason="a gateway reported its state")


@shared_task(name="wan.reconcile")
def reconcile() -> None:
    """Make up for whatever was missed: plan every pair anew and compare desired states."""
    for pair in SitePair.objects.all():
        maps.map_replan(pair_id=pair.pk, reason="periodic comparison")
        maps.map_ensure(pair)


@shared_task(name="wan.measure_cost", bind=True, max_retries=MEASURE_RETRIES)
def measure_cost(self: Task, failover_id: int) -> None:
    """Write what a failover cost; tried again while the receivers' bins are late."""
    if not failovers.failover_measure(failover_id=failover_id):
        raise self.retry(countdown=MEASURE_RETRY_S)


@shared_task(name="wan.refresh_agents")
def refresh_agents(event_id: int) -> None:
    """Show that an agent came or went."""
    event = Event.objects.get(pk=event_id)
    device = Device.objects.filter(name=event.device_name or event.subject).first()
    if device is not None and {"wan.gateway", "wan.host"} & set(device.roles):
        publish("wan", "agent_changed", {"agent": agent_data(device)})


@shared_task(name="wan.refresh_faults")
def refresh_faults(event_id: int) -> None:
    """Show that the lab broke or mended a link."""
    event = Event.objects.get(pk=event_id)
    row = wan_link_list().filter(link__name=event.subject).first()
    if row is not None:
        fault = active_faults().get(event.subject, "")
        publish("wan", "fault_changed", {"link": {**link_state_data(row), "fault": fault}})


@shared_task(name="wan.ingest_gateway_samples")
def ingest_gateway_samples(device: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Link quality of one gateway."""
    telemetry.gateway_samples_ingest(device_name=device, columns=columns)


@shared_task(name="wan.ingest_host_samples")
def ingest_host_samples(device: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Live subflows of one host."""
    telemetry.host_samples_ingest(device_name=device, columns=columns)


@shared_task(name="wan.ingest_traffic_samples")
def ingest_traffic_samples(device: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """What the lab's receivers counted."""
    telemetry.traffic_samples_ingest(device_name=device, columns=columns)


@shared_task(name="wan.rollup")
def rollup() -> None:
    """Write minutes from samples."""
    minutes_roll_up(timezone.now() - timedelta(minutes=5))


@shared_task(name="wan.partitions")
def partitions() -> None:
    """Make the next days' partitions, drop the oldest."""
    today = timezone.now().date()
    partitions_make(today)
    partitions_drop(today)
