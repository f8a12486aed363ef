"""Between rows and the engine's values: the one file that knows both."""

from collections.abc import Iterable

from apps.wan.engine.map_planner import LinkWeight, plan_home
from apps.wan.models import LinkState, VirtualSubnet, WanLink

# What is worse wins where two gateways disagree.
_RANK = {"up": 0, "unknown": 1, "hold_down": 2, "down": 3}


def weights_of(links: Iterable[WanLink]) -> list[LinkWeight]:
    """Return the planner's links, weighted by capacity."""
    return [LinkWeight(link.link.name, link.link.capacity_bps) for link in links]


def home_of(subnets: Iterable[VirtualSubnet], links: Iterable[WanLink]) -> dict[int, str]:
    """Return the home map: as set by people, the rest planned."""
    rows = list(subnets)
    planned = plan_home([row.index for row in rows], weights_of(links))
    return {row.index: row.home.link.name if row.home else planned[row.index] for row in rows}


def worst_state(states: Iterable[LinkState]) -> LinkState | None:
    """Return the state that counts among what the gateways say of one link."""
    return max(states, key=lambda row: (_RANK.get(row.state, 1), row.since), default=None)


def merged_direction(reports: dict[str, dict[str, object]]) -> str:
    """Return which direction failed, from what each gateway saw.

    One gateway hearing nothing and the other not being heard is the same one-way failure; both hearing nothing is a
    two-way failure, although each for itself only sees its receiving side.

    >>> merged_direction({"gw-a": {"direction": "rx"}, "gw-b": {"direction": "tx"}})
    'rx'
    >>> merged_direction({"gw-a": {"direction": "rx"}, "gw-b": {"direction": "rx"}})
    'both'
    """
    directions = [str(report.get("direction", "")) for report in reports.values()]
    if "both" in directions or directions.count("rx") > 1 or directions.count("tx") > 1:
        return "both"
    return directions[0] if directions else ""


def mapping_to_json(mapping: dict[int, str]) -> dict[str, str]:
    """Return a map as JSON keeps it."""
    return {str(index): link for index, link in sorted(mapping.items())}


def mapping_from_json(mapping: dict[str, str]) -> dict[int, str]:
    """Return a map as the planner takes it."""
    return {int(index): link for index, link in mapping.items()}
