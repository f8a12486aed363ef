"""Sensors over REST: switched on and off on devices that have the role, with checks, by who may."""

from typing import Any

import pytest
from django.test import Client

from nfvportal.audit.models import AuditEntry
from nfvportal.inventory.models import DesiredState, Interface
from tests.support.mptcp_rows import gateway_make
from tests.support.people import token_client

pytestmark = pytest.mark.django_db
URL = "/api/v1/mptcp/sensors/"


@pytest.fixture
def operator() -> Client:
    device = gateway_make()
    Interface.objects.create(device=device, name="lan0")
    return token_client("operator", can_write=True)


def put(client: Client, body: dict[str, Any], device: str = "gw") -> Any:
    return client.put(f"{URL}{device}/", body, content_type="application/json")


def test_sensor_is_switched_on_and_off(operator: Client) -> None:
    (row,) = put(operator, {"interface": "lan0", "sampling_ratio": 0.05}).json()
    assert (row["interface"], row["sampling_ratio"], row["interfaces"]) == ("lan0", 0.05, ["lan0"])
    state = DesiredState.objects.get(role="mptcp.sensor")
    assert state.spec["interface"] == "lan0"
    (row,) = put(operator, {"interface": None}).json()
    assert row["interface"] is None
    state.refresh_from_db()
    assert (state.spec, state.revision) == ({}, 2)
    assert AuditEntry.objects.filter(action="mptcp.sensor_set").count() == 2


@pytest.mark.parametrize(
    ("body", "device", "status"),
    [
        ({"interface": "nothing"}, "gw", 400),
        ({"interface": "lan0", "sampling_ratio": 2}, "gw", 400),
        ({}, "gw", 400),
        ({"interface": "lan0", "more": 1}, "gw", 400),
        ({"interface": "lan0"}, "stranger", 404),
    ],
)
def test_what_cannot_be_sampled_is_refused(
    operator: Client, body: dict[str, Any], device: str, status: int
) -> None:
    assert put(operator, body, device).status_code == status
    assert not DesiredState.objects.exists()


def test_list_takes_few_queries(operator: Client, django_assert_max_num_queries: Any) -> None:
    gateway_make("gw-2")
    with django_assert_max_num_queries(7):
        assert len(operator.get(URL).json()) == 2
