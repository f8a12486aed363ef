"""Reads of the inventory."""

from django.db.models import QuerySet

from nfvportal.inventory.models import DesiredState, Device, Interface, Link, Site


def site_list() -> QuerySet[Site]:
    """Return all sites."""
    return Site.objects.all()


def device_list(*, site: str = "", kind: str = "", status: str = "", role: str = "") -> QuerySet[Device]:
    """Return devices with their site; filters that are empty do not count."""
    devices = Device.objects.select_related("site")
    if site:
        devices = devices.filter(site__name=site)
    if kind:
        devices = devices.filter(kind=kind)
    if status:
        devices = devices.filter(status=status)
    if role:
        devices = devices.filter(roles__contains=[role])
    return devices


def interface_list(*, device: str = "") -> QuerySet[Interface]:
    """Return interfaces with their device."""
    interfaces = Interface.objects.select_related("device")
    return interfaces.filter(device__name=device) if device else interfaces


def link_list(*, kind: str = "") -> QuerySet[Link]:
    """Return links with both ends, their devices and sites."""
    links = Link.objects.select_related("a__device__site", "b__device__site")
    return links.filter(kind=kind) if kind else links


def desired_states_of(device_id: int) -> list[DesiredState]:
    """Return everything a device should make true."""
    return list(DesiredState.objects.filter(device_id=device_id))
