"""The demo WAN: complete, with keys and tokens that fit, and safe to repeat."""

import json
from pathlib import Path

import pytest

from apps.wan.agent.gateway_spec import parse_gateway_spec
from apps.wan.agent.host import parse_host_spec
from apps.wan.models import MapEpoch, SitePair, VirtualSubnet, WanLink
from apps.wan.seeds import seed_demo as wan_seed
from nfvportal.accounts.sealing import unseal
from nfvportal.audit.models import AuditEntry
from nfvportal.inventory.models import DesiredState, Device, Interface, Link, Site
from nfvportal.inventory.seeds import seed_demo
from nfvportal.inventory.services import device_authenticate
from nfvportal.lab.topology import load_topology
from nfvportal.lab.traffic.flows import parse_flows

pytestmark = pytest.mark.django_db
TABLES = (Site, Device, Interface, Link, SitePair, WanLink, VirtualSubnet, MapEpoch, DesiredState, AuditEntry)


def test_inventory_is_the_lab_s_topology(pair: SitePair) -> None:
    topology = load_topology("branch")
    assert set(Device.objects.values_list("name", flat=True)) == {node.name for node in topology.nodes}
    assert set(Link.objects.values_list("name", flat=True)) == {link.name for link in topology.links}
    assert {row.link.name: row.link.capacity_bps for row in WanLink.objects.select_related("link")} == {
        "fiber": 50_000_000, "dsl": 20_000_000, "lte": 10_000_000,
    }  # fmt: skip
    fiber = Link.objects.get(name="fiber")
    assert (str(fiber.a), str(fiber.b), fiber.provider, fiber.delay_ms) == (
        "gw-a:wan-fiber", "gw-b:wan-fiber", "Northline", 5.0,
    )  # fmt: skip


def test_each_subnet_has_its_own_link_and_the_first_is_the_default(pair: SitePair) -> None:
    epoch = MapEpoch.objects.get()
    assert (epoch.number, epoch.mapping) == (1, {"1": "fiber", "2": "dsl", "3": "lte"})
    assert list(VirtualSubnet.objects.filter(is_default=True).values_list("index", flat=True)) == [1]


def test_agents_understand_what_they_should_make_true(pair: SitePair) -> None:
    specs = {
        (state.device.name, state.role): state.spec for state in DesiredState.objects.select_related("device")
    }
    gateways = {name: parse_gateway_spec(specs[name, "wan.gateway"]) for name in ("gw-a", "gw-b")}
    assert gateways["gw-a"].links[0].peer == gateways["gw-b"].links[0].local
    assert specs["gw-a", "wan.gateway"]["probe"]["key"] == unseal(pair.probe_key_sealed)
    assert specs["gw-a", "wan.gateway"]["probe"] == specs["gw-b", "wan.gateway"]["probe"]
    host = parse_host_spec(specs["branch-host", "wan.host"])
    assert [str(item.address) for item in host.addresses] == ["10.1.1.10/24", "10.1.2.10/24", "10.1.3.10/24"]
    flows = {name: parse_flows(spec) for (name, role), spec in specs.items() if role == "lab.traffic"}
    received = {flow.name for flow in flows["hq-server"]}
    assert received == {flow.name for name in ("branch-host", "branch-legacy") for flow in flows[name]}
    assert len([role for _, role in specs if not role.startswith("mptcp.")]) == 6


def test_token_files_open_for_their_device_only_and_hold_no_hash(tmp_path: Path) -> None:
    seed_demo(tmp_path)
    for device in Device.objects.exclude(roles=[]):
        path = tmp_path / device.name / "token"
        assert path.stat().st_mode & 0o777 == 0o600
        assert device_authenticate(path.read_text().strip()) == device
    assert {path.parent.name for path in tmp_path.glob("*/token")} == {
        device.name for device in Device.objects.exclude(roles=[])
    }


def test_repeating_changes_nothing_not_even_what_people_changed(tmp_path: Path) -> None:
    seed_demo(tmp_path)
    SitePair.objects.update(hold_max_s=7)
    Device.objects.filter(name="gw-a").update(note="mind the step", kind="switch")
    Link.objects.filter(name="lan-hq").update(provider="us")
    wan_seed()  # the changed hold-down goes out with the next push
    before = _content()
    seed_demo(tmp_path)
    assert _content() == before


def _content() -> str:
    """Return every row of the seeded tables as text."""
    rows = {table.__name__: list(table.objects.order_by("pk").values()) for table in TABLES}
    return json.dumps(rows, default=str)
