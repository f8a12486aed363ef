"""The admin: every list opens with search and every filter, history cannot be changed, tokens show once."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client

from apps.wan.models import MapEpoch, SitePair
from nfvportal.audit.models import AuditEntry
from nfvportal.events.models import Event
from nfvportal.inventory.models import DesiredState, Device, Link, Site
from nfvportal.inventory.services import device_authenticate
from nfvportal.jobs.models import Job
from tests.support.demo import failed_event, failover_make
from tests.support.people import session_client

pytestmark = pytest.mark.django_db
# What the demo makes only when somebody plans or deploys; their forms are opened by the tests of chains.
WITHOUT_ROWS = {
    *(f"chains.{name}" for name in ("Plan", "Deployment", "ChainAlarm", "ChainPlacement")),
    *(f"mptcp.{name}" for name in ("Alarm", "Capture", "ChangeLog", "Connection", "Subscription", "Verdict")),
}


@pytest.fixture
def client(pair: SitePair) -> Client:
    """A superuser in a portal with some of everything."""
    failover_make()
    failed_event()
    Job.objects.create(kind="lab.fault", params={}, state="failed", error="x")
    return session_client("admin", name="root", is_staff=True, is_superuser=True)


def _lists() -> Iterator[tuple[str, Any]]:
    for model, site in admin.site._registry.items():
        if model._meta.app_label != "auth":
            yield f"/admin/{model._meta.app_label}/{model._meta.model_name}/", site


def _addresses(client: Client) -> Iterator[str]:
    """Yield every list, with search, in the order of all columns, and behind each choice of each filter."""
    for path, site in _lists():
        yield path
        yield f"{path}?q=gw"
        yield f"{path}?o={'.'.join(str(index + 1) for index in range(len(site.list_display)))}"
        changes = client.get(path).context["cl"]
        for spec in changes.filter_specs:
            yield from (path + choice["query_string"] for choice in spec.choices(changes))


def test_lists_open_with_search_order_and_every_filter(client: Client) -> None:
    addresses = list(_addresses(client))
    assert len(addresses) > 60
    broken = {
        address: answer.status_code
        for address in addresses
        if (answer := client.get(address)).status_code != 200
    }
    assert broken == {}


def test_search_and_filter_find(client: Client) -> None:
    def found(query: str) -> set[str]:
        rows = client.get(f"/admin/inventory/device/?{query}").context["cl"].queryset
        return {row.name for row in rows}

    assert found("q=headquarters") == {"gw-b", "hq-server"}
    assert found("q=wan-fiber") == {"gw-a", "gw-b"}
    assert found("kind__exact=switch") == {"branch-switch"}
    assert found("status__exact=online") == set()


def test_forms_open_and_history_is_closed(client: Client) -> None:
    without_rows = set()
    for path, site in _lists():
        request = client.get(path).wsgi_request
        row = site.model._default_manager.first()
        if row is None:
            without_rows.add(site.model._meta.label)
            continue
        assert client.get(f"{path}{row.pk}/change/").status_code == 200, path
        assert client.get(f"{path}{row.pk}/history/").status_code == 200, path
        assert client.get(f"{path}add/").status_code == (200 if site.has_add_permission(request) else 403), (
            path
        )
    assert without_rows <= WITHOUT_ROWS


@pytest.mark.parametrize("model", [Event, Job, DesiredState, MapEpoch])
def test_history_is_read_only(model: Any, client: Client) -> None:
    path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    row = model.objects.first()
    before = list(model.objects.order_by("pk").values())
    for address in (f"{path}add/", f"{path}{row.pk}/change/", f"{path}{row.pk}/delete/"):
        assert client.post(address, {"post": "yes"}).status_code == 403, address
    client.post(path, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert list(model.objects.order_by("pk").values()) == before


def test_changes_are_audited_with_the_name_of_who_made_them(client: Client) -> None:
    assert client.post("/admin/inventory/site/add/", {"name": "new", "title": "New"}).status_code == 302
    site = Site.objects.get(name="new")
    assert (
        client.post(f"/admin/inventory/site/{site.pk}/change/", {"name": "new", "title": "Newer"}).status_code
        == 302
    )
    selected = {"action": "delete_selected", "_selected_action": [site.pk], "post": "yes"}
    assert client.post("/admin/inventory/site/", selected).status_code == 302
    actions = AuditEntry.objects.filter(actor="root").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["inventory.site_create", "inventory.site_update", "inventory.site_delete"]


def test_odd_input_comes_back_with_the_form(client: Client) -> None:
    answer = client.post("/admin/inventory/site/add/", {"name": "Not A Name"})
    assert answer.status_code == 200
    assert "must be 1 to 64 of a-z" in answer.content.decode()
    link = Link.objects.get(name="fiber")
    fields = {"name": "fiber", "kind": "wan", "a": link.a_id, "b": link.a_id, "capacity_bps": 1}
    assert client.post(f"/admin/inventory/link/{link.pk}/change/", fields).status_code == 200


def test_empty_roles_and_addresses_mean_none(client: Client) -> None:
    site = Site.objects.get(name="hq")
    inlines = {f"interfaces-{name}": 0 for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
    fields = {"name": "plain", "site": site.pk, "kind": "host", "roles": "", "note": "", **inlines}
    assert client.post("/admin/inventory/device/add/", fields).status_code == 302
    device = Device.objects.get(name="plain")
    assert device.roles == []
    fields = {"device": device.pk, "name": "lan0", "mac": "", "addresses": ""}
    assert client.post("/admin/inventory/interface/add/", fields).status_code == 302
    assert device.interfaces.get().addresses == []


def test_tokens_rotate_by_action_and_show_once(client: Client) -> None:
    device = Device.objects.get(name="gw-a")
    old = device.token_hash
    chosen = {"action": "rotate_token", "_selected_action": [device.pk]}
    shown = client.post("/admin/inventory/device/", chosen, follow=True).content.decode()
    raw = "nfv_dev_" + shown.split("nfv_dev_", 1)[1].split("<", 1)[0]
    assert device_authenticate(raw) == device
    device.refresh_from_db()
    assert device.token_hash != old
    assert raw not in client.get("/admin/inventory/device/").content.decode()


def test_chosen_devices_export_as_csv(client: Client) -> None:
    chosen = {"action": "export_csv", "_selected_action": [Device.objects.get(name="gw-a").pk]}
    answer = client.post("/admin/inventory/device/", chosen)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert [line.split(",")[0] for line in answer.content.decode().splitlines()] == ["name", "gw-a"]


def test_probe_key_is_made_and_never_shown(client: Client, pair: SitePair) -> None:
    page = client.get(f"/admin/wan/sitepair/{pair.pk}/change/").content.decode()
    assert pair.probe_key_sealed not in page
    assert "probe_key" not in page


def test_no_page_of_the_admin_needs_inline_scripts(client: Client) -> None:
    answer = client.get("/admin/inventory/device/")
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in answer.headers["Content-Security-Policy"]
    assert User.objects.filter(username="root").exists()
