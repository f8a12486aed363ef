"""Drift: when reality leaves the plan for good, propose another one, or apply it where the chain says so."""

from typing import Final

from django.utils import timezone

from apps.chains.mapping import definition_of, planned_chain
from apps.chains.models import AlarmKind, Chain, Deployment, Plan
from apps.chains.services.alarms import alarm_clear, alarm_raise, open_alarm
from apps.chains.services.calibration import Measured, active_deployment, measured_of
from apps.chains.services.deployments import CHANGING
from apps.chains.services.plans import plan_anew
from nfvportal.jobs.services import job_start

# Within the band around the newest plan nothing happens: a proposal is made for its new figures, so it does not repeat.
RATE_BAND: Final = (0.7, 1.4)
SERVICE_BAND: Final = (0.6, 1.7)
# Below this share of the planned rate a chain is idle: there is nothing to gain, and no queue to measure.
IDLE_RATIO: Final = 0.02


def drift_words(measured: Measured, rate_pps: float, services_us: list[tuple[str, float]]) -> str:
    """Return what left its band, in words; empty when nothing did.

    >>> drift_words(Measured(250.0, (9.0,), {}, None, None), 100.0, [("fw", 10.0)])
    'rate is 250 packets/s, planned 100'
    """
    words = []
    if measured.rate_pps is None or measured.rate_pps < IDLE_RATIO * rate_pps:
        return ""
    if not _within(measured.rate_pps / rate_pps, RATE_BAND):
        words.append(f"rate is {measured.rate_pps:.0f} packets/s, planned {rate_pps:.0f}")
    for (name, planned_us), mean_us in zip(services_us, measured.services_us, strict=True):
        if mean_us is not None and not _within(mean_us / planned_us, SERVICE_BAND):
            words.append(f"{name} takes {mean_us:.1f} us, planned {planned_us:.1f} us")
    return "; ".join(words)


def drift_check(chain: Chain) -> Plan | None:
    """Compare one chain with its newest plan; return the plan that was proposed, if any.

    The medians of ``RECENT_KEPT`` seconds are compared, so a burst is no drift.
    """
    replan = definition_of(chain)["replan"]
    row = active_deployment(chain.name)
    if row is None or chain.deployments.filter(status__in=CHANGING).exists():
        return None
    measured = measured_of(row)
    if not _words(measured, row.plan):
        _end(chain)
    if replan == "off":
        return None
    newest = Plan.objects.filter(chain=chain, chain_version=row.plan.chain_version).order_by("-id").first()
    words = _words(measured, newest or row.plan)
    if not words:
        return None
    plan = plan_anew(row=row, measured=measured, reason=f"drift: {words}")
    if not is_other(plan, row):
        return plan
    if replan == "apply":
        params = {"plan": plan.pk, "reason": plan.reason, "chain": chain.name}
        job_start(kind="chains.apply", params=params, user=None)
    else:
        alarm_raise(
            chain=chain, kind=AlarmKind.DRIFT, message=f"{words}; a new plan is proposed"[:500],
            data={"plan": plan.pk}, at=timezone.now(),
        )  # fmt: skip
    return plan


def is_other(plan: Plan, row: Deployment) -> bool:
    """Whether a plan is feasible and would change anything on the devices."""
    return plan.is_feasible and plan.content["root"] != row.plan.content["root"]


def _words(measured: Measured, plan: Plan) -> str:
    chain = planned_chain(plan)
    if len(chain.nfs) != len(measured.services_us):
        return ""
    return drift_words(measured, chain.rate_pps, [(nf.name, nf.service.mean_us) for nf in chain.nfs])


def _end(chain: Chain) -> None:
    alarm = open_alarm(chain, AlarmKind.DRIFT)
    if alarm is not None:
        alarm_clear(alarm, timezone.now())


def _within(ratio: float, band: tuple[float, float]) -> bool:
    return band[0] <= ratio <= band[1]
