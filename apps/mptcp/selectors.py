"""Reads of ``mptcp``: rows to the shapes of ``apps/mptcp/events.py``."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, prefetch_related_objects
from django.http import Http404

from apps.mptcp.engine.values import FlowKey
from apps.mptcp.events import (
    ALARMS_SHOWN,
    CAPTURES_SHOWN,
    CONNECTIONS_SHOWN,
    AlarmData,
    CaptureData,
    CollectorData,
    ConnectionData,
    ConnectionRow,
    DomainData,
    EvidenceData,
    LookingData,
    MptcpSnapshot,
    SensorData,
    SubflowData,
    VerdictData,
)
from apps.mptcp.mapping import tokens_text
from apps.mptcp.models import (
    Alarm,
    AssociationDomain,
    Capture,
    ChangeLog,
    Connection,
    ConnectionState,
    Evidence,
    Observer,
    Subflow,
    Verdict,
)
from nfvportal.inventory.models import DesiredState, Device

SENSOR_ROLE = "mptcp.sensor"
ENFORCER_ROLE = "mptcp.enforcer"
COLLECTOR_ROLE = "mptcp.collector"
# Where samples are usually sent, and how many datagrams per second one router usually needs.
SFLOW_PORT, IPFIX_PORT, DATAGRAM_RATE_MAX = 6343, 4739, 2000


def connection_list() -> QuerySet[Connection]:
    """Return connections with what their rows need."""
    blocked = Verdict.objects.filter(connection=OuterRef("pk"), ended_at=None)
    return Connection.objects.select_related("domain__site").annotate(
        is_blocked=Exists(blocked),
        alarm_count=Count("alarms", filter=Q(alarms__acknowledged_at=None)),
    )


def connection_search(
    *,
    state: str = "",
    address: str = "",
    token: int | None = None,
    domain: str = "",
    capture: int | None = None,
    min_confidence: float | None = None,
    min_subflows: int | None = None,
) -> QuerySet[Connection]:
    """Return connections that meet all that is given; those that were merged away only when asked for."""
    rows = connection_list()
    rows = rows.filter(state=state) if state else rows.exclude(state=ConnectionState.GONE)
    if address:
        rows = rows.filter(addresses__contains=[address])
    if token is not None:
        rows = rows.filter(tokens__contains=[token])
    if domain:
        rows = rows.filter(domain__site__name=domain)
    if capture is not None:
        rows = rows.filter(capture_id=capture)
    if min_confidence is not None:
        rows = rows.filter(confidence__gte=min_confidence)
    if min_subflows is not None:
        rows = rows.filter(subflow_count__gte=min_subflows)
    return rows


def connection_get(connection_id: int) -> Connection:
    """Return one connection.

    Raises:
        Http404: there is none.
    """
    row = connection_list().filter(pk=connection_id).first()
    if row is None:
        raise Http404(f"no connection {connection_id}")
    return row


def connection_row(row: Connection) -> ConnectionRow:
    """Return a connection of ``connection_list`` as the list shows it."""
    return {
        "id": row.pk,
        "domain": row.domain.site.name if row.domain else "",
        "capture": row.capture_id,
        "state": row.state,
        "client": row.client,
        "server": row.server,
        "subflow_count": row.subflow_count,
        "confidence": row.confidence,
        "is_blockable": row.is_blockable,
        "is_blocked": bool(getattr(row, "is_blocked", False)),
        "coverage_ab": row.coverage_ab,
        "coverage_ba": row.coverage_ba,
        "tokens": tokens_text(row.tokens),
        "evidence_kinds": row.evidence_kinds,
        "addresses": row.addresses,
        "alarm_count": int(getattr(row, "alarm_count", 0)),
        "merged_into": row.merged_into_id,
        "first_s": row.first_s,
        "last_s": row.last_s,
    }


def connection_data(row: Connection) -> ConnectionData:
    """Return a connection of ``connection_list`` with everything its page shows. Six queries."""
    names = observer_names(row.domain)
    subflows = row.subflows.defer("points")
    return {
        **connection_row(row),
        "subflows": [subflow_data(subflow, names) for subflow in subflows],
        "evidence": [evidence_data(evidence) for evidence in row.evidence.all()],
        "verdicts": [verdict_data(verdict) for verdict in row.verdicts.all()],
        "alarms": [alarm_data(alarm) for alarm in alarm_list().filter(connection=row)[:ALARMS_SHOWN]],
    }


def observer_names(domain: AssociationDomain | None) -> dict[int, str]:
    """Return number -> name of the observation points of a domain; a capture is one of its own."""
    if domain is None:
        return {0: "the capture"}
    return {row.number: str(row) for row in Observer.objects.filter(domain=domain).select_related("device")}


def subflow_data(row: Subflow, names: dict[int, str]) -> SubflowData:
    """Return a subflow as plain data."""
    return {
        "id": row.engine_id,
        "epoch": row.epoch,
        "a": row.a,
        "a_port": row.a_port,
        "b": row.b,
        "b_port": row.b_port,
        "state": row.state,
        "is_a_client": row.is_a_client,
        "packet_count": row.packet_count,
        "seen_by": [names.get(number, f"observer {number}") for number in row.seen_by],
        "first_s": row.first_s,
        "last_s": row.last_s,
    }


def evidence_data(row: Evidence) -> EvidenceData:
    """Return evidence as plain data."""
    return {
        "kind": row.kind,
        "subflow": row.subflow,
        "other": row.other,
        "false_probability": row.false_probability,
        "words": row.words,
        "at_s": row.at_s,
    }


def verdict_data(row: Verdict) -> VerdictData:
    """Return a verdict as plain data."""
    return {
        "id": row.pk,
        "connection": row.connection_id,
        "reason": row.reason,
        "is_forced": row.is_forced,
        "is_open": row.ended_at is None,
        "created_at_s": row.created_at.timestamp(),
        "created_by": row.created_by,
        "expires_at_s": row.expires_at.timestamp(),
        "ended_at_s": row.ended_at.timestamp() if row.ended_at else None,
        "ended_by": row.ended_by,
        "end_reason": row.end_reason,
        "gateways": row.gateways,
    }


def alarm_list() -> QuerySet[Alarm]:
    """Return alarms with what their data needs, newest first."""
    return Alarm.objects.select_related("domain__site")


def alarm_data(row: Alarm) -> AlarmData:
    """Return an alarm as plain data."""
    return {
        "id": row.pk,
        "kind": row.kind,
        "words": row.words,
        "connection": row.connection_id,
        "domain": row.domain.site.name,
        "at_s": row.at_s,
        "acknowledged_at_s": row.acknowledged_at.timestamp() if row.acknowledged_at else None,
        "acknowledged_by": row.acknowledged_by,
    }


def capture_list() -> QuerySet[Capture]:
    """Return captures, newest first."""
    return Capture.objects.select_related("created_by")


def capture_data(row: Capture) -> CaptureData:
    """Return a capture as plain data."""
    return {
        "id": row.pk,
        "file_name": row.file_name,
        "size_bytes": row.size_bytes,
        "sha256": row.sha256,
        "state": row.state,
        "job": str(row.job_id) if row.job_id else "",
        "options": row.options,
        "report": row.report,
        "error": row.error,
        "created_at_s": row.created_at.timestamp(),
        "created_by": row.created_by.get_username() if row.created_by else "",
        "finished_at_s": row.finished_at.timestamp() if row.finished_at else None,
    }


def domain_list() -> QuerySet[AssociationDomain]:
    """Return association domains by name of their site."""
    return AssociationDomain.objects.select_related("site")


def domain_data(row: AssociationDomain, sensors: Iterable[str]) -> DomainData:
    """Return what a domain does as plain data."""
    return {
        "name": row.site.name,
        "record_count": row.record_count,
        "dropped_count": row.dropped_count,
        "dropped_at_s": row.dropped_at.timestamp() if row.dropped_at else None,
        "subflow_count": row.subflow_count,
        "worked_at_s": row.worked_at.timestamp() if row.worked_at else None,
        "worked_by": row.worked_by,
        "sensors": sorted(sensors),
    }


def sensors_by_site() -> dict[str, list[str]]:
    """Return site -> names of the devices that are told to look at packets, or at routers' samples of them."""
    found: dict[str, list[str]] = {}
    states = DesiredState.objects.filter(role__in=(SENSOR_ROLE, COLLECTOR_ROLE)).exclude(spec={})
    names = states.order_by("device__name").values_list("device__name", "device__site__name")
    for name, site in names.distinct():
        found.setdefault(site, []).append(name)
    return found


def sensor_list() -> list[SensorData]:
    """Return every device that can have a sensor, what it is told to sample, and what it last said. Four queries."""
    looking = _looking(SENSOR_ROLE, lambda spec: spec.get("observer"))
    prefetch_related_objects([one.device for one in looking], "interfaces")
    return [
        {
            **one.data,
            "interfaces": [interface.name for interface in one.device.interfaces.all()],
            "interface": one.spec.get("interface"),
            "sampling_ratio": one.spec.get("sampling_ratio"),
        }
        for one in looking
    ]


def collector_list() -> list[CollectorData]:
    """Return every device that can be a collector, whom it is told to hear, and what it last said. Three queries."""

    def speaks_as(spec: dict[str, Any]) -> Any:
        """A collector speaks of itself under the first exporter's number."""
        exporters: list[dict[str, Any]] = spec.get("exporters", [])
        return exporters[0].get("observer") if exporters else None

    return [
        {
            **one.data,
            "exporters": collector_exporters(one.spec),
            "sflow_port": one.spec.get("sflow_port", SFLOW_PORT),
            "ipfix_port": one.spec.get("ipfix_port", IPFIX_PORT),
            "datagram_rate_max": one.spec.get("datagram_rate_max", DATAGRAM_RATE_MAX),
            "is_applied": one.is_applied,
        }
        for one in _looking(COLLECTOR_ROLE, speaks_as)
    ]


def collector_exporters(spec: dict[str, Any]) -> list[str]:
    """Return the addresses and networks of a collector's spec."""
    return [str(exporter["address"]) for exporter in spec.get("exporters", ())]


class _Looking(NamedTuple):
    """A device that can look at packets, and what it is told; ``data``: what sensors and collectors have in common."""

    device: Device
    spec: dict[str, Any]
    is_applied: bool
    data: LookingData


def _looking(role: str, number_of: Callable[[dict[str, Any]], Any]) -> list[_Looking]:
    """Return the devices with a role. Three queries.

    Args:
        number_of: spec -> number of the observation point under which the device speaks of itself.
    """
    devices = Device.objects.filter(roles__contains=[role]).select_related("site")
    states = {row.device_id: row for row in DesiredState.objects.filter(role=role, device__in=devices)}
    told = _told({pk: number_of(row.spec) for pk, row in states.items()})
    found = []
    for device in devices:
        state, observer = states.get(device.pk), told.get(device.pk)
        data: LookingData = {
            "device": device.name,
            "site": device.site.name,
            "status": device.status,
            "error": state.applied_error if state and state.applied_ok is False else "",
            "told": observer.told if observer else {},
            "told_at_s": observer.told_at.timestamp() if observer and observer.told_at else None,
        }
        is_applied = bool(state and state.is_converged)
        found.append(_Looking(device, state.spec if state else {}, is_applied, data))
    return found


def _told(numbers: dict[int, Any]) -> dict[int, Observer]:
    """Return device -> its observation point of a number, or that it calls so."""
    given = [number for number in numbers.values() if isinstance(number, int)]
    rows = Observer.objects.filter(
        Q(number__in=given) | Q(interface__in=[f"observer-{number}" for number in given]),
        device__in=numbers,
        domain__site=F("device__site"),
    )
    found: dict[int, Observer] = {}
    for row in rows.order_by("number"):
        number = numbers[row.device_id]
        if row.interface == f"observer-{number}":
            found.setdefault(row.device_id, row)
        elif row.number == number and not row.interface.startswith("observer-"):
            found[row.device_id] = row
    return found


def subflow_find(flow: FlowKey, capture: int | None = None) -> Subflow | None:
    """Return the newest subflow of a 4-tuple: of a capture, or of what sensors see."""
    return next(iter(subflows_find([flow], capture).values()), None)


def subflows_find(flows: Iterable[FlowKey], capture: int | None = None) -> dict[FlowKey, Subflow]:
    """Return 4-tuple -> its newest subflow, for those that are known. One query."""
    wanted = Q()
    for flow in set(flows):
        wanted |= Q(a=flow.a, a_port=flow.a_port, b=flow.b, b_port=flow.b_port)
    if not wanted:
        return {}
    place = Q(connection__capture=None) if capture is None else Q(connection__capture=capture)
    rows = Subflow.objects.filter(wanted, place).defer("points")
    rows = rows.exclude(connection__state=ConnectionState.GONE).select_related("connection")
    ordered = rows.order_by("first_s", "epoch", "id")
    return {FlowKey(row.a, row.a_port, row.b, row.b_port): row for row in ordered}


def change_list(after: int) -> QuerySet[ChangeLog]:
    """Return what happened after a sequence number, in order."""
    return ChangeLog.objects.filter(pk__gt=after).order_by("pk")


def change_data(row: ChangeLog) -> dict[str, Any]:
    """Return a change as subscribers get it."""
    return {
        "seq": row.pk,
        "kind": row.kind,
        "connection": row.connection_id,
        "at_s": row.at_s,
        "details": row.data,
    }


def mptcp_snapshot(user: AbstractBaseUser | AnonymousUser, topic: str) -> dict[str, Any]:
    """Return what the topic ``mptcp`` starts with. Five queries, whatever the number of connections."""
    del user, topic  # every viewer sees all connections
    live = connection_list().filter(capture=None).exclude(state=ConnectionState.GONE)
    sensors = sensors_by_site()
    snapshot: MptcpSnapshot = {
        "connections": [connection_row(row) for row in live.order_by("-id")[:CONNECTIONS_SHOWN]],
        "domains": [domain_data(row, sensors.get(row.site.name, ())) for row in domain_list()],
        "alarms": [alarm_data(row) for row in alarm_list()[:ALARMS_SHOWN]],
        "captures": [capture_data(row) for row in capture_list()[:CAPTURES_SHOWN]],
    }
    return dict(snapshot)


def connection_snapshot(user: AbstractBaseUser | AnonymousUser, topic: str) -> dict[str, Any]:
    """Return what the topic ``mptcp_connection:<id>`` starts with."""
    del user
    _, _, text = topic.partition(":")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Http404(f"no connection {text}")
    return {"connection": connection_data(connection_get(int(text)))}
