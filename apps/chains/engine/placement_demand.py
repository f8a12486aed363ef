"""From chains to demands: what may be shared, and which parts of a chain run side by side.

Two network functions may share instances when type, settings and service time are the same. One whose packets all share
state is single: where its profile names the shared resource (a pool of ports), all chains that use the resource with
these settings share the one instance; where it does not (a rate limiter), every chain has its own.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from functools import lru_cache

from apps.chains.engine.chain import Chain, CostConstants, NfInstance, Server, ServiceTime
from apps.chains.engine.hybrid import Nf, Node, Plan, Series, leaves
from apps.chains.engine.placement import Demand, Kind, PlacedNf
from apps.chains.engine.placement_tail import fixed_us
from apps.chains.engine.planner import hybridize
from apps.chains.engine.profiles import ActionProfile, StateScope
from nfvportal.lib.errors import InvalidInputError


def kind_of(chain: Chain, nf: NfInstance, cores: float = 1.0) -> Kind:
    """Return what a network function may share an instance with.

    Args:
        cores: of a server, 0 to 1, that an instance of a busy type owns; on less than one it is slower.
    """
    is_single = nf.profile.state == StateScope.SHARED
    owner = "" if not is_single or nf.profile.shared_state else f"{chain.name}/{nf.name}"
    settings = [dict(nf.params), nf.service.mean_us, nf.service.scv, nf.service.is_waiting, cores]
    mark = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:6]
    owns = 0.0 if nf.service.is_waiting else cores
    return Kind(
        f"{nf.type}#{owner or mark}",
        nf.type,
        nf.service.mean_us / (owns or 1.0),
        nf.service.scv,
        owns,
        is_single,
        nf.profile.state == StateScope.FLOW,
    )


def structure_of(chain: Chain, constants: CostConstants) -> Node:
    """Return the hybrid chain that one large server would run, at a rate that makes its slowest half busy.

    Complexity: that of ``hybridize``; chains that differ in settings, rate and target alone are planned once.
    """
    nfs = tuple((nf.profile, nf.service, nf.is_state_advisory) for nf in chain.nfs)
    return _structure(nfs, chain.packet_bytes, chain.header_bytes, constants)


@lru_cache(maxsize=1024)
def _structure(
    nfs: tuple[tuple[ActionProfile, ServiceTime, bool], ...],
    packet_bytes: float,
    header_bytes: float,
    constants: CostConstants,
) -> Node:
    row = tuple(
        NfInstance(f"nf-{index}", "", profile, service, is_state_advisory=is_advisory)
        for index, (profile, service, is_advisory) in enumerate(nfs)
    )
    rate_pps = 0.5e6 / max(nf.service.mean_us for nf in row)
    chain = Chain("alone", row, rate_pps, packet_bytes, header_bytes)
    plan = hybridize(chain, [Server("any", 1e6, math.inf)], constants)
    return plan.root if isinstance(plan, Plan) else row_of(len(row))


def row_of(count: int) -> Node:
    """Return so many network functions one after the other."""
    parts = tuple(Nf(index, "any") for index in range(count))
    return parts[0] if count == 1 else Series(parts)


def demand_of(
    chain: Chain,
    constants: CostConstants,
    *,
    weight: float = 1.0,
    cores: float = 1.0,
    servers: Sequence[Server] = (),
    structure: Node | None = None,
) -> Demand:
    """Return a chain as placement takes it.

    Parts side by side stay on one server; where pins or the size of every server forbid that, the chain is placed in
    sequence.

    Args:
        weight: what a refusal costs.
        cores: see ``kind_of``.
        servers: those at hand, to see whether a part fits any.
        structure: a known ``structure_of``.

    Raises:
        InvalidInputError: ``cores`` out of range.
    """
    if not 0 < cores <= 1:
        raise InvalidInputError("instance_cores", "must be above 0 and at most 1")
    nfs = tuple(PlacedNf(nf.name, kind_of(chain, nf, cores), nf.pinned_server) for nf in chain.nfs)
    root = structure if structure is not None else structure_of(chain, constants)
    largest = max((server.cores for server in servers), default=math.inf)
    for part in root.parts if isinstance(root, Series) else (root,):
        indexes = [leaf.index for leaf in leaves(part)]
        pins = {nfs[index].pinned_server for index in indexes} - {""}
        owned = sum({nfs[index].kind.key: nfs[index].kind.cores for index in indexes}.values())
        if len(indexes) > 1 and (len(pins) > 1 or owned > largest):
            root = row_of(len(nfs))
            break
    return Demand(
        chain.name,
        nfs,
        root,
        chain.rate_pps,
        chain.packet_bytes,
        chain.slo_p99_us,
        weight,
        fixed_us(root, constants, chain.packet_bytes),
    )
