"""Plans: what the planner makes of a chain and the servers at hand."""

import uuid
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from apps.chains.chain_definition import Definition, ServerJson
from apps.chains.engine.analysis import analyse
from apps.chains.engine.chain import Chain as EngineChain
from apps.chains.engine.chain import CostConstants, Server
from apps.chains.engine.hybrid import Plan as EnginePlan
from apps.chains.engine.hybrid import leaves
from apps.chains.engine.planner import hybridize
from apps.chains.mapping import definition_of, engine_chain, planned_chain, planned_root, server_of
from apps.chains.models import Chain, Deployment, Plan
from apps.chains.plan_json import answer_to_json, chain_to_json, pairs_to_json, servers_from_json
from apps.chains.services.analysis import types_of
from apps.chains.services.announcements import announce_plan
from apps.chains.services.calibration import (
    Measured,
    chain_as_measured,
    constants_now,
    services_now,
)
from apps.chains.services.chains import Actor, name_of
from nfvportal.events.services import event_publish
from nfvportal.inventory.models import Device, DeviceStatus, Link
from nfvportal.lib.errors import InvalidInputError

SERVER_ROLE = "chains.server"
# An answer while the browser waits; longer chains are planned by a job.
WHAT_IF_NFS_MAX = 12


def plan_what_if(*, definition: Definition, servers: list[ServerJson] | None = None) -> dict[str, Any]:
    """Return the planner's answer for a chain that need not be stored.

    Args:
        servers: to plan on; those at hand by default.

    Raises:
        InvalidInputError: a type is not in the catalogue, or the chain is too long to answer at once.
    """
    if len(definition["nfs"]) > WHAT_IF_NFS_MAX:
        words = (
            f"must be at most {WHAT_IF_NFS_MAX} network functions here; save the chain and plan it as a job"
        )
        raise InvalidInputError("nfs", words)
    chain = engine_chain(definition, types_of(definition))
    at_hand = servers_from_json(servers) if servers is not None else servers_at_hand()
    content, _ = _answer(chain, at_hand, constants_now(chain.name), usage_of_others(chain.name))
    return content


def plan_make(
    *, chain: Chain, actor: Actor = None, reason: str = "", job_id: uuid.UUID | None = None
) -> Plan:
    """Plan a chain's newest version over the servers at hand and store the answer.

    A network function takes as long as the operator stated, else as was measured where it runs, else as its type.

    Args:
        job_id: a job that runs twice gets the plan of its first run.

    Raises:
        InvalidInputError: a type is not in the catalogue any more.
    """
    if job_id is not None and (known := Plan.objects.filter(job_id=job_id).select_related("chain").first()):
        return known
    row = Chain.objects.get(pk=chain.pk)
    definition = definition_of(row)
    stated = [nf["name"] for nf in definition["nfs"] if "service" in nf]
    planned = services_now(engine_chain(definition, types_of(definition)), stated)
    match = dict(definition["match"])
    return _plan_store(row, row.version, planned, match, reason=reason, actor=actor, job_id=job_id)


def plan_anew(*, row: Deployment, measured: Measured, reason: str) -> Plan:
    """Plan a deployed version again, with its measured rate and service times."""
    match = dict(row.plan.content.get("match", {}))
    planned = chain_as_measured(row, measured)
    return _plan_store(row.chain, row.plan.chain_version, planned, match, reason=reason)


def _plan_store(
    chain: Chain,
    version: int,
    planned: EngineChain,
    match: dict[str, Any],
    *,
    reason: str,
    actor: Actor = None,
    job_id: uuid.UUID | None = None,
) -> Plan:
    constants, usage = constants_now(chain.name), usage_of_others(chain.name)
    content, is_feasible = _answer(planned, servers_at_hand(), constants, usage)
    with transaction.atomic():
        plan, is_new = Plan.objects.get_or_create(
            job_id=job_id or uuid.uuid4(),
            defaults={
                "chain": chain,
                "chain_version": version,
                "is_feasible": is_feasible,
                "content": {**content, "match": match},
                "inputs": chain_to_json(planned),
                "reason": reason[:300],
                "created_by": name_of(actor),
            },
        )
        if is_new:
            plan.refresh_from_db(fields=["created_at"])
            _log(plan)
            announce_plan(plan)
    return plan


def servers_at_hand() -> tuple[Server, ...]:
    """Return the servers that a plan may use: those with the role whose agents did not fall silent."""
    devices = list(
        Device.objects.filter(roles__contains=[SERVER_ROLE])
        .exclude(status=DeviceStatus.OFFLINE)
        .order_by("name")
    )
    links: dict[int, list[Link]] = {device.pk: [] for device in devices}
    ends = Link.objects.filter(Q(a__device__in=devices) | Q(b__device__in=devices)).select_related("a", "b")
    for link in ends:
        for device_id in (link.a.device_id, link.b.device_id):
            if device_id in links:
                links[device_id].append(link)
    return tuple(server_of(device, links[device.pk]) for device in devices)


def usage_of_others(name: str) -> dict[str, float]:
    """Return server -> processor cores that the other chains' deployments take there, by their plans."""
    return cores_used(Deployment.objects.filter(is_active=True).exclude(chain__name=name))


def cores_used(active: QuerySet[Deployment]) -> dict[str, float]:
    """Return server -> processor cores that deployments take there, by their plans. One query."""
    return _usage(row.plan for row in active.select_related("plan"))


def _usage(plans: Iterable[Plan]) -> dict[str, float]:
    cores: dict[str, float] = {}
    for plan in plans:
        chain = planned_chain(plan)
        for leaf in leaves(planned_root(plan)):
            service = chain.nfs[leaf.index].service
            if not service.is_waiting:
                load = chain.rate_pps * service.mean_us / 1e6
                cores[leaf.server] = cores.get(leaf.server, 0.0) + load
    return cores


def _answer(
    chain: EngineChain, servers: tuple[Server, ...], constants: CostConstants, usage: dict[str, float]
) -> tuple[dict[str, Any], bool]:
    """Return the planner's answer as JSON, and whether it is a plan."""
    matrix = analyse(chain)
    if not servers:
        content = {
            "kind": "infeasible",
            "chain": chain.name,
            "reason": "capacity",
            "witness": f"no server is at hand: no device with the role {SERVER_ROLE} is there",
            "best": None,
            "pairs": pairs_to_json(chain, matrix),
        }
        return content, False
    answer = hybridize(chain, servers, constants, usage=usage)
    return answer_to_json(answer, chain, matrix), isinstance(answer, EnginePlan)


def _log(plan: Plan) -> None:
    words = plan.content.get("witness", "")
    event_publish(
        type="chains.plan_ready" if plan.is_feasible else "chains.plan_refused",
        at_s=plan.created_at.timestamp(),
        severity="info" if plan.is_feasible else "warning",
        subject=plan.chain.name,
        data={"plan": plan.pk, "chain_version": plan.chain_version, "reason": plan.reason, "witness": words},
    )
