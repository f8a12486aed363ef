"""Failovers: what gateways report, merged into one event per failure, with what it cost."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from apps.wan.engine.failover_cost import failover_cost
from apps.wan.events import WanChange
from apps.wan.mapping import mapping_from_json, merged_direction, worst_state
from apps.wan.models import FailoverEvent, LinkState, WanLink
from apps.wan.samples import traffic_bins
from apps.wan.selectors import (
    failover_data,
    failover_list,
    link_state_data,
    map_data,
    map_get,
    subflow_list,
    wan_link_list,
)
from apps.wan.services.reports import FAILED, RESTORED, link_states_of, report_of
from nfvportal.audit.services import audit_record
from nfvportal.celery import app
from nfvportal.events.models import Event
from nfvportal.inventory.models import Device
from nfvportal.live.publish import publish

COST_WINDOW_S = 2.0
COST_DELAY_S = 2.8
BEFORE_S = 2.0
FAULT_WITHIN = timedelta(seconds=5)
MERGE_WITHIN = timedelta(seconds=5)
# Share of a link's rate that reaches the application over Multipath TCP: 1428 of 1514 bytes of a full frame
# (14 Ethernet, 20 IP, 32 TCP with timestamps, 20 DSS).
PAYLOAD_SHARE = 1428 / 1514


def failover_record(*, event: Event) -> FailoverEvent | None:
    """Record that a gateway rerouted around a link; the second gateway's report joins the first's.

    Returns ``None`` for a link that is not known. Recording the same report twice changes nothing.
    """
    data = report_of(FAILED, event)
    row, device = _source(event, data)
    if data is None or row is None or device is None:
        return None
    with transaction.atomic():
        detected_at = _moment(data["detected_at_s"])
        state_set(row=row, device=device, state="down", direction=data["direction"], since=detected_at)
        failover = _failover_with_report(row, event.device_name, data)
        row = wan_link_list().get(pk=row.pk)
        # The restore may have been recorded first: tasks of a busy moment overtake each other.
        failover = _close_failover(row) or failover
        change: WanChange = {"link": link_state_data(row), "failover": failover_data(failover)}
        _add_map(change, data.get("map"), row)
        transaction.on_commit(lambda: publish("wan", "failover_recorded", change), robust=True)
        transaction.on_commit(lambda: _measure_later(failover.pk), robust=True)
    return failover


def _source(event: Event, data: Mapping[str, Any] | None) -> tuple[WanLink | None, Device | None]:
    """Return the link that a report speaks of and the gateway that sent it."""
    link = data["link"] if data is not None else ""
    row = wan_link_list().filter(link__name=link).first()
    return row, Device.objects.filter(name=event.device_name).first()


def _failover_with_report(row: WanLink, device_name: str, data: Mapping[str, Any]) -> FailoverEvent:
    """Return the failover that a report belongs to, with the report in it; the caller has locked the link's row."""
    report = {
        name: data[name] for name in ("direction", "detected_at_s", "detection_ms", "action_ms", "moves")
    }
    detected_at = _moment(data["detected_at_s"])
    fields = {
        "direction": data["direction"],
        "last_heard_at": _moment(data["last_heard_at_s"]),
        "detected_at": detected_at,
        "acted_at": _moment(data["acted_at_s"]),
        "detection_ms": data["detection_ms"],
        "action_ms": data["action_ms"],
        "moves": data["moves"],
    }
    known = failover_list().select_for_update(of=("self",)).filter(wan_link=row)
    if told := known.filter(
        reports__contains={device_name: {"detected_at_s": data["detected_at_s"]}}
    ).first():
        return told
    failover = _failover_of_moment(known, detected_at)
    if failover is None:
        # A report that waited at the agent while the link failed again tells of a failure that is over.
        later = known.filter(detected_at__gt=detected_at).order_by("detected_at").first()
        fields["restored_at"] = later.detected_at if later else None
        return FailoverEvent.objects.create(wan_link=row, reports={device_name: report}, **fields)
    failover.reports = {**failover.reports, device_name: report}
    failover.restored_at = None  # closed again at once unless this gateway still calls the link down
    if detected_at < failover.detected_at:
        for name, value in fields.items():
            setattr(failover, name, value)
    failover.direction = merged_direction(failover.reports)
    if not failover.moves:
        failover.moves = data["moves"]
    failover.save()
    return failover


def _failover_of_moment(known: QuerySet[FailoverEvent], detected_at: datetime) -> FailoverEvent | None:
    """Return the failover that was going on when a gateway noticed; two gateways notice within ``MERGE_WITHIN``."""
    begun = known.filter(detected_at__lte=detected_at + MERGE_WITHIN)
    # A short failure may be over at one gateway before the other's report arrives.
    near = begun.filter(detected_at__gte=detected_at - MERGE_WITHIN, restored_at__gt=detected_at)
    return begun.filter(restored_at=None).first() or near.first()


def restore_record(*, event: Event) -> None:
    """Record that a gateway trusts a link again; the failover ends when no gateway calls the link down."""
    data = report_of(RESTORED, event)
    row, device = _source(event, data)
    if data is None or row is None or device is None:
        return
    up_at = _moment(data["up_at_s"])
    with transaction.atomic():
        state_set(row=row, device=device, state="up", direction="", since=up_at)
        row = wan_link_list().get(pk=row.pk)
        change: WanChange = {"link": link_state_data(row)}
        failover = _close_failover(row)
        if failover is not None:
            change["failover"] = failover_data(failover)
        _add_map(change, data.get("map"), row)
        transaction.on_commit(lambda: publish("wan", "link_changed", change), robust=True)


def _close_failover(row: WanLink) -> FailoverEvent | None:
    """End the link's open failover at the moment since when every gateway trusts it; ``None``: there is none to end."""
    states = list(row.states.all())
    state = worst_state(states)
    if state is None or state.state in ("down", "hold_down"):
        return None
    failover = failover_list().select_for_update(of=("self",)).filter(wan_link=row, restored_at=None).first()
    if failover is not None:
        failover.restored_at = max(failover.detected_at, *(state.since for state in states))
        failover.save(update_fields=["restored_at"])
    return failover


def state_set(*, row: WanLink, device: Device, state: str, direction: str, since: datetime) -> bool:
    """Store what a gateway says of a link, unless it said something newer; return whether anything changed.

    Locks the link's row until the transaction ends: whatever follows from the state is written by one task at a time.
    """
    WanLink.objects.select_for_update().get(pk=row.pk)
    known = LinkState.objects.select_for_update().filter(wan_link=row, device=device).first()
    if known is None:
        LinkState.objects.create(wan_link=row, device=device, state=state, direction=direction, since=since)
        return True
    if known.since > since or (known.state, known.direction) == (state, direction):
        return False
    known.state, known.direction, known.since = state, direction, since
    known.save()
    return True


def states_reconcile(*, event: Event) -> set[int]:
    """Take over a gateway's whole state, as it tells it on every connect; return the site pairs that changed."""
    device = Device.objects.filter(name=event.device_name).first()
    if device is None:
        return set()
    changed: set[int] = set()
    with transaction.atomic():
        for told in link_states_of(event):  # by name: two gateways lock the links in the same order
            row = wan_link_list().filter(link__name=told["name"]).first()
            if row is None:
                continue
            since = _moment(told["since_s"])
            if state_set(
                row=row, device=device, state=told["state"], direction=told["direction"], since=since
            ):
                changed.add(row.pair_id)
                _publish_state(wan_link_list().get(pk=row.pk))
    return changed


def _publish_state(row: WanLink) -> None:
    change: WanChange = {"link": link_state_data(row)}
    failover = _close_failover(row)
    if failover is not None:
        change["failover"] = failover_data(failover)
    transaction.on_commit(lambda: publish("wan", "link_changed", change), robust=True)


def failover_measure(*, failover_id: int) -> bool:
    """Write what a failover cost the traffic; ``False`` when the receivers' bins are not there yet."""
    failover = failover_list().filter(pk=failover_id).first()
    if failover is None:
        return True
    cut_at = _fault_before(failover) or failover.last_heard_at
    start, end = cut_at - timedelta(seconds=BEFORE_S), cut_at + timedelta(seconds=COST_WINDOW_S)
    flows = traffic_bins(start, end + timedelta(milliseconds=50))
    if not flows:
        return False
    # The flow that carried most before the cut tells the cost; small ones cannot fill the links.
    bins = max(flows.values(), key=lambda rows: sum(size for at_s, size in rows if at_s < cut_at.timestamp()))
    if bins[-1][0] < end.timestamp() - 0.2:
        return False
    before_bps = 8 * sum(size for at_s, size in bins if at_s < cut_at.timestamp()) / BEFORE_S
    owed_bps = min(before_bps, _surviving_bps(failover))
    if owed_bps > 0:
        cost = failover_cost(
            [at_s for at_s, _ in bins],
            [size for _, size in bins],
            cut_at.timestamp(),
            owed_bps,
            COST_WINDOW_S,
        )
        failover.stall_ms, failover.lost_ms, failover.transport_ms = (
            cost.stall_ms,
            cost.lost_ms,
            cost.transport_ms,
        )
    failover.fault_at = _fault_before(failover)
    failover.save(update_fields=["stall_ms", "lost_ms", "transport_ms", "fault_at"])
    publish("wan", "failover_updated", {"failover": failover_data(failover)})
    return True


def failover_acknowledge(*, failover: FailoverEvent, user: User) -> FailoverEvent:
    """Note that somebody has seen the alarm; the first one counts."""
    with transaction.atomic():
        locked = failover_list().select_for_update(of=("self",)).get(pk=failover.pk)
        if locked.acknowledged_at is not None:
            return locked
        locked.acknowledged_at, locked.acknowledged_by = timezone.now(), user
        locked.save(update_fields=["acknowledged_at", "acknowledged_by"])
        audit_record(
            actor=user,
            action="wan.failover_acknowledge",
            subject=str(locked),
            before=None,
            after={"id": locked.pk},
        )
        data = failover_data(locked)
        transaction.on_commit(lambda: publish("wan", "failover_updated", {"failover": data}), robust=True)
    return locked


def _fault_before(failover: FailoverEvent) -> datetime | None:
    """Return when the lab broke the link, when that is what this failover answers."""
    name = failover.wan_link.link.name
    started = Event.objects.filter(type="lab.fault_started", subject=name)
    window = (failover.detected_at - FAULT_WITHIN, failover.detected_at)
    return started.filter(at__range=window).order_by("-at").values_list("at", flat=True).first()


def _surviving_bps(failover: FailoverEvent) -> float:
    """Return the payload rate of the pair's other links that are not down."""
    others = wan_link_list().filter(pair=failover.wan_link.pair).exclude(pk=failover.wan_link_id)
    alive = [row for row in others if (state := worst_state(row.states.all())) is None or state.state == "up"]
    return sum(row.link.capacity_bps for row in alive) * PAYLOAD_SHARE


def _add_map(change: WanChange, mapping: dict[str, str] | None, row: WanLink) -> None:
    """Show at once where the gateway moved the subnets; the portal's epoch follows."""
    epoch = map_get(row.pair)
    if mapping and epoch is not None and mapping_from_json(mapping) != mapping_from_json(epoch.mapping):
        change["map"] = {**map_data(epoch), "mapping": mapping, "reason": f"{row.link.name} changed"}
        change["subflows"] = subflow_list(mapping)


def _measure_later(failover_id: int) -> None:
    kwargs = {"failover_id": failover_id}
    app.send_task("wan.measure_cost", kwargs=kwargs, queue="telemetry", countdown=COST_DELAY_S, retry=False)


def _moment(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)
