"""Which link each virtual subnet rides on: its home while that is up, else a stable choice among the others.

Both gateways compute the same map from the same states without talking, so the choice must be deterministic and a
failing link must move only its own subnets.

Source: Durga (WAN-aware MPTCP, TNSM 2021), the gateway's map M from virtual subnets to links. Weighted rendezvous
hashing: Thaler and Ravishankar 1998, weights after Schindelhauer and Schomaker 2005 (score ``-w / ln h``).
Deviation: the paper's own placement rule was not at hand; rendezvous is our choice.
"""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkWeight:
    """A link that may carry subnets; ``weight`` > 0, e.g. its rate in bit/s."""

    name: str
    weight: float


@dataclass(frozen=True, slots=True)
class Move:
    """A subnet that changes its link; ``from_link`` is empty when it had none."""

    index: int
    from_link: str
    to_link: str


@dataclass(frozen=True, slots=True)
class MapPlan:
    """The map, and what changes against the current one. ``is_stranded``: no link is up, everything stays."""

    mapping: Mapping[int, str]
    moves: tuple[Move, ...]
    is_stranded: bool


def plan_map(
    subnets: Sequence[int],
    links: Sequence[LinkWeight],
    up: Collection[str],
    home: Mapping[int, str],
    current: Mapping[int, str],
    advice: Mapping[int, str] | None = None,
) -> MapPlan:
    """Return the link of every virtual subnet.

    Each subnet takes the first of these that is up: its home, the advice, the rendezvous winner. When nothing is up
    the current map stays: a path that may come back beats no path.

    Args:
        subnets: indices of the virtual subnets, any order.
        links: all links of the site pair with weight > 0; not empty.
        up: names of the links that work in both directions.
        home: index -> link it belongs on when all is well.
        current: index -> link it rides on now; may be empty at the start.
        advice: index -> link the portal would choose; only consulted while the home link is down.

    Returns:
        A plan whose ``mapping`` has every index. Complexity: O(subnets x links).

    >>> links = [LinkWeight("dsl", 20), LinkWeight("fiber", 50)]
    >>> plan_map([1, 2], links, {"dsl"}, {1: "fiber", 2: "dsl"}, {1: "fiber", 2: "dsl"}).moves
    (Move(index=1, from_link='fiber', to_link='dsl'),)
    """
    alive = [link for link in links if link.name in up]
    names = {link.name for link in links}
    mapping: dict[int, str] = {}
    for index in subnets:
        candidates = (home.get(index), (advice or {}).get(index))
        if not alive:
            kept = current.get(index) or home.get(index)
            mapping[index] = kept if kept in names and kept is not None else _winner(index, links)
            continue
        chosen = next(
            (name for name in candidates if name is not None and name in names and name in up), None
        )
        mapping[index] = chosen or _winner(index, alive)
    moves = tuple(
        Move(index, current.get(index, ""), name)
        for index, name in mapping.items()
        if current.get(index) != name
    )
    return MapPlan(mapping, moves, is_stranded=not alive)


def plan_home(subnets: Sequence[int], links: Sequence[LinkWeight]) -> dict[int, str]:
    """Return a home map that uses every link: one subnet each, strongest link first, the rest by rendezvous.

    >>> plan_home([1, 2, 3], [LinkWeight("lte", 10), LinkWeight("fiber", 50), LinkWeight("dsl", 20)])
    {1: 'fiber', 2: 'dsl', 3: 'lte'}
    """
    strongest = sorted(links, key=lambda link: (-link.weight, link.name))
    ordered = sorted(subnets)
    home = {index: link.name for index, link in zip(ordered, strongest, strict=False)}
    home.update({index: _winner(index, links) for index in ordered[len(strongest) :]})
    return home


def _winner(index: int, links: Sequence[LinkWeight]) -> str:
    """Return the link with the highest score for this subnet: the same whatever the order of ``links``."""
    return max(links, key=lambda link: (_score(index, link), link.name)).name


def _score(index: int, link: LinkWeight) -> float:
    digest = hashlib.blake2s(f"{index}|{link.name}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest) + 0.5) / 2**64
    return -link.weight / math.log(uniform)
