"""The inventory's writes: limits by field, audit of every change, desired states with revisions, device tokens."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from nfvportal.audit.models import AuditEntry
from nfvportal.inventory import services
from nfvportal.inventory.models import DesiredState, Device, Interface, Link, Site
from nfvportal.inventory.selectors import device_list
from nfvportal.inventory.services import (
    desired_state_applied,
    desired_state_set,
    device_authenticate,
    device_token_rotate,
    entity_delete,
    entity_save,
)
from nfvportal.inventory.sessions import desired_frames
from nfvportal.lib.errors import InvalidInputError

pytestmark = pytest.mark.django_db


@pytest.fixture
def device(db: None) -> Device:
    """A gateway at a site."""
    site = Site.objects.create(name="hq")
    return Device.objects.create(name="gw", site=site, kind="gateway", roles=["wan.gateway"])


@pytest.fixture
def link(device: Device) -> Link:
    """A link from the gateway to a peer."""
    peer = Device.objects.create(name="peer", site=device.site, kind="gateway")
    a, b = (Interface.objects.create(device=end, name="wan0") for end in (device, peer))
    return Link.objects.create(name="fiber", kind="wan", a=a, b=b, capacity_bps=1000)


ODD: list[tuple[type, str, Any]] = [
    (Site, "name", "Big Site"), (Site, "name", ""), (Site, "name", "-x"), (Site, "name", "x" * 65),
    (Site, "latitude", 91), (Site, "longitude", -181), (Site, "title", "x" * 201), (Site, "title", "a\x00b"),
    (Site, "latitude", "north"),
    (Device, "name", "gw\n"), (Device, "kind", "teapot"), (Device, "roles", "wan.gateway"), (Device, "roles", ["brew"]),
    (Device, "roles", [5]), (Device, "note", "x" * 4001), (Device, "note", "\ud800"),
    (Interface, "name", "x" * 16), (Interface, "name", "a\x00"), (Interface, "mac", "02-00-00-00-00-01"),
    (Interface, "mac", "GG:00:00:00:00:01"), (Interface, "addresses", ["10.0.0.1"]), (Interface, "mac", " "),
    (Interface, "addresses", [5]), (Interface, "addresses", "10.0.0.1/8"), (Interface, "addresses", ["10.0.0.1/33"]),
    (Interface, "addresses", ["10.0.0.1/8"] * 65),
    (Link, "name", "no link"), (Link, "kind", "magic"), (Link, "capacity_bps", 0), (Link, "capacity_bps", 10**14),
    (Link, "delay_ms", -1), (Link, "delay_ms", 1e9), (Link, "cost_per_gb", -1), (Link, "cost_per_gb", "cheap"),
    (Link, "provider", "x" * 101), (Link, "provider", "\x00"),
]  # fmt: skip


def test_every_limit_is_kept_and_named(link: Link) -> None:
    for table, field, value in ODD:
        entity = table.objects.first()  # type: ignore[attr-defined]
        before = table.objects.filter(pk=entity.pk).values().get()  # type: ignore[attr-defined]
        setattr(entity, field, value)
        with pytest.raises(InvalidInputError) as refused:
            entity_save(entity=entity, actor="ann")
        assert (refused.value.field, bool(refused.value.limit)) == (field, True), (table, field, value)
        assert table.objects.filter(pk=entity.pk).values().get() == before  # type: ignore[attr-defined]
    assert not AuditEntry.objects.exists()


def test_names_are_taken_once(device: Device) -> None:
    with pytest.raises(InvalidInputError) as refused:
        entity_save(entity=Device(name="gw", site=device.site, kind="host"), actor=None)
    assert refused.value.field == "name"
    Interface.objects.create(device=device, name="lan0")
    with pytest.raises(InvalidInputError):
        entity_save(entity=Interface(device=device, name="lan0"), actor=None)


def test_link_needs_two_devices(link: Link) -> None:
    other = Interface.objects.create(device=link.a.device, name="lan0")
    for end in (link.a, other):
        link.b = end
        with pytest.raises(InvalidInputError):
            entity_save(entity=link, actor=None)


def test_every_change_is_audited_and_no_change_is_not(device: Device) -> None:
    site = entity_save(entity=Site(name="branch", title="Branch"), actor="ann")
    entity_save(entity=site, actor="ann")
    site.latitude = 47.5
    entity_save(entity=site, actor="bob")
    entity_delete(entity=site, actor="cid")
    entries = [
        (row.actor, row.action, row.subject, row.before, row.after)
        for row in AuditEntry.objects.order_by("id")
    ]
    empty = {"name": "branch", "title": "Branch", "latitude": None, "longitude": None}
    moved = {**empty, "latitude": 47.5}
    assert entries == [
        ("ann", "inventory.site_create", "Branch", None, empty),
        ("bob", "inventory.site_update", "Branch", empty, moved),
        ("cid", "inventory.site_delete", "Branch", moved, None),
    ]


def test_what_is_used_is_not_deleted_and_its_users_are_named(link: Link) -> None:
    for entity, user in ((link.a.device.site, "gw"), (link.a, "fiber")):
        with pytest.raises(InvalidInputError, match=f"still used by .*{user}"):
            entity_delete(entity=entity, actor=None)
    assert not AuditEntry.objects.exists()
    assert Link.objects.count() == 1


def test_filters_of_devices(link: Link) -> None:
    def names(**filters: str) -> list[str]:
        return [row.name for row in device_list(**filters)]

    assert names() == ["gw", "peer"]
    assert names(role="wan.gateway") == ["gw"]
    assert names(site="hq", kind="gateway", status="unknown") == ["gw", "peer"]
    assert names(site="elsewhere") == names(role="lab.traffic") == names(status="online") == []


def test_desired_state_grows_its_revision_only_with_its_spec(device: Device) -> None:
    first = desired_state_set(device=device, role="wan.gateway", spec={"a": 1})
    again = desired_state_set(device=device, role="wan.gateway", spec={"a": 1})
    other = desired_state_set(device=device, role="wan.gateway", spec={"a": 2})
    assert (first.revision, again.revision, other.revision) == (1, 1, 2)
    assert DesiredState.objects.get().spec == {"a": 2}
    assert desired_frames(device.pk, {}) == [("wan.gateway", 2, {"a": 2})]
    assert desired_frames(device.pk, {"wan.gateway": 1}) == [("wan.gateway", 2, {"a": 2})]
    assert desired_frames(device.pk, {"wan.gateway": 2}) == []


def test_desired_state_needs_the_role(device: Device) -> None:
    with pytest.raises(InvalidInputError, match=r"gw has the roles wan\.gateway, not wan\.host"):
        desired_state_set(device=device, role="wan.host", spec={})
    assert not DesiredState.objects.exists()


APPLIED = [
    ((1, True), (1, True, False)),
    ((2, False), (2, False, False)),
    ((2, True), (2, True, True)),
    ((1, True), (2, True, True)),
]


def test_answers_of_agents_count_unless_they_are_older(device: Device) -> None:
    for value in (1, 2):
        desired_state_set(device=device, role="wan.gateway", spec={"a": value})
    for (revision, is_ok), expected in APPLIED:
        error = None if is_ok else "x" * 3000
        desired_state_applied(
            device_id=device.pk, role="wan.gateway", revision=revision, ok=is_ok, error=error
        )
        state = DesiredState.objects.get()
        assert (state.applied_revision, state.applied_ok, state.is_converged) == expected
        assert len(state.applied_error) == (0 if state.applied_ok else 2000)
    desired_state_applied(device_id=device.pk, role="nothing", revision=9, ok=True, error=None)


@pytest.mark.django_db(transaction=True)
def test_many_at_once_count_every_change(device: Device) -> None:
    def act(number: int) -> None:
        try:
            desired_state_set(device=device, role="wan.gateway", spec={"n": number})
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(act, range(6)))
    assert DesiredState.objects.get().revision == 6


def test_token_is_shown_once_and_the_old_one_ends(device: Device) -> None:
    first = device_token_rotate(device=device, actor="ann")
    assert device_authenticate(first) == device
    second = device_token_rotate(device=device, actor="ann")
    assert device_authenticate(first) is None
    assert device_authenticate(second) == device
    device.refresh_from_db()
    assert device.token_hash == hashlib.sha256(second.encode()).hexdigest()
    assert second.startswith(device.token_prefix)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT d::text FROM inventory_device d UNION ALL SELECT a::text FROM audit_auditentry a"
        )
        assert second not in str(cursor.fetchall())
    assert AuditEntry.objects.filter(action="inventory.device_rotate_token", subject="gw").count() == 2


@pytest.mark.parametrize("raw", ["", "x", services.TOKEN_PREFIX, "nfv_api_x", services.TOKEN_PREFIX + "\x00"])
def test_other_words_are_no_token(raw: str, device: Device) -> None:
    assert device_authenticate(raw) is None
