"""Deployments: make before break, in steps that any worker may repeat.

    pending -> applying: servers and classifier hold the new epoch beside the old one (``is_installed``)
    applying, active:    the classifier sends packets by the new epoch (``is_active``)
    live:                the classifier said that nothing of the old epoch is under way; the old one is taken away
    failed:              a device refused or was silent; the old epoch carries on

Each step commits rows and desired states together. What a device says comes as applied revisions and events, which
``services/apply_job.py`` waits for.
"""

import uuid
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from apps.chains.chain_definition import settings_check
from apps.chains.engine.compile import compile_plan
from apps.chains.engine.shim import EPOCH_MAX
from apps.chains.mapping import planned_chain, planned_root
from apps.chains.models import OPEN_STATUSES, Chain, Deployment, DeploymentStatus, HopLatest, NfType, Plan
from apps.chains.services.alarms import alarms_end
from apps.chains.services.announcements import announce_deployment
from apps.chains.services.chains import Actor, name_of
from apps.chains.services.specs import (
    CLASSIFIER_ROLE,
    FABRIC,
    SERVER_ROLE,
    fabric_find,
    push_lock,
    servers_of,
    specs_push,
)
from nfvportal.audit.services import audit_record
from nfvportal.events.services import event_publish
from nfvportal.events.severities import SeverityName
from nfvportal.inventory.models import DesiredState, DeviceStatus, Interface
from nfvportal.lib.errors import InvalidInputError

CHANGING = (DeploymentStatus.PENDING, DeploymentStatus.APPLYING)


class ChainBusyError(Exception):
    """Another change of the same chain is under way."""


def plan_check(plan: Plan) -> tuple[str, ...]:
    """Return the servers of a plan that can be applied now.

    Raises:
        InvalidInputError: why it cannot: infeasible, a type that cannot run, settings that are missing, a device that
            is not there.
    """
    if not plan.is_feasible:
        raise InvalidInputError("plan", f"is infeasible: {plan.content.get('witness', '')}")
    chain = planned_chain(plan)
    types = dict(NfType.objects.values_list("slug", "implementation"))
    for index, nf in enumerate(chain.nfs):
        implementation = types.get(nf.type, "")
        if not implementation:
            raise InvalidInputError(
                f"nfs[{index}].type", f"{nf.type} can be planned, but there is nothing to run it"
            )
        settings_check(f"nfs[{index}]", implementation, dict(nf.params))
    fabric = fabric_find()
    servers = tuple(sorted(servers_of(compile_plan(chain, planned_root(plan)))))
    for name in servers:
        if name not in fabric.servers:
            raise InvalidInputError("plan", f"needs {name}, which is no device with the role {SERVER_ROLE}")
    ends = Interface.objects.filter(device__in=[fabric.classifier, *fabric.servers.values()], name=FABRIC)
    known = {row.device_id for row in ends if row.mac}
    for device in (fabric.classifier, *(fabric.servers[name] for name in servers)):
        if device.status == DeviceStatus.OFFLINE:
            raise InvalidInputError("plan", f"needs {device.name}, whose agent is offline")
        if device.pk not in known:
            raise InvalidInputError("plan", f"{device.name} needs an interface {FABRIC} with a MAC address")
    return servers


def change_check(chain: Chain) -> None:
    """Refuse a change while another one is under way.

    Raises:
        ChainBusyError: it is.
    """
    if chain.deployments.filter(status__in=CHANGING).exists():
        raise ChainBusyError(f"another change of {chain.name} is under way; wait for it or cancel its job")


def deployment_begin(*, plan_id: int, job_id: uuid.UUID, actor: Actor, reason: str = "") -> Deployment:
    """Return the deployment of a job: give it the chain's next epoch, and put it beside what is there.

    Raises:
        InvalidInputError: the plan cannot be applied.
        ChainBusyError: another change of the chain is under way.
    """
    known = Deployment.objects.filter(job_id=job_id).select_related("chain", "plan").first()
    if known is not None:
        return known
    plan = Plan.objects.select_related("chain").get(pk=plan_id)
    servers = plan_check(plan)
    with transaction.atomic():
        chain = Chain.objects.select_for_update().get(pk=plan.chain_id)
        change_check(chain)
        push_lock()
        if chain.path is None:
            chain.path = _path_next()
        chain.epoch = chain.epoch % EPOCH_MAX + 1
        chain.save(update_fields=["path", "epoch"])
        # The header on the wire has room for so many epochs: after that, the oldest one's record makes way.
        chain.deployments.filter(epoch=chain.epoch).exclude(status__in=OPEN_STATUSES).delete()
        row = Deployment.objects.create(
            chain=chain,
            plan=plan,
            previous=chain.deployments.filter(is_active=True).first(),
            epoch=chain.epoch,
            status=DeploymentStatus.APPLYING,
            is_installed=True,
            servers=list(servers),
            reason=reason[:300],
            job_id=job_id,
            created_by=name_of(actor),
        )
        row.refresh_from_db(fields=["created_at"])
        audit_record(
            actor=actor, action="chains.deployment_apply", subject=chain.name, before=None,
            after={"plan": plan.pk, "epoch": row.epoch},
        )  # fmt: skip
        specs_push()
        announce_deployment(row)
    return row


def _path_next() -> int:
    """Return a number on the wire that no chain has; who asks holds the lock."""
    highest: int = Chain.objects.aggregate(highest=Max("path"))["highest"] or 0
    return highest + 1


def deployment_activate(row: Deployment) -> None:
    """Let the classifier send packets by this epoch; it holds them until the old epoch is empty."""
    with transaction.atomic():
        Chain.objects.select_for_update().get(pk=row.chain_id)
        row.refresh_from_db()
        if row.is_active or row.status != DeploymentStatus.APPLYING:
            return
        Deployment.objects.filter(chain=row.chain_id, is_active=True).update(is_active=False)
        row.is_active = True
        row.save(update_fields=["is_active"])
        specs_push()
        announce_deployment(row)


def deployment_finish(row: Deployment, told: dict[str, Any]) -> None:
    """Note that packets take this epoch, and take the one before away."""
    now = timezone.now()
    with transaction.atomic():
        chain = Chain.objects.select_for_update().get(pk=row.chain_id)
        row.refresh_from_db()
        if row.status != DeploymentStatus.APPLYING:
            return
        row.status, row.live_at, row.told = DeploymentStatus.LIVE, now, told
        row.save(update_fields=["status", "live_at", "told"])
        older = chain.deployments.filter(is_installed=True).exclude(pk=row.pk)
        older.filter(status=DeploymentStatus.LIVE).update(status=DeploymentStatus.SUPERSEDED, ended_at=now)
        older.update(is_installed=False, is_active=False)
        HopLatest.objects.filter(chain=chain).exclude(epoch=row.epoch).delete()
        specs_push()
        alarms_end(row)
        _log(row, "chains.deployment_live", "info", told)
        announce_deployment(row)


def deployment_fail(row: Deployment, error: str) -> None:
    """Give up: the epoch before carries on."""
    with transaction.atomic():
        Chain.objects.select_for_update().get(pk=row.chain_id)
        row.refresh_from_db()
        if row.status not in CHANGING:
            return
        row.status, row.error, row.ended_at = DeploymentStatus.FAILED, error[:2000], timezone.now()
        row.is_installed = row.is_active = False
        row.save(update_fields=["status", "error", "ended_at", "is_installed", "is_active"])
        if row.previous_id is not None:
            Deployment.objects.filter(pk=row.previous_id, status=DeploymentStatus.LIVE).update(
                is_active=True, is_installed=True
            )
        specs_push()
        _log(row, "chains.deployment_failed", "alarm", {"error": row.error})
        announce_deployment(row)


def removal_begin(*, chain: Chain, actor: Actor) -> Deployment | None:
    """Stop sending packets through a chain; its functions stay until what is under way came out.

    Raises:
        ChainBusyError: another change of the chain is under way.
    """
    with transaction.atomic():
        chain = Chain.objects.select_for_update().get(pk=chain.pk)
        change_check(chain)
        row = chain.deployments.select_related("chain", "plan").filter(status=DeploymentStatus.LIVE).first()
        if row is None or not row.is_active:
            return row
        row.is_active = False
        row.save(update_fields=["is_active"])
        audit_record(
            actor=actor, action="chains.deployment_remove", subject=chain.name, before={"epoch": row.epoch},
            after=None,
        )  # fmt: skip
        specs_push()
        announce_deployment(row)
    return row


def removal_finish(row: Deployment) -> None:
    """Take a chain's functions away."""
    with transaction.atomic():
        Chain.objects.select_for_update().get(pk=row.chain_id)
        row.refresh_from_db()
        if row.status != DeploymentStatus.LIVE:
            return
        row.status, row.ended_at, row.is_installed = DeploymentStatus.REMOVED, timezone.now(), False
        row.save(update_fields=["status", "ended_at", "is_installed"])
        HopLatest.objects.filter(chain=row.chain_id).delete()
        specs_push()
        alarms_end(row)
        _log(row, "chains.deployment_removed", "info", {})
        announce_deployment(row)


def devices_note(row: Deployment) -> bool:
    """Write what the devices of a deployment say of their desired states; return whether all of them are there.

    Raises:
        InvalidInputError: a device refuses; names it and its words.
    """
    fabric = fabric_find()
    wanted = {fabric.classifier.name: CLASSIFIER_ROLE, **dict.fromkeys(row.servers, SERVER_ROLE)}
    states = DesiredState.objects.filter(device__name__in=wanted).select_related("device")
    said: dict[str, dict[str, Any]] = {}
    for state in states:
        if state.role == wanted[state.device.name]:
            is_answer = state.applied_revision == state.revision
            said[state.device.name] = {
                "role": state.role,
                "revision": state.revision,
                "ok": state.applied_ok if is_answer else None,
                "error": state.applied_error if is_answer else "",
            }
    if said != row.devices:
        row.devices = said
        with transaction.atomic():
            Deployment.objects.filter(pk=row.pk).update(devices=said)
            announce_deployment(row)
    for name, answer in said.items():
        if answer["ok"] is False:
            raise InvalidInputError(name, answer["error"] or "refused its part")
    return len(said) == len(wanted) and all(answer["ok"] for answer in said.values())


def _log(row: Deployment, type_: str, severity: SeverityName, data: dict[str, Any]) -> None:
    event_publish(
        type=type_,
        at_s=timezone.now().timestamp(),
        severity=severity,
        subject=row.chain.name,
        data={"plan": row.plan_id, "epoch": row.epoch, "path": row.chain.path, **data},
    )


def rollback_plan(chain: Chain) -> Plan:
    """Return the plan that was live before the one that is.

    Raises:
        InvalidInputError: there was none.
    """
    active = chain.deployments.filter(is_active=True).first()
    ended = (DeploymentStatus.SUPERSEDED, DeploymentStatus.REMOVED)
    rows = (
        chain.deployments.filter(status__in=ended).select_related("plan__chain").order_by("-live_at", "-id")
    )
    if active is not None:
        rows = rows.exclude(plan=active.plan_id)
    row = rows.first()
    if row is None:
        raise InvalidInputError("", f"{chain.name} has no plan that was live before")
    return row.plan
