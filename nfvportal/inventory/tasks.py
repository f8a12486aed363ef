"""Celery tasks of the inventory."""

from celery import shared_task

from nfvportal.inventory.sessions import devices_sweep


@shared_task(name="inventory.sweep_offline")
def sweep_offline() -> int:
    """Mark devices offline that fell silent without a goodbye."""
    return devices_sweep()
