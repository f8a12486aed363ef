"""The demo inventory and WAN as the rows that tests start from."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from apps.wan.models import FailoverEvent, SitePair, WanLink
from nfvportal.events.models import Event
from nfvportal.inventory.seeds import seed_demo

GATEWAYS = ("gw-a", "gw-b")


# The tables that seeding fills, those that others point to first.
SEEDED = (
    *(
        "inventory_site",
        "inventory_device",
        "inventory_interface",
        "inventory_link",
        "inventory_desiredstate",
    ),
    *("mptcp_associationdomain", "mptcp_observer"),
    *("chains_nftype", "chains_chain", "chains_chainrevision"),
    *("wan_sitepair", "wan_wanlink", "wan_virtualsubnet", "wan_mapepoch", "events_event", "audit_auditentry"),
)
_seeded_rows: dict[str, str] = {}


@pytest.fixture
def pair(db: None, tmp_path: Path) -> SitePair:
    """The demo's site pair: links fiber, dsl and lte between gw-a and gw-b, virtual subnets 1 to 3.

    Seeding takes two hundred statements: the first test does it, the others put the same rows in again.
    """
    with connection.cursor() as cursor:
        if not _seeded_rows:
            seed_demo(tmp_path / "agents")
            for table in SEEDED:
                cursor.execute(f"SELECT json_agg(t)::text FROM {table} t")
                _seeded_rows[table] = cursor.fetchone()[0]
        else:
            for table, rows in _seeded_rows.items():
                cursor.execute(
                    f"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, %s)", [rows]
                )
    return SitePair.objects.get()


def failed_event(link: str = "fiber", device: str = "gw-a", at_s: float | None = None, **data: Any) -> Event:
    """Return a gateway's stored report that it rerouted around a link."""
    at_s = timezone.now().timestamp() if at_s is None else at_s
    report = {
        "link": link,
        "direction": "rx",
        "last_heard_at_s": at_s - 0.03,
        "detected_at_s": at_s,
        "acted_at_s": at_s + 0.002,
        "detection_ms": 30.0,
        "action_ms": 2.0,
        "moves": [{"index": 1, "from": link, "to": "dsl"}],
        **data,
    }
    return _event("wan.link_failed", link, device, at_s, report)


def restored_event(link: str = "fiber", device: str = "gw-a", at_s: float | None = None) -> Event:
    """Return a gateway's stored report that it trusts a link again."""
    at_s = timezone.now().timestamp() if at_s is None else at_s
    return _event("wan.link_restored", link, device, at_s, {"link": link, "up_at_s": at_s})


def failover_make(link: str = "fiber", at: datetime | None = None, **fields: Any) -> FailoverEvent:
    """Return a stored failover."""
    at = at or timezone.now()
    times = {"last_heard_at": at, "detected_at": at, "acted_at": at}
    row = WanLink.objects.get(link__name=link)
    numbers = {"direction": "rx", "detection_ms": 30.0, "action_ms": 2.0}
    return FailoverEvent.objects.create(wan_link=row, **{**times, **numbers, **fields})


def _event(type_: str, link: str, device: str, at_s: float, data: dict[str, Any]) -> Event:
    return Event.objects.create(
        type=type_,
        at=datetime.fromtimestamp(at_s, UTC),
        severity="alarm",
        subject=link,
        device_name=device,
        data=data,
        dispatched_at=timezone.now(),
    )
