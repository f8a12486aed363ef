"""Plans: the best hybrid chain for a chain and the servers at hand."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Final

from apps.chains.engine.analysis import analyse
from apps.chains.engine.blocks import is_valid_root, obligations, parallel, series, with_copies
from apps.chains.engine.chain import Chain, CostConstants, NfInstance, Server
from apps.chains.engine.hybrid import Infeasible, Nf, Node, Plan, VerdictKind
from apps.chains.engine.latency import utilization_of
from apps.chains.engine.planning_cost import planning_cost
from apps.chains.engine.prediction import predict
from apps.chains.engine.series_parallel import SubsetGraphs, best_node

__all__ = [
    "full_parallel_root",
    "greedy_segments_root",
    "hybridize",
    "is_valid_root",
    "predict",
    "sequential_plan",
]

EXACT_NFS_MAX: Final = 12
_NO_USAGE: Final[Mapping[str, float]] = MappingProxyType({})


def cores_of(chain: Chain, nf: NfInstance) -> float:
    """Return the cores a network function keeps busy; none where it waits."""
    return 0.0 if nf.service.is_waiting else utilization_of(chain.rate_pps, nf.service.mean_us)


def refused_pairs(chain: Chain) -> list[tuple[int, int]]:
    """Return the pairs that may not run side by side."""
    pairs = analyse(chain)
    return [
        (i, j)
        for i, j in combinations(range(len(chain.nfs)), 2)
        if (verdict := pairs[i][j]) is not None and verdict.kind == VerdictKind.NO
    ]


def full_parallel_root(chain: Chain, server: str) -> Node:
    """Return the baseline that runs side by side whatever may: each network function as early as refusals let it.

    Layers by the longest path of refusals, every layer one block; no question asked whether that pays.
    """
    depth: list[int] = []
    refused = set(refused_pairs(chain))
    for j in range(len(chain.nfs)):
        depth.append(max((depth[i] + 1 for i in range(j) if (i, j) in refused), default=0))
    return _in_layers(chain, depth, server)


def _in_layers(chain: Chain, depth: Sequence[int], server: str) -> Node:
    """Return layers in order, where an order other than the chain's moves a network function to a later layer."""
    depth = list(depth)
    for j in range(len(depth)):
        depth[j] = max([depth[j], *(depth[i] for i in range(j))])
    layers: dict[int, list[Node]] = {}
    for index, layer in enumerate(depth):
        layers.setdefault(layer, []).append(Nf(index, server))
    return with_copies(chain, series(parallel(layers[layer], server) for layer in sorted(layers)))


def greedy_segments_root(chain: Chain, server: str) -> Node:
    """Return the baseline of contiguous segments: a network function joins the last block while all of it lets it."""
    refused = set(refused_pairs(chain))
    segments: list[list[int]] = []
    for j in range(len(chain.nfs)):
        if segments and not any((i, j) in refused for i in segments[-1]):
            segments[-1].append(j)
        else:
            segments.append([j])
    return with_copies(
        chain, series(parallel([Nf(i, server) for i in segment], server) for segment in segments)
    )


def _plan(
    chain: Chain,
    servers: Sequence[Server],
    constants: CostConstants,
    root: Node,
    sequential: Node,
) -> Plan:
    before = predict(chain, sequential, servers, constants)
    after = predict(chain, root, servers, constants)
    if after.mean_us > before.mean_us:
        root, after = sequential, before
    return Plan(
        chain=chain,
        servers=tuple(servers),
        constants=constants,
        root=root,
        prediction=after,
        sequential_root=sequential,
        sequential=before,
        obligations=obligations(chain, root),
        is_optimal=len(chain.nfs) <= EXACT_NFS_MAX,
    )


def hybridize(
    chain: Chain,
    servers: Sequence[Server],
    constants: CostConstants,
    *,
    usage: Mapping[str, float] = _NO_USAGE,
) -> Plan | Infeasible:
    """Return the best plan for a chain, or why there is none."""
    cores = sum(cores_of(chain, nf) for nf in chain.nfs)
    for nf in chain.nfs:
        rho = utilization_of(chain.rate_pps, nf.service.mean_us)
        if rho >= 1:
            return Infeasible(
                "capacity", f"{nf.name} would be busy {rho:.0%} of the time; it must be below 100 %"
            )
    pins = {nf.pinned_server for nf in chain.nfs if nf.pinned_server}
    for server in servers:
        if server.cores - usage.get(server.name, 0.0) >= cores and pins <= {server.name}:
            graphs = SubsetGraphs(planning_cost(chain, constants))
            sequential = series(Nf(index, server.name) for index in range(len(chain.nfs)))
            root = with_copies(chain, best_node(graphs, (1 << len(chain.nfs)) - 1, server.name))
            return _plan(chain, servers, constants, root, sequential)
    return Infeasible(
        "capacity", f"{chain.name} needs {cores:.2f} cores on one server, and no server has them free"
    )


def sequential_plan(
    chain: Chain,
    servers: Sequence[Server],
    constants: CostConstants,
    *,
    usage: Mapping[str, float] = _NO_USAGE,
) -> Plan | Infeasible:
    """Return the best plan without parallel blocks, or why there is none."""
    found = hybridize(chain, servers, constants, usage=usage)
    if isinstance(found, Infeasible):
        return found
    return _plan(chain, servers, constants, found.sequential_root, found.sequential_root)
