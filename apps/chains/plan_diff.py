"""What differs between two plans of one chain. Pure."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, Final

from apps.chains.plan_json import JsonObject

FIGURES: Final = (
    "mean_us", "p50_us", "p99_us", "wire_bytes_per_packet", "copied_bytes_per_packet", "cpu_us_per_packet",
    "servers_crossed",
)  # fmt: skip


def plan_diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> JsonObject:
    """Return moves between servers, pairs that run side by side in one plan only, and figures that changed.

    Args:
        before, after: plans as ``plan_to_json`` gives them; both must be feasible.
    """
    places = [dict(_places(plan["root"])) for plan in (before, after)]
    pairs = [set(_parallel_pairs(plan["root"])) for plan in (before, after)]
    moved = [
        {"nf": name, "before": places[0].get(name), "after": places[1].get(name)}
        for name in sorted(places[0].keys() | places[1].keys())
        if places[0].get(name) != places[1].get(name)
    ]
    return {
        "is_same_graph": before["root"] == after["root"],
        "moved": moved,
        "parallel_added": [list(pair) for pair in sorted(pairs[1] - pairs[0])],
        "parallel_removed": [list(pair) for pair in sorted(pairs[0] - pairs[1])],
        "figures": _changed(before["prediction"], after["prediction"], FIGURES),
        "constants": _changed(before["constants"], after["constants"], tuple(after["constants"])),
        "rate_pps": {"before": before["rate_pps"], "after": after["rate_pps"]},
    }


def _places(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if node["kind"] == "nf":
        yield node["name"], node["server"]
        return
    for child in node.get("parts") or node["branches"]:
        yield from _places(child)


def _parallel_pairs(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if node["kind"] == "nf":
        return
    children = node.get("parts") or node["branches"]
    for child in children:
        yield from _parallel_pairs(child)
    if node["kind"] == "parallel":
        names = [[name for name, _ in _places(child)] for child in children]
        for one, other in combinations(names, 2):
            yield from (tuple(sorted((a, b))) for a in one for b in other)  # type: ignore[misc]


def _changed(before: Mapping[str, Any], after: Mapping[str, Any], names: tuple[str, ...]) -> JsonObject:
    return {
        name: {"before": before.get(name), "after": after.get(name)}
        for name in names
        if before.get(name) != after.get(name)
    }
