"""A spec is refused with the field and its limit, or gives flows within the limits."""

import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfvportal.lab.traffic.flows import KINDS, MAX_FLOWS, PROTOCOLS, Flow, parse_flows
from nfvportal.lib.errors import InvalidInputError
from tests.lab.traffic.loopback import free_port, item

VALID = item("bulk", "sender", 5001)


def _refused(spec: dict[str, Any]) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        parse_flows(spec)
    return caught.value


def _flows_or_error(spec: dict[str, Any]) -> tuple[Flow, ...] | InvalidInputError:
    try:
        return parse_flows(spec)
    except InvalidInputError as error:
        return error


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("name", value) for value in (None, 7, "", "-", "a b", "a/b", "x" * 65)],
        *[("kind", value) for value in (None, "video", "BULK", ["bulk"], {})],
        *[("part", value) for value in (None, "both", 1)],
        *[("protocol", value) for value in (None, "sctp", "udp")],
        *[("address", value) for value in (None, "", "host", "10.0.0.256", "::1", ["10.0.0.1"])],
        *[("port", value) for value in (None, 0, 65_536, -1, "80", True, 80.5, float("nan"))],
        *[("local_address", value) for value in ("", 0, False, "10.0.0", "::1")],
        *[("rate_bps", value) for value in (0, 999, 10**12 + 1, "1000", True, 1000.5)],
        *[("message_bytes", value) for value in (0, 19, 1_000_001, 20.5, None, float("inf"))],
        *[("interval_ms", value) for value in (-0.1, 60_001, "20", None, float("nan"))],
    ],
)
def test_each_field_has_a_limit_that_names_it(field: str, value: object) -> None:
    parse_flows({"flows": [VALID]})
    error = _refused({"flows": [VALID, {**VALID, "name": "other", field: value}]})
    assert error.field == f"flows[1].{field}"
    assert error.limit.startswith("must be ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x" * 64),
        ("port", 1),
        ("port", 65_535),
        ("rate_bps", 1_000),
        ("rate_bps", 10**12),
        ("message_bytes", 20),
        ("message_bytes", 1_000_000),
        ("interval_ms", 0),
        ("interval_ms", 60_000),
        ("local_address", None),
    ],
)
def test_the_limits_themselves_are_allowed(field: str, value: object) -> None:
    (flow,) = parse_flows({"flows": [{**VALID, field: value}]})
    assert getattr(flow, field) == value


def test_a_datagram_has_to_fit_into_udp() -> None:
    voice = item("voice", "sender", 5003, message_bytes=65_507)
    assert parse_flows({"flows": [voice]})[0].message_bytes == 65_507
    assert _refused({"flows": [{**voice, "message_bytes": 65_508}]}).field == "flows[0].message_bytes"


@pytest.mark.parametrize("flows", [None, {}, "x", 3, [VALID] * (MAX_FLOWS + 1), [VALID, VALID]])
def test_the_list_of_flows_has_limits(flows: object) -> None:
    assert _refused({"flows": flows}).field == "flows"


@pytest.mark.parametrize("flow", [None, [], "bulk", 1])
def test_a_flow_is_an_object(flow: object) -> None:
    assert _refused({"flows": [flow]}).field == "flows[0]"


def test_both_ends_of_a_flow_may_be_on_one_device() -> None:
    spec = {"flows": [VALID, {**VALID, "part": "receiver"}]}
    assert [flow.part for flow in parse_flows(spec)] == ["sender", "receiver"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", KINDS)
def test_voice_is_udp_and_nothing_else_is(kind: str, protocol: str) -> None:
    spec = {"flows": [{**VALID, "kind": kind, "protocol": protocol}]}
    if (kind == "voice") == (protocol == "udp"):
        assert parse_flows(spec)[0].protocol == protocol
    else:
        assert _refused(spec).field == "flows[0].protocol"


def test_a_socket_is_of_the_flows_protocol() -> None:
    numbers = {}
    for kind, protocol in (("bulk", "tcp"), ("voice", "udp")):
        flow = parse_flows({"flows": [item(kind, "sender", free_port(), protocol=protocol)]})[0]
        with flow.open_socket() as sock:
            numbers[protocol] = (sock.type, sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL))
    assert numbers == {
        "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
        "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
nearly_flows = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("a") | json_values,
        "kind": st.sampled_from(KINDS) | json_values,
        "part": st.sampled_from(("sender", "receiver")) | json_values,
        "protocol": st.sampled_from(PROTOCOLS) | json_values,
        "address": st.just("10.0.0.1") | json_values,
        "port": st.integers(1, 65_535) | json_values,
        "local_address": st.just("10.0.0.2") | json_values,
        "rate_bps": st.floats(0, 1e13) | json_values,
        "message_bytes": st.integers(0, 2_000_000) | json_values,
        "interval_ms": st.floats(-1, 70_000) | json_values,
    },
)
specs = st.dictionaries(st.text(max_size=8), json_values, max_size=3) | st.fixed_dictionaries(
    {"flows": json_values | st.lists(nearly_flows | json_values, max_size=3)}
)


@given(specs)
@settings(max_examples=300)
def test_any_json_is_refused_by_a_field_or_within_the_limits(spec: dict[str, Any]) -> None:
    flows = _flows_or_error(spec)
    if isinstance(flows, InvalidInputError):
        assert flows.field.startswith("flows")
        assert flows.limit.startswith("must ")
        return
    for flow in flows:
        assert 1 <= flow.port <= 65_535
        assert 20 <= flow.message_bytes <= 1_000_000
        assert 0 <= flow.interval_ms <= 60_000
        assert flow.rate_bps is None or 1_000 <= flow.rate_bps <= 10**12
