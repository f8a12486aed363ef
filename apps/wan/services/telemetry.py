"""What agents measure: into partitions, into the newest row per link, onto the live stream."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.wan.events import LinkMeasurement
from apps.wan.models import HostSubflows, LinkLatest, WanLink
from apps.wan.samples import BIN_COLUMNS, LINK_COLUMNS, is_storable, samples_copy
from apps.wan.selectors import busier_bps, link_state_data, map_get, subflow_list, wan_link_list
from apps.wan.services.failovers import state_set
from apps.wan.services.rows import GATEWAY, HOST, TRAFFIC, Columns, rows_of
from nfvportal.inventory.models import Device
from nfvportal.live.publish import publish, publish_latest

# An event tells a change of state at once; samples only mend what an event failed to tell.
STATE_PATIENCE = timedelta(seconds=3)


def gateway_samples_ingest(*, device_name: str, columns: Columns) -> int:
    """Take one batch of a gateway's link samples; return how many rows were stored.

    Rows of unknown links, with times far from ours or values beyond their limits are left out.
    """
    device = Device.objects.filter(name=device_name).first()
    if device is None:
        return 0
    links = {row.link.name: row for row in wan_link_list()}
    now = timezone.now()
    rows = [
        row
        for row in rows_of(GATEWAY, columns) or ()
        if row["link"] in links and is_storable(row["at_s"], now)
    ]
    stored = [
        (
            _stamp(row["at_s"]),
            links[row["link"]].pk,
            device.pk,
            row["rtt_ms"],
            row["jitter_ms"],
            row["loss_ratio"],
            row["rx_bps"],
            row["tx_bps"],
            row["probe_gap_ms_max"],
        )
        for row in rows
    ]
    samples_copy("wan_linksample", LINK_COLUMNS, stored)
    for row in rows:
        link = links[row["link"]]
        if link.pair.gateway_a_id == device.pk:
            _latest_set(link, row)
        _state_mend(link, device, row)
    return len(stored)


def _latest_set(link: WanLink, row: Mapping[str, Any]) -> None:
    fields = {name: row[name] for name in ("rtt_ms", "jitter_ms", "loss_ratio", "rx_bps", "tx_bps")}
    latest: LinkLatest | None = getattr(link, "latest", None)
    at = datetime.fromtimestamp(row["at_s"], UTC)
    if latest is None:
        LinkLatest.objects.update_or_create(wan_link=link, defaults={"at": at, **fields})
    else:
        LinkLatest.objects.filter(pk=link.pk, at__lt=at).update(at=at, **fields)
    measurement: LinkMeasurement = {
        "name": link.link.name,
        "at_s": row["at_s"],
        "goodput_bps": busier_bps(fields["rx_bps"], fields["tx_bps"]),
        "rx_bps": fields["rx_bps"],
        "tx_bps": fields["tx_bps"],
        "rtt_ms": fields["rtt_ms"],
        "jitter_ms": fields["jitter_ms"],
        "loss_ratio": fields["loss_ratio"],
    }
    publish_latest("wan", link.link.name, measurement)


def _state_mend(link: WanLink, device: Device, row: Mapping[str, Any]) -> None:
    """Take the state from a sample when no event told it for some time."""
    told = row["state"]
    known = next((state for state in link.states.all() if state.device_id == device.pk), None)
    at = datetime.fromtimestamp(row["at_s"], UTC)
    if told not in ("up", "hold_down", "down") or (known is not None and known.state == told):
        return
    is_hold_down = told == "hold_down" and known is not None and known.state == "down"
    if known is not None and not is_hold_down and at - known.updated_at < STATE_PATIENCE:
        return
    with transaction.atomic():
        direction = known.direction if known and told != "up" else ""
        if state_set(row=link, device=device, state=told, direction=direction, since=at):
            data = link_state_data(wan_link_list().get(pk=link.pk))
            transaction.on_commit(lambda: publish("wan", "link_changed", {"link": data}), robust=True)


def host_samples_ingest(*, device_name: str, columns: Columns) -> None:
    """Take a host's list of live subflows; tell browsers only when the set changed. A broken list changes nothing."""
    device = Device.objects.filter(name=device_name).first()
    rows = rows_of(HOST, columns)
    if device is None or rows is None:
        return
    flows = [
        {
            "token": row["token"],
            "local": f"{row['local_address']}:{row['local_port']}",
            "remote": f"{row['remote_address']}:{row['remote_port']}",
            "index": row["index"],
            "rtt_ms": row["rtt_ms"] or 0.0,
        }
        for row in rows
    ]
    flows.sort(key=lambda flow: (flow["token"], flow["index"] or 0, flow["local"]))
    known = HostSubflows.objects.filter(device=device).first()
    HostSubflows.objects.update_or_create(device=device, defaults={"at": timezone.now(), "flows": flows})
    if known is None or [_identity(flow) for flow in known.flows] != [_identity(flow) for flow in flows]:
        epoch = map_get()
        publish("wan", "subflows_changed", {"subflows": subflow_list(epoch.mapping if epoch else {})})


def traffic_samples_ingest(*, device_name: str, columns: Columns) -> int:
    """Take 10 ms bins of the lab's receivers; return how many were stored. Batches of other columns are ignored."""
    if not TRAFFIC.required.keys() <= columns.keys():
        return 0
    device = Device.objects.filter(name=device_name).first()
    if device is None:
        return 0
    now = timezone.now()
    rows = [
        (_stamp(row["at_s"]), device.pk, row["flow"], row["bytes"])
        for row in rows_of(TRAFFIC, columns) or ()
        if is_storable(row["at_s"], now)
    ]
    samples_copy("wan_trafficbin", BIN_COLUMNS, rows)
    return len(rows)


def _stamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()


def _identity(flow: Mapping[str, Any]) -> tuple[Any, ...]:
    return flow["token"], flow["local"], flow["remote"], flow["index"]
