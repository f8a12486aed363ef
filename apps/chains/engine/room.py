"""What servers have left for one chain: cores and links, and which parts of the chain fit where."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.chains.engine.chain import Chain, NfInstance, Server
from apps.chains.engine.compile import CLASSIFIER, compile_plan
from apps.chains.engine.hybrid import Nf, Node, Parallel, Series
from apps.chains.engine.latency import utilization_of
from apps.chains.engine.packing import Item, Packing, pack
from apps.chains.engine.prediction import frames_of


def cores_of(chain: Chain, nf: NfInstance) -> float:
    """Return the cores a network function keeps busy; none where it waits."""
    return 0.0 if nf.service.is_waiting else utilization_of(chain.rate_pps, nf.service.mean_us)


@dataclass(frozen=True, slots=True)
class Room:
    """Servers as one chain finds them.

    Args:
        chain: what asks.
        free_cores: per server whose link can carry the chain at all, fullest first, so that chains share servers.
        link_bps: per server.
    """

    chain: Chain
    free_cores: dict[str, float]
    link_bps: dict[str, float]

    def item(self, mask: int) -> Item | None:
        """Return what a region needs of a server; ``None`` where it is pinned to several."""
        nfs = [nf for index, nf in enumerate(self.chain.nfs) if mask >> index & 1]
        pins = {nf.pinned_server for nf in nfs} - {""}
        if len(pins) > 1:
            return None
        return Item(sum(cores_of(self.chain, nf) for nf in nfs), pins.pop() if pins else "")

    def fits(self) -> NDArray[np.bool_]:
        """Return, per subset of the chain, whether one server can take it. Complexity: O(2^n) in arrays."""
        nfs, size = self.chain.nfs, 1 << len(self.chain.nfs)
        cores = np.zeros(size)
        foreign = {server: np.zeros(size, dtype=bool) for server in self.free_cores}
        for index, nf in enumerate(nfs):
            low, high = slice(0, 1 << index), slice(1 << index, 2 << index)
            cores[high] = cores[low] + cores_of(self.chain, nf)
            for server, is_foreign in foreign.items():
                is_foreign[high] = is_foreign[low] | (nf.pinned_server not in ("", server))
        found = np.zeros(size, dtype=bool)
        for server, is_foreign in foreign.items():
            found |= ~is_foreign & (cores <= self.free_cores[server] + 1e-9)
        return found

    def pack(
        self,
        regions: Sequence[int],
        apart: set[tuple[int, int]],
        root_of: Callable[[tuple[str, ...]], Node] | None = None,
    ) -> Packing:
        """Return servers for regions; ``root_of`` gives the graph they make, so that links can be checked."""
        items = [self.item(mask) for mask in regions]
        assert all(item is not None for item in items)
        return pack(
            [item for item in items if item is not None],
            self.free_cores,
            apart,
            (lambda servers: self.has_links(root_of(servers))) if root_of else (lambda servers: True),
            self.link_bps,
        )

    def has_links(self, root: Node) -> bool:
        """Whether every server's link can carry what a plan sends over it, each direction."""
        return not self.overfull_links(root)

    def overfull_links(self, root: Node) -> dict[str, float]:
        """Return, per server whose link is too slow for a plan, what it would have to carry, bit/s."""
        loads: dict[tuple[str, bool], float] = {}
        for source, target, size in frames_of(self.chain, compile_plan(self.chain, root)):
            for key in ((source, True), (target, False)):
                loads[key] = loads.get(key, 0.0) + size * 8 * self.chain.rate_pps
        return {
            server: load
            for (server, _), load in sorted(loads.items())
            if server != CLASSIFIER and load > self.link_bps.get(server, math.inf)
        }


def room_of(chain: Chain, servers: Sequence[Server], usage: Mapping[str, float]) -> Room:
    """Return what is left. Servers whose link cannot carry the chain once are left out."""
    needed_bps = chain.rate_pps * chain.packet_bytes * 8
    left = [
        (max(0.0, server.cores - usage.get(server.name, 0.0)), number, server)
        for number, server in enumerate(servers)
        if server.link_bps >= needed_bps
    ]
    left.sort(key=lambda entry: entry[:2])
    return Room(
        chain,
        {server.name: free for free, _, server in left},
        {server.name: server.link_bps for _, _, server in left},
    )


def renamed(node: Node, servers: Sequence[str]) -> Node:
    """Return a graph whose slots ``#0``, ``#1`` ... have become servers."""

    def name(slot: str) -> str:
        return servers[int(slot[1:])] if slot.startswith("#") else slot

    if isinstance(node, Nf):
        return Nf(node.index, name(node.server))
    if isinstance(node, Series):
        return Series(tuple(renamed(part, servers) for part in node.parts))
    return Parallel(
        tuple(renamed(branch, servers) for branch in node.branches), node.copies, name(node.server)
    )
