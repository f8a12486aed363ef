"""Connections as rows, made by the engine from scenes: what tests of the service start from."""

import time
from collections.abc import Sequence

from apps.mptcp.association import CaptureAssociation
from apps.mptcp.engine.capture import CaptureDecoder
from apps.mptcp.models import AssociationDomain, Connection
from apps.mptcp.point_log import PointLog
from apps.mptcp.services.connections import connections_store
from apps.mptcp.services.samples import observer_make
from nfvportal.inventory.models import Device, DeviceKind, Site
from tests.support.mptcp_packets import Segment
from tests.support.mptcp_scene import capture_of

ROLES = ["mptcp.sensor", "mptcp.enforcer"]


def gateway_make(name: str = "gw", site: str = "branch", roles: Sequence[str] = ROLES) -> Device:
    """Return a gateway of a site, with a domain and an observation point."""
    place, _ = Site.objects.get_or_create(name=site)
    device = Device.objects.create(name=name, site=place, kind=DeviceKind.GATEWAY, roles=list(roles))
    domain, _ = AssociationDomain.objects.get_or_create(site=place)
    observer_make(domain, device, "lan0")
    return device


def connections_make(
    segments: Sequence[Segment], domain: AssociationDomain | None = None, start_s: float | None = None
) -> list[Connection]:
    """Return the connections that the engine finds in packets, stored as seen live, those with most subflows first."""
    domain = domain or AssociationDomain.objects.get()
    content = capture_of(segments, start_s=time.time() - 60 if start_s is None else start_s)
    records = CaptureDecoder(observer=1).feed(content)
    association, points = CaptureAssociation(), PointLog()
    association.take(records)
    points.add(records)
    rows = connections_store(source=domain, values=association.final(), points=points)
    return sorted(rows.values(), key=lambda row: (-row.subflow_count, row.engine_id))
