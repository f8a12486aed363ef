"""Specs of both roles as the portal sends them, and the wires they need."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.nfvportal.agent.in_namespace import add_wire

GATEWAY: dict[str, Any] = {
    "side": "a",
    "links": [
        {
            "name": "fiber",
            "interface": "wan1",
            "local": "192.0.2.1",
            "peer": "192.0.2.2",
            "rate_bps": 50_000_000,
        },
        {
            "name": "dsl",
            "interface": "wan2",
            "local": "192.0.2.5",
            "peer": "192.0.2.6",
            "rate_bps": 20_000_000,
        },
    ],
    "virtual_subnets": [
        {"index": 1, "prefix": "10.1.1.0/24", "default": True},
        {"index": 2, "prefix": "10.1.2.0/24", "default": False},
    ],
    "remote_prefixes": ["10.2.0.0/24"],
    "home": {"1": "fiber", "2": "dsl"},
    "map": {"1": "fiber", "2": "dsl"},
    "epoch": 1,
    "probe": {"interval_ms": 10, "multiplier": 3, "port": 4785, "key": "ab" * 32},
    "hold_down": {"clean_count": 20, "base_s": 0.2, "max_s": 1},
    "reroute": True,
}

HOST: dict[str, Any] = {
    "interface": "lan0",
    "addresses": [
        {"index": 1, "address": "10.1.1.10/24", "gateway": "10.1.1.1"},
        {"index": 2, "address": "10.1.2.10/24", "gateway": "10.1.2.1"},
    ],
    "subflow_limit": 8,
    "add_addr_accepted": 8,
}


def changed(spec: Mapping[str, Any], path: Sequence[str | int], value: object) -> dict[str, Any]:
    """Return a copy of a spec with one value replaced."""
    result: Any = copy.deepcopy(dict(spec))
    at = result
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return dict(result)


def add_wan_wires() -> None:
    """Make the two links of the gateway's spec."""
    add_wire("wan1", "192.0.2.1/30")
    add_wire("wan2", "192.0.2.5/30")


class Context:
    """A role's context that remembers what it was told."""

    device, role, state_dir = "device", "role", Path()

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, object]]] = []

    def emit(self, event: str, data: Mapping[str, object], at_s: float | None = None) -> None:
        """Remember an event."""
        self.events.append((event, data))

    def sample(self, columns: Mapping[str, Sequence[object]]) -> None:
        """Samples are tested in the lab."""
