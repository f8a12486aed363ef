"""Topologies: what is refused, and in which words."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nfvportal.lab.topology import LinkShape, Topology, list_topologies, load_topology, parse_topology
from nfvportal.lib.errors import InvalidInputError

# A busy machine is no finding: only what the code does counts.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
GOOD: dict[str, Any] = {
    "nodes": {
        "left": {"kind": "host", "interfaces": {"eth0": {"addresses": ["10.0.0.1/24"]}}},
        "right": {"kind": "host", "interfaces": {"eth0": {"addresses": ["10.0.0.2/24"]}}},
    },
    "links": {"cable": {"a": "left/eth0", "b": "right/eth0", "rate_bps": 1_000_000, "delay_ms": 1.5}},
}


def changed(path: str, value: object) -> str:
    tree = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place = tree
    for key in parents:
        place = place[key]
    place[last] = value
    return yaml.safe_dump(tree)


@pytest.mark.parametrize("name", list_topologies())
def test_every_topology_of_the_house_is_valid(name: str) -> None:
    topology = load_topology(name)
    assert topology.name == name
    assert topology.title != name


def test_branch_is_what_the_rest_of_the_portal_expects() -> None:
    branch = load_topology("branch")
    shapes = {link.name: link.shape for link in branch.links if link.shape}
    assert {name: (shape.rate_bps, shape.delay_ms) for name, shape in shapes.items()} == {
        "fiber": (50_000_000, 5),
        "dsl": (20_000_000, 15),
        "lte": (10_000_000, 30),
    }
    assert {node.name: node.roles for node in branch.nodes if node.roles} == {
        "branch-host": ("wan.host", "lab.traffic"),
        "branch-legacy": ("lab.traffic",),
        "gw-a": ("wan.gateway", "mptcp.sensor", "mptcp.enforcer"),
        "gw-b": ("wan.gateway",),
        "hq-server": ("lab.traffic",),
    }
    assert len(branch.node("branch-host").interfaces) == 1
    assert len(branch.host_pairs) == 6


def test_defaults_of_a_link() -> None:
    link = parse_topology("good", yaml.safe_dump(GOOD)).link("cable")
    assert link.shape == LinkShape(rate_bps=1_000_000, delay_ms=1.5, loss_ratio=0.0, queue_bytes=65_536)


@pytest.mark.parametrize(
    ("path", "value", "field", "words"),
    [
        ("links.cable.rate_bps", "fast", "links.cable.rate_bps", "number between 8000"),
        ("links.cable.rate_bps", True, "links.cable.rate_bps", "number between"),
        ("links.cable.delay_ms", -1, "links.cable.delay_ms", "between 0 and 10000"),
        ("links.cable.delay_ms", float("nan"), "links.cable.delay_ms", "between 0 and 10000"),
        ("links.cable.loss_ratio", 1.5, "links.cable.loss_ratio", "between 0 and 1"),
        ("links.cable.queue_bytes", 10, "links.cable.queue_bytes", "between 2000"),
        ("links.cable.speed", 1, "links.cable.speed", "unknown; must be one of a, b, delay_ms"),
        ("links.cable.a", "left", "links.cable.a", "node/interface"),
        ("links.cable.a", "left/eth7", "links.cable.a", "left/eth7 must be an interface"),
        ("links.cable.b", "left/eth0", "links.cable.b", "already holds link cable"),
        ("nodes.left.kind", "router", "nodes.left.kind", "host, gateway, bridge"),
        ("nodes.left.interfaces", {"type": {}}, "nodes.left.interfaces.type", "ip command"),
        (
            "nodes.left.interfaces",
            {"a-name-of-16-chr": {}},
            "nodes.left.interfaces.a-name-of-16-chr",
            "must match",
        ),
        (
            "nodes.left.interfaces.eth0.addresses",
            ["10.0.0.1"],
            "nodes.left.interfaces.eth0.addresses[0]",
            "10.1.1.10/24",
        ),
        ("nodes.left.interfaces.eth1", {}, "nodes.left.interfaces.eth1", "must hold a link"),
        (
            "nodes.left.routes",
            [{"to": "10.1.0.1/16", "via": "10.0.0.2"}],
            "nodes.left.routes[0].to",
            "a prefix",
        ),
        ("nodes.left.routes", [{"to": "default", "via": "x"}], "nodes.left.routes[0].via", "IPv4"),
        ("nodes.left.routes", [{"to": "default"}], "nodes.left.routes[0].via", "is required"),
        ("nodes.left.roles", ["gateway"], "nodes.left.roles[0]", "must match"),
        ("nodes.Left!", {}, "nodes.Left!", "must match"),
        ("nodes", [], "nodes", "mapping of 1 to 64 names"),
        ("links", {}, "links", "mapping of 1 to 128 names"),
    ],
)
def test_a_broken_rule_is_named_with_its_place(path: str, value: object, field: str, words: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_topology("bad", changed(path, value))
    assert caught.value.field == field
    assert words in caught.value.limit


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "nodes: {", "a: &a [*a]", "\x00", "nodes: {}\nlinks: {}\nmore: 1"]
)
def test_text_that_is_no_topology_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_topology("bad", text)


@given(st.text(max_size=200))
@settings(CALM, max_examples=200)
def test_any_text_is_a_topology_or_refused(text: str) -> None:
    try:
        result = parse_topology("any", text)
    except InvalidInputError:
        return
    assert isinstance(result, Topology)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
places = st.sampled_from(
    [
        "nodes",
        "links",
        "nodes.left",
        "nodes.left.kind",
        "nodes.left.interfaces",
        "nodes.left.interfaces.eth0",
        "nodes.left.routes",
        "nodes.left.roles",
        "links.cable",
        "links.cable.a",
        "links.cable.rate_bps",
        "links.cable.queue_bytes",
    ]
)


@given(places, json_values)
@settings(CALM, max_examples=300)
def test_any_value_at_any_place_is_taken_or_refused(path: str, value: object) -> None:
    try:
        result = parse_topology("any", changed(path, value))
    except InvalidInputError:
        return
    assert isinstance(result, Topology)


def test_unknown_topology_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="branch"):
        load_topology("nowhere")
    with pytest.raises(InvalidInputError, match="readable"):
        load_topology(str(tmp_path / "missing.yml"))
    with pytest.raises(InvalidInputError):
        load_topology("../topologies/branch")


def test_nothing_is_expected_to_pass_a_node_that_only_its_agent_opens() -> None:
    datacenter = load_topology("datacenter")
    assert datacenter.host_pairs == ()
    assert {node.name for node in datacenter.nodes if node.kind in {"middlebox", "server"}} == {
        "dc-classifier",
        "dc-server-1",
        "dc-server-2",
        "dc-server-3",
    }
    opened = changed("nodes.left.kind", "middlebox")
    assert parse_topology("t", opened).host_pairs == ()


def test_an_interface_has_the_address_asked_for_and_a_link_its_mtu() -> None:
    datacenter = load_topology("datacenter")
    fabric = datacenter.link("dc-fabric")
    assert (fabric.mtu, fabric.shape) == (2000, None)
    assert datacenter.interface(fabric.a).mac == "02:09:00:00:01:00"


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("nodes.left.interfaces.eth0.mac", "01:00:00:00:00:01", "nodes.left.interfaces.eth0.mac"),
        ("nodes.left.interfaces.eth0.mac", "2:0:0:0:0:1", "nodes.left.interfaces.eth0.mac"),
        ("links.cable.mtu", 2031, "links.cable.mtu"),
        ("links.cable.mtu", 1279, "links.cable.mtu"),
    ],
)
def test_addresses_of_groups_and_mtus_that_a_relay_would_cut_are_refused(
    path: str, value: object, field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_topology("t", changed(path, value))
    assert caught.value.field == field


def test_topologies_are_joined_when_they_share_no_name() -> None:
    both = load_topology("branch+datacenter")
    assert {node.name for node in both.nodes} == {
        node.name for name in ("branch", "datacenter") for node in load_topology(name).nodes
    }
    assert both.host_pairs == load_topology("branch").host_pairs, "nobody reaches over to the other"
    with pytest.raises(InvalidInputError, match="names of their own"):
        load_topology("branch+branch")
    with pytest.raises(InvalidInputError) as caught:
        load_topology("branch+nowhere")
    assert caught.value.field == "topology"
