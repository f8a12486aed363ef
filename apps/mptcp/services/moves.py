"""Devices that moved to another site: what their sensors and collectors see belongs to the new site's domain."""

from typing import Any

from django.db import transaction

from apps.mptcp.models import AssociationDomain, Observer
from apps.mptcp.selectors import COLLECTOR_ROLE, SENSOR_ROLE
from apps.mptcp.services.samples import observers_make
from nfvportal.inventory.models import DesiredState
from nfvportal.inventory.services import desired_state_set

Place = tuple[str, Any]  # interface or exporter, number of its observation point


def devices_follow() -> int:
    """Give what devices look at the observation points of the sites where they are now; return how many moved.

    Two queries while nobody moved.
    """
    states = DesiredState.objects.filter(role__in=(SENSOR_ROLE, COLLECTOR_ROLE)).exclude(spec={})
    rows = list(states.select_related("device"))
    points = Observer.objects.filter(device__in={row.device_id for row in rows})
    known = set(points.values_list("device_id", "domain__site_id", "interface", "number"))
    moved = [
        row
        for row in rows
        if row.role in row.device.roles
        and any((row.device_id, row.device.site_id, *place) not in known for place in _places(row.spec))
    ]
    for row in moved:
        _follow(row.pk)
    return len(moved)


@transaction.atomic
def _follow(key: int) -> None:
    state = DesiredState.objects.select_for_update(of=("self",)).select_related("device__site").get(pk=key)
    places = [place for place, _ in _places(state.spec)]
    if not places:  # stopped meanwhile
        return
    domain, _ = AssociationDomain.objects.get_or_create(site=state.device.site)
    numbers = {row.interface: row.number for row in observers_make(domain, state.device, places)}
    if state.role == SENSOR_ROLE:
        spec = {**state.spec, "observer": numbers[places[0]]}
    else:
        exporters = [{"address": place, "observer": numbers[place]} for place in places]
        spec = {**state.spec, "exporters": exporters}
    desired_state_set(device=state.device, role=state.role, spec=spec)


def _places(spec: dict[str, Any]) -> list[Place]:
    """Return what a sensor or collector is told to look at."""
    if "exporters" in spec:
        return [(str(exporter["address"]), exporter.get("observer")) for exporter in spec["exporters"]]
    return [(spec["interface"], spec.get("observer"))] if "interface" in spec else []
