"""What sensors send: into the log of their site's domain, then a worker is asked to look."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from prometheus_client import Counter

from apps.mptcp.engine.record_batch import columns_to_records
from apps.mptcp.engine.records import PacketRecords
from apps.mptcp.models import AssociationDomain, Observer
from apps.mptcp.record_log import is_first_to_ask, log_append, log_last, position_order
from nfvportal.celery import app
from nfvportal.inventory.models import Device
from nfvportal.lib.errors import InvalidInputError

REFUSED = Counter("nfvportal_mptcp_batches_refused", "Batches of sensors that break a limit")
DROPPED = Counter("nfvportal_mptcp_records_dropped", "Records dropped because a domain's log was full")
TOLD_EVERY: Final = timedelta(seconds=2)
# What a sensor says of itself in each batch; the second half: a collector only.
TOLD: Final = (
    "sampling_ratio", "packet_count", "kernel_drop_count", "own_drop_count", "is_up",
    "sflow_port", "ipfix_port", "datagram_count", "malformed_count", "record_count",
    "not_allowed_count", "over_rate_count", "too_long_count",
)  # fmt: skip
ASSOCIATE_EXPIRES_S: Final = 10
QUIET_S: Final = 2.0
# Names that a device may give places of its own; further ones share one.
OBSERVERS_MAX: Final = 256
OWN: Final = "observer-"

Columns = Mapping[str, Sequence[Any]]


def sensor_samples_ingest(*, device_name: str, columns: Columns) -> int:
    """Take one batch of a sensor or collector; return how many records were kept.

    Whose records these are is the device's own: what the batch says of its observation point only chooses among the
    device's. A batch that breaks a limit is refused as a whole and counted.
    """
    device = Device.objects.select_related("site").filter(name=device_name).first()
    if device is None:
        return 0
    try:
        records = columns_to_records(columns)
    except InvalidInputError:
        REFUSED.inc()
        return 0
    domain, _ = AssociationDomain.objects.get_or_create(site=device.site)
    _observers_set(domain, device, records, columns)
    if not log_append(domain.pk, records, time.time()):
        DROPPED.inc(len(records))
        AssociationDomain.objects.filter(pk=domain.pk).update(
            dropped_count=F("dropped_count") + len(records), dropped_at=timezone.now()
        )
        return 0
    associate_later(domain.pk)
    return len(records)


def _observers_set(
    domain: AssociationDomain, device: Device, records: PacketRecords, columns: Columns
) -> None:
    """Give records the numbers of the device's own observation points, and note what their sensor says of itself.

    A number that the portal gave the device, for an interface or an exporter, stands; any other is the device's own
    name for a place, which gets a number of ours.
    """
    rows = list(Observer.objects.filter(domain=domain, device=device))
    said = records.observer.copy()
    numbers = {int(number) for number in np.unique(said)}
    told = _first(columns, "observer")
    if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < 2**16:
        numbers.add(told)
    for number in sorted(numbers):
        row = _place_of(rows, number)
        if row is None:
            own = [row for row in rows if row.interface.startswith(OWN)]
            row = own[0] if len(own) >= OBSERVERS_MAX else observer_make(domain, device, f"{OWN}{number}")
            rows.append(row)
        records.observer[said == number] = np.uint16(row.number)
        if number == told:
            _told_set(row, columns)


def _place_of(rows: Sequence[Observer], number: int) -> Observer | None:
    """Return the device's place that the portal gave this number; else the one that the device names so."""
    given = (row for row in rows if row.number == number and not row.interface.startswith(OWN))
    named = (row for row in rows if row.interface == f"{OWN}{number}")
    return next(given, None) or next(named, None)


def observer_make(domain: AssociationDomain, device: Device, interface: str = "") -> Observer:
    """Return the observation point of a device's interface; numbers count from 1 within the domain."""
    return observers_make(domain, device, [interface])[0]


def observers_make(domain: AssociationDomain, device: Device, places: Sequence[str]) -> list[Observer]:
    """Return the observation points of a device's interfaces or exporters, in their order. At most four queries."""
    with transaction.atomic():
        AssociationDomain.objects.select_for_update().get(pk=domain.pk)  # numbers are given one at a time
        found = Observer.objects.filter(domain=domain, device=device, interface__in=places)
        known = {row.interface: row for row in found}
        missing = [place for place in dict.fromkeys(places) if place not in known]
        if missing:
            newest = Observer.objects.filter(domain=domain).order_by("-number").first()
            first = newest.number + 1 if newest else 1
            rows = [
                Observer(domain=domain, device=device, interface=place, number=number)
                for number, place in enumerate(missing, first)
            ]
            known |= {row.interface: row for row in Observer.objects.bulk_create(rows)}
        return [known[place] for place in places]


def associate_later(domain_id: int) -> None:
    """Ask for a worker, unless one has been asked for and did not begin yet."""
    if is_first_to_ask(domain_id):
        _ask(domain_id)


def domains_sweep() -> int:
    """Let time pass where sensors fell silent, and ask again for what was asked in vain; return how many."""
    count = 0
    now_s = time.time()
    for domain in AssociationDomain.objects.all():
        newest = position_order(log_last(domain.pk))
        is_quiet = newest[0] / 1000 < now_s - QUIET_S
        if is_quiet and domain.subflow_count:
            log_append(domain.pk, columns_to_records({"records": [], "count": []}), now_s)
        elif newest <= position_order(domain.position):
            continue
        _ask(domain.pk)
        count += 1
    return count


def _ask(domain_id: int) -> None:
    kwargs = {"domain_id": domain_id}
    app.send_task("mptcp.associate", kwargs=kwargs, queue="engine", retry=False, expires=ASSOCIATE_EXPIRES_S)


def _first(columns: Columns, name: str) -> object:
    values = columns.get(name)
    return values[0] if isinstance(values, list) and values else None


def _told_set(observer: Observer, columns: Columns) -> None:
    now = timezone.now()
    if observer.told_at is not None and now - observer.told_at < TOLD_EVERY:
        return
    told = {name: _first(columns, name) for name in TOLD if name in columns}
    told = {name: value for name, value in told.items() if isinstance(value, int | float | None)}
    Observer.objects.filter(pk=observer.pk).update(told=told, told_at=now)
