"""Celery tasks of health: one sign of life per queue, and the parts for open pages."""

from celery import shared_task

from nfvportal.health.heartbeats import heartbeat_write
from nfvportal.health.selectors import part_health
from nfvportal.live.publish import publish


@shared_task(name="health.heartbeat_control")
def heartbeat_control() -> None:
    """Sign of life of the control queue; also refreshes open overview pages."""
    heartbeat_write("control")
    publish("health", "health_checked", {"parts": part_health()})


@shared_task(name="health.heartbeat_engine")
def heartbeat_engine() -> None:
    """Sign of life of the engine queue."""
    heartbeat_write("engine")


@shared_task(name="health.heartbeat_telemetry")
def heartbeat_telemetry() -> None:
    """Sign of life of the telemetry queue."""
    heartbeat_write("telemetry")
