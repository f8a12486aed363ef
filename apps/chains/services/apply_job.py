"""The jobs ``chains.apply`` and ``chains.remove``: carry a change through, step by step, as the devices follow.

Every step looks at the rows first, so a job whose worker was killed goes on where it stopped.
"""

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from apps.chains.models import Chain, Deployment, DeploymentStatus, LatencySample
from apps.chains.services import deployments
from nfvportal.events.models import Event
from nfvportal.jobs.runner import JobCancelled, JobHandle
from nfvportal.lib.errors import InvalidInputError

# Devices answer within a second; a server that starts a dozen processes on a busy machine takes some.
INSTALL_WITHIN_S: Final = 60.0
SWITCH_WITHIN_S: Final = 30.0
ANSWER_WITHIN_S: Final = 10.0
DRAIN_WITHIN_S: Final = 10.0
POLL_S: Final = 0.2
TOLD: Final = ("held_packets", "waited_ms", "lost")


class SilentError(Exception):
    """A device did not answer in time; says which and what is missing."""


def apply_run(job: JobHandle) -> dict[str, Any]:
    """Apply ``params["plan"]``: install beside the old epoch, switch the classifier, take the old epoch away."""
    try:
        row = deployments.deployment_begin(
            plan_id=int(job.params["plan"]),
            job_id=uuid.UUID(job.id),
            actor=job.user,
            reason=str(job.params.get("reason", "")),
        )
    except deployments.ChainBusyError as error:
        raise InvalidInputError("", str(error)) from error
    try:
        _carry_through(row, job)
    except JobCancelled:
        deployments.deployment_fail(row, "cancelled by an operator")
        raise
    except (InvalidInputError, SilentError) as error:
        deployments.deployment_fail(row, str(error))
        raise InvalidInputError("", str(error)) from error
    row.refresh_from_db()
    if row.status not in (DeploymentStatus.LIVE, DeploymentStatus.SUPERSEDED):
        raise InvalidInputError("", row.error or f"the deployment is {row.status}")
    return {"deployment": row.pk, "plan": row.plan_id, "epoch": row.epoch, **row.told}


def _carry_through(row: Deployment, job: JobHandle) -> None:
    if row.status != DeploymentStatus.APPLYING:
        return
    if not row.is_active:
        job.progress(0.1, f"installing on {', '.join(row.servers)} and the classifier")
        _wait(lambda: deployments.devices_note(row), INSTALL_WITHIN_S, job.checkpoint, lambda: _missing(row))
        job.progress(0.5, "switching the classifier to the new epoch")
        deployments.deployment_activate(row)
    # From here on there is no way back but to fail: a cancel is too late, packets may take the new epoch.
    told = _wait(
        lambda: _switched(row),
        SWITCH_WITHIN_S,
        lambda: None,
        lambda: "the classifier did not say that it switched",
    )
    # Its event may overtake the devices' answers; who is silent for longer is shown as waiting, but packets flow.
    with suppress(SilentError):
        _wait(lambda: deployments.devices_note(row), ANSWER_WITHIN_S, lambda: None, lambda: "")
    job.progress(0.9, "taking the old epoch away")
    deployments.deployment_finish(row, told)
    job.progress(1.0, f"packets take epoch {row.epoch}")


def remove_run(job: JobHandle) -> dict[str, Any]:
    """Remove ``params["chain"]`` from the devices: no new packets, then wait for those under way, then take it away."""
    chain = Chain.objects.filter(name=str(job.params["chain"])).first()
    if chain is None:
        raise InvalidInputError("chain", "does not exist any more")
    try:
        row = deployments.removal_begin(chain=chain, actor=job.user)
    except deployments.ChainBusyError as error:
        raise InvalidInputError("", str(error)) from error
    if row is None:
        return {"deployment": None}
    job.progress(0.3, "waiting for the packets that are under way")
    try:
        _wait(lambda: _drained(row), DRAIN_WITHIN_S, lambda: None, lambda: "")
    except SilentError:
        job.progress(0.6, "not all packets came out in time; taking the chain away")
    deployments.removal_finish(row)
    job.progress(1.0, "no packet takes the chain any more")
    return {"deployment": row.pk}


def _switched(row: Deployment) -> dict[str, Any] | None:
    """Return what the classifier told of the switch, ``None`` while it did not."""
    deployments.devices_note(row)
    told = (
        Event.objects.filter(
            type="chains.epoch_active",
            created_at__gte=row.created_at,
            data__contains={"path": row.chain.path, "epoch": row.epoch},
        )
        .order_by("-id")
        .first()
    )
    if told is not None:
        return {name: told.data[name] for name in TOLD if isinstance(told.data.get(name), int | float)}
    # The event may be lost with an agent that was killed; that packets take the epoch says the same.
    samples = LatencySample.objects.filter(chain=row.chain_id, epoch=row.epoch)
    if any(sample.counters.get("out") for sample in samples[:1]):
        return {"switch": "seen in counters"}
    return None


def _drained(row: Deployment) -> bool:
    """Whether the classifier said that packets pass by the chain now: then none of them is under way any more."""
    if not deployments.devices_note(row):
        return False
    passed_by = {"path": row.chain.path, "epoch": 0}
    events = Event.objects.filter(type="chains.epoch_active", data__contains=passed_by)
    return events.filter(created_at__gte=row.live_at or row.created_at).exists()


def _missing(row: Deployment) -> str:
    silent = sorted(name for name, said in row.devices.items() if said["ok"] is None)
    return f"{', '.join(silent) or 'devices'} did not answer within {INSTALL_WITHIN_S:.0f} s"


def _wait(
    condition: Callable[[], Any],
    within_s: float,
    checkpoint: Callable[[], None],
    words: Callable[[], str],
) -> Any:
    """Return the condition's first true value (an empty answer counts).

    Raises:
        SilentError: not within ``within_s``.
    """
    deadline_s = time.monotonic() + within_s
    while True:
        checkpoint()
        value = condition()
        if value not in (None, False):
            return value
        if time.monotonic() > deadline_s:
            raise SilentError(words())
        time.sleep(POLL_S)
