"""Advice on disjoint paths: on which links siblings were seen, and which of them share none. Reads only."""

from itertools import combinations
from typing import Any

from apps.mptcp.models import Connection, Observer
from nfvportal.inventory.models import Link


def path_advice(row: Connection) -> dict[str, Any]:
    """Return where each subflow was seen and which pairs are disjoint.

    A link is known where an observation point is on an interface of the inventory that a link ends at. A subflow that
    was seen at no such place is ``unknown``: nothing is claimed of it. Links to which several siblings came are named,
    with the siblings: one failure there hits them all.
    """
    names, links = _places(row)
    seen = {flow.engine_id: list(flow.seen_by) for flow in row.subflows.defer("points")}
    on_links = {
        subflow: {links[number] for number in numbers if number in links} for subflow, numbers in seen.items()
    }
    known = sorted(subflow for subflow, found in on_links.items() if found)
    disjoint = [[one, other] for one, other in combinations(known, 2) if not on_links[one] & on_links[other]]
    shared = {
        link: sorted(subflow for subflow in known if link in on_links[subflow])
        for link in sorted(set().union(*on_links.values()))
    }
    return {
        "connection": row.pk,
        "subflows": [
            {
                "subflow": subflow,
                "seen_by": [names.get(number, f"observer {number}") for number in numbers],
                "links": sorted(on_links[subflow]),
            }
            for subflow, numbers in sorted(seen.items())
        ],
        "disjoint": disjoint,
        "shared_links": {link: subflows for link, subflows in shared.items() if len(subflows) > 1},
        "unknown": sorted(seen.keys() - set(known)),
        "words": _words(known, disjoint, len(seen)),
    }


def _places(row: Connection) -> tuple[dict[int, str], dict[int, str]]:
    """Return number -> name of the observation point, and number -> link that it is on."""
    observers = (
        list(Observer.objects.filter(domain=row.domain_id).select_related("device")) if row.domain_id else []
    )
    ends: dict[tuple[int, str], str] = {}
    devices = [observer.device_id for observer in observers]
    for link in Link.objects.select_related("a", "b"):
        for end in (link.a, link.b):
            if end.device_id in devices:
                ends[end.device_id, end.name] = link.name
    names = {observer.number: str(observer) for observer in observers}
    links = {
        observer.number: ends[observer.device_id, observer.interface]
        for observer in observers
        if (observer.device_id, observer.interface) in ends
    }
    return names, links


def _words(known: list[int], disjoint: list[list[int]], count: int) -> str:
    if len(known) < 2:
        return (
            "Fewer than two siblings were seen on known links: nothing can be said. Put sensors on the links."
        )
    pairs = len(known) * (len(known) - 1) // 2
    if len(disjoint) == pairs:
        return f"All {len(known)} siblings that were seen take different links."
    if not disjoint:
        return f"All {len(known)} siblings that were seen share a link: one failure there stops them all."
    rest = f"; of {count - len(known)} more nothing is known" if count > len(known) else ""
    return f"{len(disjoint)} of {pairs} pairs of siblings take different links{rest}."
