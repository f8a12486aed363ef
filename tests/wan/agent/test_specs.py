"""Specs of gateway and host: every limit is refused by field, and nothing else is ever raised."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.wan.agent.gateway_spec import parse_gateway_spec
from apps.wan.agent.host import parse_host_spec
from nfvportal.lib.errors import InvalidInputError
from tests.wan.agent.specs import GATEWAY, HOST, changed

LINK, SUBNET, ADDRESS = ("links", 0), ("virtual_subnets", 0), ("addresses", 0)

GATEWAY_LIMITS: list[tuple[Sequence[str | int], list[object], str]] = [
    (("side",), [None, "c", 1, []], "side"),
    (("links",), [None, {}, [], [{}] * 33], "links"),
    (LINK, [None, 5, "fiber", []], "links[0]"),
    ((*LINK, "name"), [None, "", "a b", "a/b", "x" * 65, "\0", "\ud800", "dsl\n"], "links[0].name"),
    ((*LINK, "name"), ["dsl"], "links"),
    ((*LINK, "interface"), [None, "", "x" * 16, "wan 1", "w\0"], "links[0].interface"),
    ((*LINK, "local"), [None, 5, True, "", "192.0.2", "192.0.2.1/30", "::1", []], "links[0].local"),
    ((*LINK, "peer"), [None, 5, "192.0.2.256"], "links[0].peer"),
    ((*LINK, "rate_bps"), [None, 0, -1, 10**13 + 1, 1.5, True, "1"], "links[0].rate_bps"),
    (("virtual_subnets",), [None, {}, [], [{}] * 65], "virtual_subnets"),
    (SUBNET, [None, 5, "1", []], "virtual_subnets[0]"),
    ((*SUBNET, "index"), [None, 0, 256, True, "1", 1.0], "virtual_subnets[0].index"),
    (("virtual_subnets", 1, "index"), [1], "virtual_subnets[1].index"),
    (
        (*SUBNET, "prefix"),
        [None, 5, "", "10.1.1.1/24", "10.1.1.0/33", "::/64"],
        "virtual_subnets[0].prefix",
    ),
    (("remote_prefixes",), [None, {}, ["10.2.0.0/24"] * 257], "remote_prefixes"),
    (("remote_prefixes", 0), [None, 5, "10.2.0.1/24", []], "remote_prefixes[0].prefix"),
    (("home",), [None, [], 1], "home"),
    (("map",), [None, [], "fiber"], "map"),
    (("map", "1"), [None, "sat", [], {}, 1], "map.1"),
    (("map", "3"), ["fiber"], "map.3"),
    (("map", "01"), ["fiber"], "map.01"),
    (("map", "9" * 5000), ["fiber"], "map." + "9" * 5000),
    (("home", "x"), ["fiber"], "home.x"),
    (("epoch",), [None, -1, 2**31 + 1, 0.5, True], "epoch"),
    (("probe",), [None, [], 10], "probe"),
    (("probe", "interval_ms"), [0.9, 1001, "10", None, True, float("nan")], "probe.interval_ms"),
    (("probe", "multiplier"), [1, 51, "3", None], "probe.multiplier"),
    (("probe", "port"), [0, 65536, None, 1.0], "probe.port"),
    (("probe", "key"), [None, "", "ab" * 31, "ab" * 33, "zz" * 32, 5, "é" * 64], "probe.key"),
    (("hold_down",), [[], 1, None], "hold_down"),
    (("hold_down", "clean_count"), [0, 10_001, None], "hold_down.clean_count"),
    (("hold_down", "base_s"), [-0.1, 601, "1"], "hold_down.base_s"),
    (("hold_down", "max_s"), [-1, 3601, float("inf")], "hold_down.max_s"),
    (("reroute",), [None, 0, "false"], "reroute"),
]

HOST_LIMITS: list[tuple[Sequence[str | int], list[object], str]] = [
    (("interface",), [None, "", "x" * 16, 5, "l\0", "\ud800"], "interface"),
    (("addresses",), [None, {}, [], [{}] * 9], "addresses"),
    (ADDRESS, [None, 5, "10.1.1.10/24"], "addresses[0]"),
    ((*ADDRESS, "index"), [None, 0, 256, True, "1"], "addresses[0].index"),
    ((*ADDRESS, "index"), [2], "addresses"),
    ((*ADDRESS, "address"), [None, 5, "10.1.1.256/24", "::1/64", "1.1.1.1/" + "9" * 5000], "addresses[0]"),
    ((*ADDRESS, "gateway"), [None, "10.1.1", []], "addresses[0]"),
    ((*ADDRESS, "gateway"), ["10.1.2.1"], "addresses[0].gateway"),
    ((*ADDRESS, "address"), ["10.1.1.1/32"], "addresses[0].gateway"),
    (("subflow_limit",), [-1, 9, None, True, 1.0], "subflow_limit"),
    (("add_addr_accepted",), [-1, 9, "8"], "add_addr_accepted"),
]


def rows(limits: list[tuple[Sequence[str | int], list[object], str]]) -> list[Any]:
    return [pytest.param(path, value, field) for path, values, field in limits for value in values]


@pytest.mark.parametrize(("path", "value", "field"), rows(GATEWAY_LIMITS))
def test_a_gateway_spec_beyond_a_limit_names_the_field(
    path: Sequence[str | int], value: object, field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_gateway_spec(changed(GATEWAY, path, value))
    assert caught.value.field == field
    assert caught.value.limit.startswith("must")


@pytest.mark.parametrize(("path", "value", "field"), rows(HOST_LIMITS))
def test_a_host_spec_beyond_a_limit_names_the_field(
    path: Sequence[str | int], value: object, field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_host_spec(changed(HOST, path, value))
    assert caught.value.field == field


def test_a_whole_gateway_spec_is_taken() -> None:
    spec = parse_gateway_spec(GATEWAY)
    assert [link.name for link in spec.links] == ["fiber", "dsl"]
    assert spec.subnets == {1: "10.1.1.0/24", 2: "10.1.2.0/24"}
    assert spec.home == spec.advice == {1: "fiber", 2: "dsl"}
    assert (spec.detector.interval_ms, spec.detector.multiplier, spec.probe_port) == (10.0, 3, 4785)
    assert (spec.detector.hold_base_s, spec.detector.hold_max_s) == (0.2, 1.0)
    assert spec.probe_key == b"\xab" * 32
    assert spec.is_rerouting


@pytest.mark.parametrize("name", ["home", "hold_down", "reroute"])
def test_what_may_be_left_out(name: str) -> None:
    spec = parse_gateway_spec({key: value for key, value in GATEWAY.items() if key != name})
    assert spec.home == {1: "fiber", 2: "dsl"}
    assert spec.is_rerouting


def test_the_longest_hold_down_is_never_below_the_first() -> None:
    spec = parse_gateway_spec(changed(GATEWAY, ("hold_down",), {"base_s": 90}))
    assert spec.detector.hold_max_s == 90


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def paths_of(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items: Sequence[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [*([path] if path else []), *(p for key, item in items for p in paths_of(item, (*path, key)))]


def is_taken_or_refused_by_field(parse: Callable[[Mapping[str, Any]], object], spec: dict[str, Any]) -> bool:
    """Return whether it is so; any other error passes through."""
    try:
        parse(spec)
    except InvalidInputError as error:
        return bool(error.field and error.limit)
    return True


@pytest.mark.parametrize(("parse", "spec"), [(parse_gateway_spec, GATEWAY), (parse_host_spec, HOST)])
@given(data=st.data(), value=json_values)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_arbitrary_json_anywhere_is_taken_or_refused_by_field(
    parse: Callable[[Mapping[str, Any]], object], spec: dict[str, Any], data: st.DataObject, value: object
) -> None:
    path = data.draw(st.sampled_from(paths_of(spec)))
    for malformed in (changed(spec, path, value), {str(path[0]): value}):
        assert is_taken_or_refused_by_field(parse, malformed)
