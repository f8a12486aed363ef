"""Devices that move to another site of the inventory: their sensors and collectors follow by themselves."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from apps.mptcp.models import Observer
from apps.mptcp.services.collectors import collector_set
from apps.mptcp.services.moves import devices_follow
from apps.mptcp.services.sensors import sensor_set, sensor_stop
from nfvportal.inventory.models import DesiredState, Device, Interface, Site
from tests.support.mptcp_rows import gateway_make

pytestmark = pytest.mark.django_db
ROLES = ("mptcp.sensor", "mptcp.collector")


@pytest.fixture
def device() -> Device:
    for other in range(3):  # so that numbers differ between the sites
        gateway_make(f"other-{other}", site="south")
    made = gateway_make(roles=ROLES)
    Interface.objects.create(device=made, name="lan0")
    sensor_set(device=made, interface="lan0", sampling_ratio=0.05)
    collector_set(
        device=made, user=User.objects.create_user("olga"), exporters=["192.0.2.1", "198.51.100.0/24"]
    )
    return made


def move(device: Device, site: str) -> None:
    device.site = Site.objects.get(name=site)
    device.save()


def specs() -> dict[str, dict[str, Any]]:
    return {row.role: row.spec for row in DesiredState.objects.all()}


def places_at(site: str) -> dict[str, int]:
    rows = Observer.objects.filter(domain__site__name=site, device__name="gw")
    return {row.interface: row.number for row in rows}


def test_sensor_and_collector_follow_their_device(device: Device) -> None:
    before = specs()
    move(device, "south")
    assert devices_follow() == 2
    sensor, collector = (specs()[role] for role in ROLES)
    numbers = places_at("south")
    assert set(numbers) == {"lan0", "192.0.2.1", "198.51.100.0/24"}
    assert sensor == {**before["mptcp.sensor"], "observer": numbers["lan0"]}
    assert collector["exporters"] == [
        {"address": address, "observer": numbers[address]} for address in ("192.0.2.1", "198.51.100.0/24")
    ]
    assert devices_follow() == 0


def test_who_comes_back_has_its_old_places(device: Device) -> None:
    before = specs()
    move(device, "south")
    devices_follow()
    move(device, "branch")
    assert devices_follow() == 2
    assert specs() == before


def test_who_stays_is_left_alone_in_two_queries(device: Device, django_assert_num_queries: Any) -> None:
    revisions = set(DesiredState.objects.values_list("role", "revision"))
    with django_assert_num_queries(2):
        assert devices_follow() == 0
    assert set(DesiredState.objects.values_list("role", "revision")) == revisions


def test_who_looks_at_nothing_or_lost_the_role_is_passed_over(device: Device) -> None:
    sensor_stop(device=device)
    device.roles = ["mptcp.sensor"]
    move(device, "south")
    assert devices_follow() == 0
