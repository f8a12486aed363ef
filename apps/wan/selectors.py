"""Reads of ``wan``: rows to the shapes of ``apps/wan/events.py``."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, cast

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.wan.events import (
    AgentData,
    FailoverData,
    GoodputPoint,
    LinkData,
    LinkStateName,
    MapData,
    SubflowData,
    WanSnapshot,
)
from apps.wan.mapping import worst_state
from apps.wan.models import (
    FailoverEvent,
    HostSubflows,
    LinkLatest,
    MapEpoch,
    SitePair,
    VirtualSubnet,
    WanLink,
)
from apps.wan.samples import goodput_by_second
from nfvportal.events.models import Event
from nfvportal.inventory.models import Device

FAILOVERS_SHOWN = 20
GOODPUT_WINDOW = timedelta(minutes=5)


def wan_link_list() -> QuerySet[WanLink]:
    """Return all WAN links with what their data needs."""
    return WanLink.objects.select_related("link", "pair", "latest").prefetch_related("states")


def link_data(row: WanLink, faults: dict[str, str]) -> LinkData:
    """Return a link with its state and newest measurement."""
    latest: LinkLatest | None = getattr(row, "latest", None)
    data = link_state_data(row)
    data.update(
        {
            "provider": row.link.provider,
            "capacity_bps": row.link.capacity_bps,
            "delay_ms": row.link.delay_ms,
            "fault": faults.get(row.link.name, ""),
            "at_s": latest.at.timestamp() if latest else None,
            "goodput_bps": busier_bps(latest.rx_bps, latest.tx_bps) if latest else None,
            "rx_bps": latest.rx_bps if latest else None,
            "tx_bps": latest.tx_bps if latest else None,
            "rtt_ms": latest.rtt_ms if latest else None,
            "jitter_ms": latest.jitter_ms if latest else None,
            "loss_ratio": latest.loss_ratio if latest else None,
        }
    )
    return data


def link_state_data(row: WanLink) -> LinkData:
    """Return what an event says when a link's state changed."""
    state = worst_state(row.states.all())
    name = cast(LinkStateName, state.state if state else "unknown")
    return {
        "name": row.link.name,
        "state": name,
        "direction": state.direction if state and state.state == "down" else "",
        "since_s": state.since.timestamp() if state else None,
    }


def busier_bps(rx_bps: float | None, tx_bps: float | None) -> float | None:
    """Return the rate of the busier direction; ``None`` when there are no readings yet."""
    rates = [rate for rate in (rx_bps, tx_bps) if rate is not None]
    return max(rates) if rates else None


def failover_list() -> QuerySet[FailoverEvent]:
    """Return failovers, newest first."""
    return FailoverEvent.objects.select_related("wan_link__link", "acknowledged_by")


def failover_data(row: FailoverEvent) -> FailoverData:
    """Return a failover as plain data."""
    return {
        "id": row.pk,
        "link": row.wan_link.link.name,
        "direction": row.direction,
        "fault_at_s": row.fault_at.timestamp() if row.fault_at else None,
        "last_heard_at_s": row.last_heard_at.timestamp(),
        "detected_at_s": row.detected_at.timestamp(),
        "acted_at_s": row.acted_at.timestamp(),
        "detection_ms": row.detection_ms,
        "action_ms": row.action_ms,
        "transport_ms": row.transport_ms,
        "lost_ms": row.lost_ms,
        "stall_ms": row.stall_ms,
        "moves": row.moves,
        "reported_by": sorted(row.reports),
        "restored_at_s": row.restored_at.timestamp() if row.restored_at else None,
        "acknowledged_at_s": row.acknowledged_at.timestamp() if row.acknowledged_at else None,
        "acknowledged_by": row.acknowledged_by.get_username() if row.acknowledged_by else "",
    }


def map_get(pair: SitePair | None = None) -> MapEpoch | None:
    """Return the newest map, of one pair or of any."""
    epochs = MapEpoch.objects.filter(pair=pair) if pair else MapEpoch.objects.all()
    return epochs.order_by("-number").first()


def map_data(epoch: MapEpoch) -> MapData:
    """Return a map as plain data."""
    return {
        "number": epoch.number,
        "mapping": epoch.mapping,
        "reason": epoch.reason,
        "actor": epoch.actor,
        "at_s": epoch.created_at.timestamp(),
    }


def subflow_list(mapping: dict[str, str]) -> list[SubflowData]:
    """Return the live subflows with the link that the map gives each."""
    flows: list[SubflowData] = []
    for row in HostSubflows.objects.order_by("device__name"):
        for flow in row.flows:
            link = mapping.get(str(flow["index"]), "") if flow["index"] is not None else ""
            flows.append(cast("SubflowData", {**flow, "link": link}))  # rows of a JSON column have no type
    return flows


def active_faults() -> dict[str, str]:
    """Return link name -> kind of the fault that the lab has on it, by the newest events."""
    newest: dict[str, str] = {}
    recent = Event.objects.filter(type__in=("lab.fault_started", "lab.fault_cleared")).order_by("-at", "-id")
    for event in recent[:200]:
        kind = str(event.data.get("kind", "fault")) if event.type == "lab.fault_started" else ""
        newest.setdefault(event.subject, kind)
    return {link: kind for link, kind in newest.items() if kind}


def agent_data(device: Device) -> AgentData:
    """Return the agent of a device as plain data."""
    return {
        "device": device.name,
        "status": device.status,
        "last_seen_s": device.last_seen_at.timestamp() if device.last_seen_at else None,
    }


def agent_list() -> Iterable[Device]:
    """Return the devices whose agents take part in wan."""
    wan_roles = Q(roles__contains=["wan.gateway"]) | Q(roles__contains=["wan.host"])
    return Device.objects.filter(wan_roles).order_by("name")


def goodput_list() -> list[GoodputPoint]:
    """Return the last minutes of goodput, a point per link and second."""
    since = timezone.now() - GOODPUT_WINDOW
    return [
        {"link": name, "at_s": second, "bps": round(bps)} for name, second, bps in goodput_by_second(since)
    ]


def wan_snapshot(user: AbstractBaseUser | AnonymousUser, topic: str) -> dict[str, Any]:
    """Return what the topic ``wan`` starts with. Nine queries, whatever the number of links."""
    del user, topic  # every viewer sees the whole WAN
    epoch = map_get()
    faults = active_faults()
    snapshot: WanSnapshot = {
        "links": [link_data(row, faults) for row in wan_link_list()],
        "virtual_subnets": [
            {"index": row.index, "prefix": row.prefix, "is_default": row.is_default}
            for row in VirtualSubnet.objects.all()
        ],
        "map": map_data(epoch) if epoch else None,
        "subflows": subflow_list(epoch.mapping if epoch else {}),
        "failovers": [failover_data(row) for row in failover_list()[:FAILOVERS_SHOWN]],
        "agents": [agent_data(device) for device in agent_list()],
        "goodput": goodput_list(),
    }
    return dict(snapshot)
