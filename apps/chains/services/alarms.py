"""Alarms: a missed latency target (with hysteresis), an undeclared write, drift from the plan."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.chains.mapping import definition_of
from apps.chains.models import AlarmKind, Chain, ChainAlarm, Deployment, DeploymentStatus, LatencySample
from apps.chains.services.announcements import announce_alarm
from nfvportal.events.models import Event
from nfvportal.events.services import event_publish

# A second above the target is no alarm, a second below no end of one.
RAISE_AFTER_S: Final = 3.0
CLEAR_AFTER_S: Final = 10.0
SAMPLES_LOOKED_AT: Final = 16
Point = tuple[float, float | None]


def slo_verdict(points: Sequence[Point], target_us: float, is_raised: bool) -> bool:
    """Return whether a missed target should be an alarm now.

    Args:
        points: (epoch seconds, 99th percentile in us or ``None`` without packets), ascending, one per second.
        target_us: what is promised.
        is_raised: whether it is an alarm already.

    >>> slo_verdict([(0, 9.0), (1, 9.0), (2, 9.0), (3, 9.0)], 5.0, False)
    True
    >>> slo_verdict([(0, 9.0), (1, 9.0), (2, None), (3, 9.0)], 5.0, False)
    False
    """
    if not points:
        return is_raised
    newest_s = points[-1][0]
    above = [(at_s, p99_us is not None and p99_us > target_us) for at_s, p99_us in points]
    if is_raised:
        last_above_s = max((at_s for at_s, is_above in above if is_above), default=points[0][0])
        return newest_s - last_above_s < CLEAR_AFTER_S
    last_below_s = max((at_s for at_s, is_above in above if not is_above), default=None)
    since_s = min((at_s for at_s, _ in above if last_below_s is None or at_s > last_below_s), default=None)
    return since_s is not None and newest_s - since_s >= RAISE_AFTER_S


def slo_check(chain: Chain) -> None:
    """Raise or clear the alarm of a missed target by the newest seconds."""
    target_ms = definition_of(chain)["slo_p99_ms"]
    alarm = open_alarm(chain, AlarmKind.SLO)
    if target_ms is None:
        if alarm is not None:
            alarm_clear(alarm, timezone.now())
        return
    samples = list(LatencySample.objects.filter(chain=chain).order_by("-at")[:SAMPLES_LOOKED_AT])[::-1]
    points = [(sample.at.timestamp(), sample.latency_us_p99) for sample in samples]
    is_missed = slo_verdict(points, 1000 * target_ms, alarm is not None)
    if is_missed and alarm is None:
        p99_ms = (samples[-1].latency_us_p99 or 0) / 1000
        alarm_raise(
            chain=chain,
            kind=AlarmKind.SLO,
            message=f"p99 latency is {p99_ms:.1f} ms, the target is {target_ms:g} ms",
            data={"p99_ms": p99_ms, "target_ms": target_ms},
            at=samples[-1].at,
        )
    elif not is_missed and alarm is not None:
        alarm_clear(alarm, samples[-1].at)


def open_alarm(chain: Chain, kind: str, key: str = "") -> ChainAlarm | None:
    """Return an alarm that is not over."""
    rows = ChainAlarm.objects.select_related("chain")
    return rows.filter(chain=chain, kind=kind, key=key, cleared_at=None).first()


def alarm_raise(
    *, chain: Chain, kind: str, message: str, data: dict[str, Any], at: datetime, key: str = ""
) -> ChainAlarm | None:
    """Raise an alarm; ``None`` when it is raised already."""
    try:
        with transaction.atomic():
            row = ChainAlarm.objects.create(
                chain=chain, kind=kind, key=key[:200], message=message[:500], data=data, raised_at=at
            )
            _log(row, f"chains.{kind}_raised", at)
            announce_alarm(row)
    except IntegrityError:
        return None
    return row


def alarm_clear(row: ChainAlarm, at: datetime) -> None:
    """End an alarm."""
    with transaction.atomic():
        row.cleared_at = max(at, row.raised_at)
        row.save(update_fields=["cleared_at"])
        _log(row, f"chains.{row.kind}_cleared", at)
        announce_alarm(row)


def undeclared_write_record(*, event: Event) -> ChainAlarm | None:
    """Raise an alarm for a network function that wrote a field its profile does not declare.

    It stays until the chain's next deployment: nothing else can show that it is over.
    """
    data = event.data
    chain = _chain_of(data)
    if chain is None:
        return None
    nf, field = " or ".join(_suspects(chain, data)) or "a network function", str(data.get("field", ""))[:32]
    return alarm_raise(
        chain=chain,
        kind=AlarmKind.UNDECLARED_WRITE,
        key=f"{nf}:{field}",
        message=f"{nf} changed {field}, which its profile does not declare; correct the profile and plan anew",
        data={"nf": nf, **{name: data.get(name) for name in ("field", "epoch", "packet_id", "operator")}},
        at=event.at,
    )


def _chain_of(data: Mapping[str, Any]) -> Chain | None:
    """Return the chain that a report speaks of: by path, or by name before the function's."""
    if isinstance(path := data.get("path"), int):
        return Chain.objects.filter(path=path).first()
    name = data.get("chain") or str(data.get("nf", "")).partition("/")[0]
    return Chain.objects.filter(name=str(name)[:64]).first()


def _suspects(chain: Chain, data: Mapping[str, Any]) -> list[str]:
    """Return the names of the functions that may have done it: its own check names one, a merge those of a branch."""
    if data.get("nf"):
        return [str(data["nf"]).rpartition("/")[2][:64]]
    indexes = data.get("nf_indexes")
    row = chain.deployments.select_related("plan").filter(epoch=data.get("epoch") or 0).first()
    if row is None or not isinstance(indexes, list):
        return []
    names = [nf["name"] for nf in row.plan.inputs["nfs"]]
    return [names[index] for index in indexes if isinstance(index, int) and 0 <= index < len(names)]


def alarms_end(row: Deployment) -> None:
    """End what a new deployment answers, or a removal makes void: undeclared writes, drift; a removal ends all."""
    rows = ChainAlarm.objects.select_related("chain").filter(chain=row.chain_id, cleared_at=None)
    if row.status == DeploymentStatus.LIVE:
        rows = rows.filter(kind__in=(AlarmKind.UNDECLARED_WRITE, AlarmKind.DRIFT))
    for alarm in rows:
        alarm_clear(alarm, timezone.now())


def _log(row: ChainAlarm, type_: str, at: datetime) -> None:
    event_publish(
        type=type_,
        at_s=at.timestamp(),
        severity="alarm" if row.cleared_at is None else "info",
        subject=row.chain.name,
        data={"message": row.message, "kind": row.kind, "key": row.key},
    )
