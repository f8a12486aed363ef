"""Calibration: what plumbing and network functions really cost, taken from live counters.

Agents tell the median of each operator's latency over a second. The median of the last seconds' medians is not moved by
a pause of the machine. What was not measured keeps the value of the plan that is live.

Of a service time the profile's variation is kept, and the mean follows from the measured median: equal for constant
times, median / ln 2 for exponential ones, in between in proportion.

What an agent measures includes the queue before the function. Where packets queue, the median says more of the load
than of the function; but a function that finished so many packets per second took at most so long for each
(utilization law), so the mean is never taken as more. Functions that wait hold several packets: no such bound.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from apps.chains.engine.chain import Chain as EngineChain
from apps.chains.engine.chain import CostConstants, Server, ServiceTime
from apps.chains.engine.compile import compile_plan
from apps.chains.engine.operators import Operator, OperatorKind
from apps.chains.engine.planner import predict
from apps.chains.mapping import planned_chain, planned_root
from apps.chains.models import Deployment, HopLatest, LatencySample
from apps.chains.plan_json import constants_from_json

RECENT_KEPT: Final = 15
SAMPLES_MIN: Final = 5
_LEAST_US: Final = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """What the live counters of a deployment say; ``None`` where too little was measured.

    Args:
        rate_pps: packets per second into the chain.
        services_us: per network function, its mean service time.
        operators_us: operator id -> median of its latency.
        latency_us_p50, latency_us_p99: through the whole chain.
    """

    rate_pps: float | None
    services_us: tuple[float | None, ...]
    operators_us: dict[int, float]
    latency_us_p50: float | None
    latency_us_p99: float | None


def active_deployment(name: str) -> Deployment | None:
    """Return the deployment that packets of a chain take."""
    rows = Deployment.objects.filter(chain__name=name, is_active=True, status="live")
    return rows.select_related("chain", "plan").first()


def measured_of(row: Deployment) -> Measured:
    """Return what the last seconds say of a deployment. Two queries."""
    chain = planned_chain(row.plan)
    table = compile_plan(chain, planned_root(row.plan))
    hops = list(HopLatest.objects.filter(chain=row.chain_id, epoch=row.epoch))
    samples = list(
        LatencySample.objects.filter(chain=row.chain_id, epoch=row.epoch).order_by("-at")[:RECENT_KEPT]
    )
    functions = {operator.id for operator in table.operators if operator.kind == OperatorKind.NF}
    most_us = _longest_services_us([hop for hop in hops if hop.operator in functions], samples)
    operators_us = {hop.operator: median(hop.recent) for hop in hops if len(hop.recent) >= SAMPLES_MIN}
    services: list[float | None] = [None] * len(chain.nfs)
    for operator in table.operators:
        if operator.kind == OperatorKind.NF and operator.id in operators_us:
            assert operator.nf_index is not None
            service = chain.nfs[operator.nf_index].service
            mean_us = mean_of(operators_us[operator.id], service)
            bound_us = math.inf if service.is_waiting else most_us.get(operator.id, math.inf)
            services[operator.nf_index] = min(mean_us, bound_us)
    return Measured(
        _median([sample.rate_pps for sample in samples]),
        tuple(services),
        operators_us,
        _median([sample.latency_us_p50 for sample in samples]),
        _median([sample.latency_us_p99 for sample in samples]),
    )


def _longest_services_us(hops: Sequence[HopLatest], samples: Sequence[LatencySample]) -> dict[int, float]:
    """Return, per network function, the longest mean service time that what it finished per second allows.

    Args:
        hops: those of network functions; samples: newest first.
    """
    if len(samples) < SAMPLES_MIN:
        return {}
    newest, oldest = samples[0], samples[-1]
    finished = _finished(newest.counters, "dropped") - _finished(oldest.counters, "dropped")
    elapsed_s = (newest.at - oldest.at).total_seconds()
    counts = {hop.operator: _finished(hop.counters, "drop") for hop in hops}
    most = max(counts.values(), default=0)
    if finished <= 0 or elapsed_s <= 0:
        return {}
    # Behind a function that drops there are fewer packets than in the whole chain.
    return {
        operator: 1e6 * elapsed_s / finished * most / count for operator, count in counts.items() if count > 0
    }


def _finished(counters: Mapping[str, int | None], dropped: str) -> int:
    return (counters.get("out") or 0) + (counters.get(dropped) or 0)


def mean_of(median_us: float, service: ServiceTime) -> float:
    """Return the mean of a service time from its median.

    >>> mean_of(10.0, ServiceTime(1.0, scv=0.0)), round(mean_of(10.0, ServiceTime(1.0, scv=1.0)), 3)
    (10.0, 14.427)
    """
    return max(_LEAST_US, median_us / (1 - (1 - math.log(2)) * min(service.scv, 1.0)))


def services_now(planned: EngineChain, stated: Collection[str] = ()) -> EngineChain:
    """Return a chain with the measured service times of its deployment in place of the catalogue's.

    Args:
        stated: network functions whose time the operator stated; these keep it.
    """
    row = active_deployment(planned.name)
    if row is None:
        return planned
    measured = measured_of(row)
    known = {
        nf.name: (nf.type, mean_us)
        for nf, mean_us in zip(planned_chain(row.plan).nfs, measured.services_us, strict=True)
        if mean_us is not None and nf.name not in stated
    }
    nfs = tuple(
        replace(nf, service=replace(nf.service, mean_us=known[nf.name][1]))
        if nf.name in known and known[nf.name][0] == nf.type
        else nf
        for nf in planned.nfs
    )
    return replace(planned, nfs=nfs)


def chain_as_measured(row: Deployment, measured: Measured) -> EngineChain:
    """Return a deployed chain with its measured rate and service times."""
    chain = planned_chain(row.plan)
    nfs = tuple(
        nf if mean_us is None else replace(nf, service=replace(nf.service, mean_us=mean_us))
        for nf, mean_us in zip(chain.nfs, measured.services_us, strict=True)
    )
    return replace(chain, nfs=nfs, rate_pps=measured.rate_pps or chain.rate_pps)


def constants_now(name: str) -> CostConstants:
    """Return what plumbing costs: measured on the chain's own deployment, else on any, else the engine's values."""
    row = active_deployment(name)
    if row is None:
        others = Deployment.objects.filter(is_active=True, status="live").select_related("chain", "plan")
        row = others.order_by("-live_at").first()
    if row is None:
        return CostConstants()
    return calibrate(row, measured_of(row))


def calibrate(row: Deployment, measured: Measured) -> CostConstants:
    """Return a deployment's constants with what was measured in their place.

    A mirror's and a merge's fixed part is what is left of the median after the parts per branch; the hop is what is
    left of the whole chain's median after everything else, shared by all hops on the wire. How far the 99th
    percentile is from the median, beyond what queues explain, is the tail: the median alone would promise too much.
    """
    chain, root = planned_chain(row.plan), planned_root(row.plan)
    constants = constants_from_json(row.plan.content["constants"])
    table = compile_plan(chain, root)
    mirror_us = _fixed(table.operators, OperatorKind.MIRROR, measured, constants)
    merge_us = _fixed(table.operators, OperatorKind.MERGE, measured, constants)
    constants = replace(
        constants,
        mirror_us=constants.mirror_us if mirror_us is None else mirror_us,
        merge_us=constants.merge_us if merge_us is None else merge_us,
    )
    if measured.latency_us_p50 is None or None in measured.services_us:
        return constants
    servers = tuple(Server(**server) for server in row.plan.content["candidates"])
    real = chain_as_measured(row, measured)
    predicted = predict(real, root, servers, replace(constants, tail_us=0.0))
    if not math.isfinite(predicted.p50_us):
        return constants
    left_us = (measured.latency_us_p50 - predicted.p50_us) / (predicted.servers_crossed + 1)
    constants = replace(constants, hop_us=max(_LEAST_US, constants.hop_us + left_us))
    if measured.latency_us_p99 is None:
        return constants
    spread_us = measured.latency_us_p99 - measured.latency_us_p50
    return replace(constants, tail_us=max(0.0, spread_us - (predicted.p99_us - predicted.p50_us)))


def _fixed(
    operators: tuple[Operator, ...], kind: OperatorKind, measured: Measured, constants: CostConstants
) -> float | None:
    """Return the fixed part of a mirror or merge, the median over all of them; ``None`` when none was measured."""
    left = []
    for operator in operators:
        if operator.kind != kind or operator.id not in measured.operators_us:
            continue
        if kind == OperatorKind.MERGE:
            assert operator.merge is not None
            parts_us = constants.merge_branch_us * operator.merge.branch_count
        else:
            parts_us = constants.mirror_branch_us * len(operator.next)
        left.append(max(_LEAST_US, measured.operators_us[operator.id] - parts_us))
    return median(left) if left else None


def comparison_of(row: Deployment) -> dict[str, Any]:
    """Return prediction beside measurement: whole chain, and each network function."""
    chain, content = planned_chain(row.plan), row.plan.content
    measured = measured_of(row)
    return {
        "rate_pps": {"planned": chain.rate_pps, "measured": measured.rate_pps},
        "p50_us": {"predicted": content["prediction"]["p50_us"], "measured": measured.latency_us_p50},
        "p99_us": {"predicted": content["prediction"]["p99_us"], "measured": measured.latency_us_p99},
        "sequential_p50_us": content["sequential"]["p50_us"],
        "services": [
            {"name": nf.name, "planned_us": nf.service.mean_us, "measured_us": mean_us}
            for nf, mean_us in zip(chain.nfs, measured.services_us, strict=True)
        ],
    }


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) >= SAMPLES_MIN else None
