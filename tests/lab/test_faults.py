"""Fault requests: what is refused, and what a fault does to a link's shape."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nfvportal.lab.faults import FAULT_KINDS, blocked_directions, parse_fault, shape_under_fault
from nfvportal.lab.topology import LinkShape
from nfvportal.lib.errors import InvalidInputError

SHAPE = LinkShape(rate_bps=50_000_000, delay_ms=5.0, loss_ratio=0.0, queue_bytes=100_000)


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({}, "link"),
        ({"link": 3, "kind": "blackhole"}, "link"),
        ({"link": "fiber"}, "kind"),
        ({"link": "fiber", "kind": "flood"}, "kind"),
        ({"link": "fiber", "kind": ["loss"]}, "kind"),
        ({"link": "fiber", "kind": "loss"}, "value"),
        ({"link": "fiber", "kind": "loss", "value": 1.01}, "value"),
        ({"link": "fiber", "kind": "loss", "value": float("nan")}, "value"),
        ({"link": "fiber", "kind": "rate", "value": 10}, "value"),
        ({"link": "fiber", "kind": "blackhole", "value": 1}, "value"),
        ({"link": "fiber", "kind": "loss", "value": 0.1, "seed": -1}, "seed"),
        ({"link": "fiber", "kind": "blackhole", "duration_s": 0}, "duration_s"),
    ],
)
def test_a_bad_request_is_refused_by_field(request_fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_fault(request_fields)
    assert caught.value.field == field


@given(st.dictionaries(st.sampled_from(["link", "kind", "value", "seed", "duration_s"]), st.one_of(
    st.none(), st.text(max_size=5), st.floats(), st.integers(), st.booleans(), st.sampled_from(sorted(FAULT_KINDS)),
    st.lists(st.integers(), max_size=2),
)))  # fmt: skip
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no finding
def test_any_request_is_a_fault_or_refused(request_fields: dict[str, Any]) -> None:
    try:
        fault = parse_fault(request_fields)
    except InvalidInputError:
        return
    shape = shape_under_fault(SHAPE, fault)
    assert 0 <= shape.loss_ratio <= 1
    assert len(blocked_directions(fault)) == 2


@pytest.mark.parametrize(
    ("kind", "value", "changed", "blocked"),
    [
        ("blackhole", None, {}, (True, True)),
        ("blackhole_ab", None, {}, (True, False)),
        ("blackhole_ba", None, {}, (False, True)),
        ("carrier", None, {}, (True, True)),
        ("loss", 0.02, {"loss_ratio": 0.02}, (False, False)),
        ("delay", 80.0, {"delay_ms": 80.0}, (False, False)),
        ("rate", 1e6, {"rate_bps": 1_000_000}, (False, False)),
    ],
)
def test_what_each_kind_does(
    kind: str, value: float | None, changed: dict[str, float], blocked: tuple[bool, bool]
) -> None:
    fault = parse_fault({"link": "fiber", "kind": kind, "value": value})
    shape = shape_under_fault(SHAPE, fault)
    fields = ("rate_bps", "delay_ms", "loss_ratio", "queue_bytes")
    differing = {
        name: getattr(shape, name) for name in fields if getattr(shape, name) != getattr(SHAPE, name)
    }
    assert differing == changed
    assert blocked_directions(fault) == blocked


def test_every_kind_is_covered_above() -> None:
    assert set(FAULT_KINDS) == {
        "blackhole",
        "blackhole_ab",
        "blackhole_ba",
        "carrier",
        "loss",
        "delay",
        "rate",
    }
