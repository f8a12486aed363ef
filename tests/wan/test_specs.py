"""Desired states of gateways and hosts: what each side gets, and what is refused with the field's name."""

import pytest

from apps.wan.agent.gateway_spec import parse_gateway_spec
from apps.wan.models import SitePair, VirtualSubnet, WanLink
from apps.wan.selectors import map_get
from apps.wan.services.maps import map_ensure
from apps.wan.services.specs import gateway_spec, host_spec, pair_push
from nfvportal.inventory.models import DesiredState, Device, Interface, Link
from nfvportal.lib.errors import InvalidInputError

pytestmark = pytest.mark.django_db


def _gateway(pair: SitePair, side: str) -> dict[str, object]:
    links = list(pair.links.select_related("link__a__device", "link__b__device"))
    epoch = map_get(pair)
    assert epoch is not None
    return gateway_spec(pair, side, links, list(pair.subnets.select_related("home__link")), epoch)


def test_sides_are_mirror_images(pair: SitePair) -> None:
    a, b = _gateway(pair, "a"), _gateway(pair, "b")
    assert a["links"][0] == {  # type: ignore[index]
        "name": "fiber", "interface": "wan-fiber", "local": "192.0.2.1", "peer": "192.0.2.2", "rate_bps": 50_000_000,
    }  # fmt: skip
    mirrored = [{**link, "local": link["peer"], "peer": link["local"]} for link in a["links"]]  # type: ignore[attr-defined]
    assert b["links"] == mirrored
    assert (a["remote_prefixes"], b["remote_prefixes"]) == (["10.2.0.0/24"], [])
    differing = {name for name in a if a[name] != b[name]}
    assert differing == {"side", "links", "remote_prefixes"}


def test_numbers_of_the_pair_reach_the_agent(pair: SitePair) -> None:
    SitePair.objects.update(
        probe_interval_ms=25, probe_multiplier=4, probe_port=4000, hold_base_s=2, hold_max_s=30
    )
    pair.refresh_from_db()
    spec = parse_gateway_spec(_gateway(pair, "a"))
    assert (spec.detector.interval_ms, spec.detector.multiplier, spec.probe_port) == (25, 4, 4000)
    assert (spec.detector.hold_base_s, spec.detector.hold_max_s) == (2, 30)
    assert spec.is_rerouting


def test_pushing_the_same_again_keeps_the_revision(pair: SitePair) -> None:
    before = list(DesiredState.objects.order_by("pk").values())
    for _ in range(3):
        map_ensure(pair)
    assert list(DesiredState.objects.order_by("pk").values()) == before


def test_a_new_epoch_reaches_both_gateways_with_one_revision_each(pair: SitePair) -> None:
    epoch = map_get(pair)
    assert epoch is not None
    epoch.number, epoch.mapping = 2, {**epoch.mapping, "1": "lte"}
    pair_push(pair, epoch)
    for state in DesiredState.objects.filter(role="wan.gateway"):
        assert (state.revision, state.spec["epoch"], state.spec["map"]["1"]) == (2, 2, "lte")
        assert state.spec["home"]["1"] == "fiber"


def test_addresses_of_ipv6_are_passed_over(pair: SitePair) -> None:
    Interface.objects.filter(device__name="gw-a", name="wan-fiber").update(
        addresses=["2001:db8::1/64", "192.0.2.1/30"]
    )
    assert _gateway(pair, "a") == DesiredState.objects.get(device__name="gw-a", role="wan.gateway").spec


@pytest.mark.parametrize(
    ("addresses", "words"),
    [([], "interface gw-a:wan-fiber: needs an IPv4 address"), (["2001:db8::1/64"], "needs an IPv4 address")],
)
def test_interface_without_address_is_named(addresses: list[str], words: str, pair: SitePair) -> None:
    Interface.objects.filter(device__name="gw-a", name="wan-fiber").update(addresses=addresses)
    with pytest.raises(InvalidInputError, match=words):
        _gateway(pair, "a")


def test_link_that_ends_elsewhere_is_named(pair: SitePair) -> None:
    link = Link.objects.get(name="lan-host")
    WanLink.objects.create(pair=pair, link=link)
    with pytest.raises(InvalidInputError, match="link lan-host: must end at gw-a"):
        _gateway(pair, "a")


def test_host_keeps_its_number_in_every_subnet(pair: SitePair) -> None:
    VirtualSubnet.objects.filter(index=2).update(prefix="10.1.2.0/25")
    spec = host_spec(pair, Device.objects.get(name="branch-host"))
    assert spec["interface"] == "lan0"
    assert [item["address"] for item in spec["addresses"]] == ["10.1.1.10/24", "10.1.2.10/25", "10.1.3.10/24"]
    assert [item["gateway"] for item in spec["addresses"]] == ["10.1.1.1", "10.1.2.1", "10.1.3.1"]


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("hq-server", "device hq-server: needs an address in one"),
        ("branch-switch", "device branch-switch: needs"),
    ],
)
def test_host_outside_every_subnet_is_named(device: str, words: str, pair: SitePair) -> None:
    with pytest.raises(InvalidInputError, match=words):
        host_spec(pair, Device.objects.get(name=device))


def test_subnet_without_a_gateway_is_named(pair: SitePair) -> None:
    VirtualSubnet.objects.create(pair=pair, index=4, prefix="10.9.0.0/24")
    with pytest.raises(InvalidInputError, match=r"device gw-a: needs an address in 10\.9\.0\.0/24"):
        host_spec(pair, Device.objects.get(name="branch-host"))
