"""Reads of ``chains``: rows to the shapes of ``apps/chains/events.py``."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, cast

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Prefetch, QuerySet
from django.http import Http404
from django.utils import timezone

from apps.chains.events import (
    AlarmData,
    ChainData,
    ChainRate,
    ChainRow,
    ChainSnapshot,
    ChainsSnapshot,
    ChainStatusName,
    DeploymentData,
    HopData,
    LatencyData,
    LatencyPoint,
    NfTypeData,
    SloStateName,
    SteeringData,
)
from apps.chains.mapping import definition_of
from apps.chains.models import (
    OPEN_STATUSES,
    AlarmKind,
    Chain,
    ChainAlarm,
    ChainPlacement,
    ChainRevision,
    Deployment,
    HopLatest,
    LatencySample,
    NfType,
    Plan,
)
from nfvportal.events.models import Event

ALARMS_SHOWN = 20
HISTORY_WINDOW = timedelta(minutes=5)
# A measurement older than this says nothing about now.
FRESH = timedelta(seconds=5)


def nf_type_list() -> QuerySet[NfType]:
    """Return the catalogue."""
    return NfType.objects.all()


def nf_type_data(row: NfType) -> NfTypeData:
    """Return a type of network function as plain data."""
    return {
        "slug": row.slug,
        "title": row.title,
        "description": row.description,
        "profile": row.profile,
        "service": row.service,
        "provenance": row.provenance,
        "implementation": row.implementation,
        "is_builtin": row.is_builtin,
        "can_run": bool(row.implementation),
        "version": row.version,
        "updated_at": row.updated_at.isoformat(),
        "updated_by": row.updated_by,
    }


def chain_list() -> QuerySet[Chain]:
    """Return chains with the deployment that counts for each, as ``row.shown``."""
    newest = Deployment.objects.order_by("chain_id", "-is_active", "-id").distinct("chain_id")
    return Chain.objects.prefetch_related(
        Prefetch("deployments", newest.select_related("plan"), to_attr="shown")
    )


def chain_get(name: str) -> Chain:
    """Return a chain by its name.

    Raises:
        Http404: there is none.
    """
    row = chain_list().filter(name=name).first()
    if row is None:
        raise Http404(f"no chain {name}")
    return row


def deployment_shown(row: Chain) -> Deployment | None:
    """Return the deployment that counts: the one that packets take, else the newest."""
    if not hasattr(row, "shown"):
        return deployment_list().filter(chain=row).order_by("-is_active", "-id").first()
    shown = cast("list[Deployment]", row.shown)
    return shown[0] if shown else None


def chain_data(row: Chain) -> ChainData:
    """Return a chain as plain data."""
    definition = definition_of(row)
    deployment = deployment_shown(row)
    return {
        **definition,
        "title": row.title,
        "version": row.version,
        "updated_at": row.updated_at.isoformat(),
        "updated_by": row.updated_by,
        "deployment": deployment_data(deployment, row) if deployment else None,
    }


def deployment_list(*, chain: str = "") -> QuerySet[Deployment]:
    """Return deployments, newest first, optionally of one chain."""
    rows = Deployment.objects.select_related("chain", "plan")
    return rows.filter(chain__name=chain) if chain else rows


def deployment_data(row: Deployment, chain: Chain | None = None) -> DeploymentData:
    """Return a deployment as plain data."""
    chain = chain or row.chain
    return {
        "id": row.pk,
        "chain": chain.name,
        "plan": row.plan_id,
        "chain_version": row.plan.chain_version,
        "path": chain.path,
        "epoch": row.epoch,
        "status": row.status,
        "is_active": row.is_active,
        "servers": row.servers,
        "devices": row.devices,
        "told": row.told,
        "previous": row.previous_id,
        "error": row.error,
        "reason": row.reason,
        "created_at": row.created_at.isoformat(),
        "created_by": row.created_by,
        "live_at": row.live_at.isoformat() if row.live_at else None,
        "ended_at": row.ended_at.isoformat() if row.ended_at else None,
    }


def revision_list(chain: Chain) -> QuerySet[ChainRevision]:
    """Return a chain's versions, newest first."""
    return ChainRevision.objects.filter(chain=chain)


def plan_list(*, chain: str = "") -> QuerySet[Plan]:
    """Return plans, newest first, optionally of one chain."""
    rows = Plan.objects.select_related("chain")
    return rows.filter(chain__name=chain) if chain else rows


def plan_data(row: Plan) -> dict[str, Any]:
    """Return a plan, or why there is none, as plain data."""
    return {
        **row.content,
        "id": row.pk,
        "chain": row.chain.name,
        "chain_version": row.chain_version,
        "note": row.reason,
        "created_at": row.created_at.isoformat(),
        "created_by": row.created_by,
    }


def placement_list() -> QuerySet[ChainPlacement]:
    """Return placements, newest first."""
    return ChainPlacement.objects.all()


def placement_summary(row: ChainPlacement) -> dict[str, Any]:
    """Return a placement without who is where, for lists and for the live stream."""
    content = row.content
    return {
        "id": row.pk,
        "kind": content["kind"],
        "method": content.get("method", ""),
        "is_optimal": content.get("is_optimal", False),
        "admitted": row.admitted_count,
        "refused": row.refused_count,
        "terms": content.get("terms"),
        "bounds": content.get("bounds"),
        "gaps": content.get("gaps"),
        "moved_buckets": row.moved_buckets,
        "kept_buckets": content.get("kept_buckets", 0),
        "witness": content.get("witness", ""),
        "previous": row.previous_id,
        "took_s": row.took_s,
        "created_at": row.created_at.isoformat(),
        "created_by": row.created_by,
    }


def placement_data(row: ChainPlacement) -> dict[str, Any]:
    """Return a placement with who is where, and how that differs from the one before."""
    return {
        **row.content,
        **placement_summary(row),
        "refused": row.content.get("refused", []),
        "asked": row.asked,
    }


def plan_summary(row: Plan) -> dict[str, Any]:
    """Return a plan without graph and pairs, for lists."""
    content = row.content
    return {
        "id": row.pk,
        "kind": content["kind"],
        "chain": row.chain.name,
        "chain_version": row.chain_version,
        "note": row.reason,
        "created_at": row.created_at.isoformat(),
        "created_by": row.created_by,
        "p99_us": content["prediction"]["p99_us"] if row.is_feasible else None,
        "sequential_p99_us": content["sequential"]["p99_us"] if row.is_feasible else None,
        "witness": content.get("witness", ""),
    }


def hop_list(chain: Chain, epoch: int) -> list[HopData]:
    """Return the newest counters of a deployment's operators."""
    rows = HopLatest.objects.filter(chain=chain, epoch=epoch).order_by("operator")
    return [hop_data(row) for row in rows]


def hop_data(row: HopLatest) -> HopData:
    """Return one operator's counters as plain data."""
    return {
        "operator": row.operator,
        "epoch": row.epoch,
        "device": row.device_name,
        "at_s": row.at.timestamp(),
        **row.counters,
    }


def latency_point(row: LatencySample) -> LatencyPoint:
    """Return one second of a chain as plain data."""
    return {
        "at_s": row.at.timestamp(),
        "epoch": row.epoch,
        "rate_pps": row.rate_pps,
        "latency_us_p50": row.latency_us_p50,
        "latency_us_p95": row.latency_us_p95,
        "latency_us_p99": row.latency_us_p99,
        "bins": row.bins,
        "counters": row.counters,
    }


def latency_data(chain: Chain, window: timedelta = HISTORY_WINDOW) -> LatencyData:
    """Return the newest second with its histogram, and the last minutes."""
    rows = list(
        LatencySample.objects.filter(chain=chain, at__gte=timezone.now() - window).order_by("-at")[:1000]
    )
    names = ("at_s", "rate_pps", "latency_us_p50", "latency_us_p95", "latency_us_p99")
    points = [latency_point(row) for row in rows]
    return {
        "newest": points[0] if points else None,
        "history": [{name: point[name] for name in names} for point in reversed(points)],
    }


def alarm_list(*, chain: Chain | None = None) -> QuerySet[ChainAlarm]:
    """Return alarms, newest first, optionally of one chain."""
    rows = ChainAlarm.objects.select_related("chain")
    return rows.filter(chain=chain) if chain else rows


def alarm_data(row: ChainAlarm) -> AlarmData:
    """Return an alarm as plain data."""
    return {
        "id": row.pk,
        "chain": row.chain.name,
        "kind": row.kind,
        "key": row.key,
        "message": row.message,
        "data": row.data,
        "raised_at_s": row.raised_at.timestamp(),
        "cleared_at_s": row.cleared_at.timestamp() if row.cleared_at else None,
    }


def chain_rows(chains: Iterable[Chain]) -> list[ChainRow]:
    """Return chains as the list shows them. Three queries more, whatever the number of chains."""
    rows = list(chains)
    keys = [row.pk for row in rows]
    fresh = LatencySample.objects.filter(chain__in=keys, at__gte=timezone.now() - FRESH)
    newest = {row.chain_id: row for row in fresh.order_by("chain_id", "-at").distinct("chain_id")}
    planned = set(Plan.objects.filter(chain__in=keys).values_list("chain_id", flat=True).distinct())
    open_alarms: dict[int, list[str]] = {}
    for chain_id, kind in ChainAlarm.objects.filter(chain__in=keys, cleared_at=None).values_list(
        "chain_id", "kind"
    ):
        open_alarms.setdefault(chain_id, []).append(kind)
    return [
        _chain_row(row, newest.get(row.pk), row.pk in planned, open_alarms.get(row.pk, [])) for row in rows
    ]


def chain_row(row: Chain) -> ChainRow:
    """Return one chain as the list shows it."""
    return chain_rows([row])[0]


def chain_rate(sample: LatencySample | None) -> ChainRate:
    """Return what a chain does now."""
    return {
        "at_s": sample.at.timestamp() if sample else None,
        "measured_pps": sample.rate_pps if sample else None,
        "latency_us_p50": sample.latency_us_p50 if sample else None,
        "latency_us_p99": sample.latency_us_p99 if sample else None,
    }


def _chain_row(row: Chain, sample: LatencySample | None, is_planned: bool, alarms: list[str]) -> ChainRow:
    definition = definition_of(row)
    deployment = deployment_shown(row)
    status: str = "planned" if is_planned else "draft"
    if deployment is not None and (deployment.is_active or deployment.status in (*OPEN_STATUSES, "failed")):
        status = deployment.status
    elif deployment is not None and deployment.status == "removed":
        status = "removed"
    return {
        **chain_rate(sample),
        "name": row.name,
        "title": row.title,
        "nf_types": [nf["type"] for nf in definition["nfs"]],
        "rate_pps": definition["rate_pps"],
        "slo_p99_ms": definition["slo_p99_ms"],
        "replan": definition["replan"],
        "status": cast(ChainStatusName, status),
        "slo_state": _slo_state(definition["slo_p99_ms"], sample, alarms),
        "alarm_count": len(alarms),
        "version": row.version,
        "updated_at": row.updated_at.isoformat(),
        "updated_by": row.updated_by,
    }


def _slo_state(slo_p99_ms: float | None, sample: LatencySample | None, alarms: list[str]) -> SloStateName:
    if slo_p99_ms is None:
        return "none"
    if AlarmKind.SLO in alarms:
        return "missed"
    return "met" if sample is not None else "unknown"


def steering_list() -> list[SteeringData]:
    """Return what copies frames on each device of the data plane, as it last told. One query."""
    kinds = [f"chains.{kind}.state" for kind in ("switch", "classifier", "server")]
    rows = Event.objects.filter(type__in=kinds).order_by("device_name", "type", "-id")
    newest = rows.distinct("device_name", "type").values_list("device_name", "type", "data", "at")
    return [
        {
            "device": device,
            "role": type_.removesuffix(".state"),
            "primitive": str(data.get("driver") or data.get("mirror") or ""),
            "probed": {str(name): str(answer) for name, answer in (data.get("probed") or {}).items()},
            "group_count": len(data.get("groups") or {}),
            "at_s": at.timestamp(),
        }
        for device, type_, data, at in newest
    ]


def live_plan(chain: Chain) -> dict[str, Any] | None:
    """Return the plan that packets take now."""
    active = deployment_list().filter(chain=chain, is_active=True).select_related("plan__chain").first()
    return plan_data(active.plan) if active else None


def chains_snapshot(user: AbstractBaseUser | AnonymousUser, topic: str) -> dict[str, Any]:
    """Return what the topic ``chains`` starts with. Five queries."""
    del user, topic  # every viewer sees all chains
    snapshot: ChainsSnapshot = {"chains": chain_rows(chain_list())}
    return dict(snapshot)


def chain_snapshot(user: AbstractBaseUser | AnonymousUser, topic: str) -> dict[str, Any]:
    """Return what the topic ``chain:<name>`` starts with. Eight queries."""
    del user  # every viewer sees all chains
    row = chain_get(topic.partition(":")[2])
    deployment = deployment_shown(row)
    newest = plan_list(chain=row.name).first()
    snapshot: ChainSnapshot = {
        "chain": chain_data(row),
        "plan": plan_data(newest) if newest else None,
        "live_plan": live_plan(row),
        "deployment": deployment_data(deployment, row) if deployment else None,
        "hops": hop_list(row, deployment.epoch) if deployment else [],
        "latency": latency_data(row),
        "alarms": [alarm_data(alarm) for alarm in alarm_list(chain=row)[:ALARMS_SHOWN]],
    }
    return dict(snapshot)
