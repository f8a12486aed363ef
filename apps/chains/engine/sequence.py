"""The best sequential plan: the chain in its order, with as few changes of server as can be."""

from collections.abc import Iterator
from itertools import combinations, islice, pairwise
from typing import Final

from apps.chains.engine.blocks import series
from apps.chains.engine.hybrid import Nf, Node
from apps.chains.engine.room import Room

# Cuts tried; 12 network functions have 2048.
CUTS_MAX: Final = 4096


def sequential_root(room: Room) -> Node | None:
    """Return the chain on servers in its order, fewest hops first; ``None`` where it cannot be packed.

    All hops cost the same, so only their number counts. Runs of neighbours are packed like regions.

    Complexity: O(2^n) packings up to 12 network functions; beyond, what ``CUTS_MAX`` allows, then any packing.
    """
    length = len(room.chain.nfs)
    most = max(room.free_cores.values(), default=0.0)
    for cut in islice(_cuts(length), CUTS_MAX):
        bounds = [0, *cut, length]
        runs = [(1 << stop) - (1 << start) for start, stop in pairwise(bounds)]
        items = [room.item(run) for run in runs]
        if any(item is None or item.cores > most + 1e-9 for item in items):
            continue
        packing = room.pack(runs, set(), lambda servers, bounds=bounds: _root(bounds, servers))  # type: ignore[misc]
        if packing.servers is not None:
            return _root(bounds, packing.servers)
    packing = room.pack([1 << index for index in range(length)], set())
    if packing.servers is None:
        return None
    root = _root(list(range(length + 1)), packing.servers)
    return root if room.has_links(root) else None


def _cuts(length: int) -> Iterator[tuple[int, ...]]:
    for number in range(length):
        yield from combinations(range(1, length), number)


def _root(bounds: list[int], servers: tuple[str, ...]) -> Node:
    return series(
        Nf(index, server)
        for (start, stop), server in zip(pairwise(bounds), servers, strict=True)
        for index in range(start, stop)
    )
