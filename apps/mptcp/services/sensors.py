"""Sensors: which interface of which gateway is sampled, and how much of it."""

from typing import Any

from django.db import transaction

from apps.mptcp.models import AssociationDomain, Observer
from apps.mptcp.selectors import SENSOR_ROLE
from apps.mptcp.services.samples import observer_make
from nfvportal.inventory.models import DesiredState, Device
from nfvportal.inventory.services import desired_state_set
from nfvportal.lib.errors import InvalidInputError

SNAPLEN_BYTES = 128


def sensor_set(*, device: Device, interface: str, sampling_ratio: float) -> Observer:
    """Sample an interface of a device from now on; what the sensor sees belongs to the domain of the device's site.

    Raises:
        InvalidInputError: the device lacks the role or the interface, or the ratio is out of range.
    """
    if not 1e-6 <= sampling_ratio <= 1:
        raise InvalidInputError("sampling_ratio", "must be from 0.000001 to 1")
    if not device.interfaces.filter(name=interface).exists():
        raise InvalidInputError("interface", f"must be one of {device.name}'s interfaces in the inventory")
    with transaction.atomic():
        domain, _ = AssociationDomain.objects.get_or_create(site=device.site)
        observer = observer_make(domain, device, interface)
        spec: dict[str, Any] = {
            "interface": interface,
            "sampling_ratio": sampling_ratio,
            "mptcp_only": True,
            "snaplen": SNAPLEN_BYTES,
            "observer": observer.number,
        }
        desired_state_set(device=device, role=SENSOR_ROLE, spec=spec)
    return observer


def sensor_stop(*, device: Device) -> None:
    """Sample nothing on a device any more; what was found stays."""
    if DesiredState.objects.filter(device=device, role=SENSOR_ROLE).exists():
        desired_state_set(device=device, role=SENSOR_ROLE, spec={})


def sensor_ensure(*, device: Device, interface: str, sampling_ratio: float) -> None:
    """Sample an interface unless somebody has decided on the device's sensor already."""
    if not DesiredState.objects.filter(device=device, role=SENSOR_ROLE).exists():
        sensor_set(device=device, interface=interface, sampling_ratio=sampling_ratio)
