"""REST of the inventory: shapes with units, filters, limits by field, tokens that show once."""

import json
from typing import Any

import pytest
from django.test import Client

from apps.wan.models import SitePair
from nfvportal.inventory.models import Device, Link, Site
from nfvportal.inventory.services import desired_state_applied, device_authenticate
from tests.support.people import token_client

pytestmark = pytest.mark.django_db
API = "/api/v1/inventory"


@pytest.fixture
def client(pair: SitePair) -> Client:
    """An administrator's program and the demo inventory."""
    return token_client("admin", can_write=True)


def _send(client: Client, method: str, path: str, body: Any, tag: str = "*") -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    return client.generic(
        method, f"{API}/{path}", text, content_type="application/json", headers={"If-Match": tag}
    )


def test_shapes_name_their_units_and_their_neighbours(client: Client) -> None:
    link = client.get(f"{API}/links/{Link.objects.get(name='fiber').pk}/").json()
    assert link == {
        "id": link["id"], "name": "fiber", "kind": "wan", "a": "gw-a:wan-fiber", "b": "gw-b:wan-fiber",
        "capacity_bps": 50_000_000, "delay_ms": 5.0, "provider": "Northline", "cost_per_gb": None,
    }  # fmt: skip
    device = client.get(f"{API}/devices/{Device.objects.get(name='gw-a').pk}/").json()
    assert (device["site"], device["status"]) == ("branch", "unknown")
    assert device["roles"] == ["wan.gateway", "mptcp.sensor", "mptcp.enforcer"]
    assert "hash" not in str(device)
    (interface,) = client.get(f"{API}/interfaces/?device=hq-server").json()["results"]
    assert (interface["name"], interface["addresses"]) == ("lan0", ["10.2.0.10/24"])


FILTERS = [
    ("devices/?role=wan.gateway", ["gw-a", "gw-b"]), ("devices/?site=hq&kind=host", ["hq-server"]),
    ("devices/?status=online", []), ("links/?kind=wan", ["dsl", "fiber", "lte"]), ("interfaces/?device=nothing", []),
]  # fmt: skip


def test_filters(client: Client) -> None:
    for path, names in FILTERS:
        found = client.get(f"{API}/{path}").json()["results"]
        assert sorted(row["name"] for row in found) == names, path
    for path in ("devices/?kind=teapot", "devices/?status=asleep", "links/?kind=x", "devices/?site=%00"):
        assert client.get(f"{API}/{path}").status_code == 400, path


NEW_LINK = {"name": "spare", "kind": "wan", "a": "gw-a:lan0", "b": "gw-b:lan0", "capacity_bps": 1000}


def test_a_link_is_made_changed_and_deleted(client: Client) -> None:
    made = _send(client, "POST", "links/", NEW_LINK)
    assert made.status_code == 201, made.content
    path = f"links/{made.json()['id']}/"
    changed = _send(client, "PATCH", path, {"cost_per_gb": "1.2500", "delay_ms": 3}, made.headers["ETag"])
    assert (changed.json()["cost_per_gb"], changed.json()["delay_ms"]) == ("1.2500", 3.0)
    replaced = _send(client, "PUT", path, {**NEW_LINK, "capacity_bps": 5}, changed.headers["ETag"])
    assert (replaced.status_code, replaced.json()["capacity_bps"]) == (200, 5)
    assert _send(client, "DELETE", path, "", replaced.headers["ETag"]).status_code == 204


ODD = [
    ({"a": "gw-a"}, "a"), ({"a": "gw-a:nothing"}, "a"), ({"a": 5}, "a"), ({"a": None}, "a"), ({"a": "gw-a:\x00"}, "a"),
    ({"b": "gw-a:wan-dsl"}, "b"), ({"capacity_bps": 0}, "capacity_bps"), ({"capacity_bps": 1.5}, "capacity_bps"),
    ({"capacity_bps": 10**30}, "capacity_bps"), ({"delay_ms": "nan"}, "delay_ms"), ({"delay_ms": "inf"}, "delay_ms"),
    ({"delay_ms": -1}, "delay_ms"), ({"cost_per_gb": "NaN"}, "cost_per_gb"), ({"name": "fiber"}, "name"),
    ({"name": "a\x00"}, "name"), ({"name": "\ud800"}, "name"), ({"kind": []}, "kind"), ({"id": 5}, "id"),
]  # fmt: skip


def test_odd_values_are_refused_by_field(client: Client) -> None:
    count = Link.objects.count()
    for change, field in ODD:
        answer = _send(client, "POST", "links/", {**NEW_LINK, **change})
        assert answer.status_code == 400, change
        assert {error["field"] for error in answer.json()["errors"]} == {field}, change
    assert (
        _send(
            client, "POST", "links/", json.dumps(NEW_LINK).replace("1000", '1000, "delay_ms": 1e999')
        ).status_code
        == 400
    )
    assert Link.objects.count() == count


@pytest.mark.parametrize("latitude", ["nan", "-inf", "Infinity", 91])
def test_places_are_on_earth(latitude: Any, client: Client) -> None:
    answer = _send(client, "POST", "sites/", {"name": "mars", "latitude": latitude})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "latitude")
    assert not Site.objects.filter(name="mars").exists()


@pytest.mark.parametrize("roles", [{}, "wan.host", ["brew"], [["wan.host"]], None])
def test_odd_roles_are_refused(roles: Any, client: Client) -> None:
    path = f"devices/{Device.objects.get(name='gw-b').pk}/"
    assert _send(client, "PATCH", path, {"roles": roles}).status_code == 400
    assert Device.objects.get(name="gw-b").roles == ["wan.gateway"]


def test_used_things_stay_and_the_problem_names_their_users(client: Client) -> None:
    answer = _send(client, "DELETE", f"sites/{Site.objects.get(name='hq').pk}/", "")
    assert answer.status_code == 400
    assert "still used by gw-b, hq-server" in answer.json()["detail"]


def test_new_device_token_shows_once(client: Client) -> None:
    device = Device.objects.get(name="gw-a")
    old = device.token_hash
    answer = _send(client, "POST", f"devices/{device.pk}/rotate-token/", "")
    assert answer.json().keys() == {"device", "token"}
    assert device_authenticate(answer.json()["token"]) == device
    device.refresh_from_db()
    assert device.token_hash != old
    assert answer.json()["token"] not in client.get(f"{API}/devices/{device.pk}/").content.decode()


def test_desired_states_say_how_far_the_device_is(client: Client) -> None:
    device = Device.objects.get(name="gw-b")
    path = f"{API}/devices/{device.pk}/desired-states/"
    (state,) = client.get(path).json()
    assert (state["role"], state["revision"], state["applied_revision"], state["is_converged"]) == (
        "wan.gateway",
        1,
        None,
        False,
    )
    assert "spec" not in state, "it holds the probes' key"
    desired_state_applied(device_id=device.pk, role="wan.gateway", revision=1, ok=True, error=None)
    (state,) = client.get(path).json()
    assert (state["applied_revision"], state["applied_ok"], state["is_converged"]) == (1, True, True)
