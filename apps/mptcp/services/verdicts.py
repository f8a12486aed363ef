"""Verdicts: stop a connection at the gateways of its site, its later subflows too, until a time or by hand."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from apps.mptcp.models import Connection, ConnectionState, Subflow, Verdict
from apps.mptcp.selectors import ENFORCER_ROLE
from apps.mptcp.services.announcements import announce_verdict
from nfvportal.audit.services import audit_record
from nfvportal.events.services import event_publish
from nfvportal.inventory.models import Device
from nfvportal.inventory.services import desired_state_set
from nfvportal.lib.errors import InvalidInputError

EXPIRES_MIN_S: Final = 10
EXPIRES_MAX_S: Final = 30 * 86_400
# What one gateway takes, see ``agent/enforcer.py``.
VERDICTS_MAX: Final = 256
FLOWS_MAX: Final = 256
TOKENS_MAX: Final = 64


class VerdictRefusedError(Exception):
    """The verdict does not fit what is known of the connection; says why, in words."""


def verdict_create(
    *, connection: Connection, reason: str, expires_in_s: float, is_forced: bool, user: User
) -> Verdict:
    """Block a connection.

    Raises:
        InvalidInputError: ``reason`` is empty or ``expires_in_s`` is out of range.
        VerdictRefusedError: evidence is too weak and ``is_forced`` is not set; or it is blocked already, gone, or no
            gateway can enforce it.
    """
    if not reason.strip():
        raise InvalidInputError("reason", "is required: say why the connection is to be stopped")
    if not EXPIRES_MIN_S <= expires_in_s <= EXPIRES_MAX_S:
        raise InvalidInputError("expires_in_s", f"must be from {EXPIRES_MIN_S} to {EXPIRES_MAX_S} seconds")
    with transaction.atomic():
        locked = (
            Connection.objects.select_for_update(of=("self",))
            .select_related("domain__site")
            .get(pk=connection.pk)
        )
        _refuse(locked, is_forced)
        gateways = [device.name for device in enforcers_of(locked)]
        if not gateways:
            where = locked.domain.site.name if locked.domain else "any site"
            raise VerdictRefusedError(f"no gateway of {where} has the role {ENFORCER_ROLE}")
        row = Verdict.objects.create(
            connection=locked,
            reason=reason.strip(),
            is_forced=is_forced and not locked.is_blockable,
            gateways=gateways,
            created_by=user.get_username(),
            expires_at=timezone.now() + timedelta(seconds=expires_in_s),
        )
        _note(row, "mptcp.verdict_create", user.get_username(), "warning")
        enforcers_push(gateways)
        announce_verdict(locked)
    return row


def _refuse(connection: Connection, is_forced: bool) -> None:
    if connection.state == ConnectionState.GONE:
        raise VerdictRefusedError(f"it is part of connection {connection.merged_into_id} now; block that one")
    if connection.verdicts.filter(ended_at=None).exists():
        raise VerdictRefusedError("the connection is blocked already")
    if not connection.is_blockable and not is_forced:
        raise VerdictRefusedError(
            "the evidence that its subflows belong together is weak: neither tokens, keys or last numbers, nor an "
            "overlap in both directions; others may be hit. Force it, with a reason, if that is worth it"
        )
    if Verdict.objects.filter(ended_at=None).count() >= VERDICTS_MAX:
        raise VerdictRefusedError(f"at most {VERDICTS_MAX} verdicts can be in force; undo one first")


def verdict_undo(*, row: Verdict, actor: str, reason: str) -> Verdict:
    """End a verdict; one that is over stays as it ended."""
    with transaction.atomic():
        locked = Verdict.objects.select_for_update(of=("self",)).select_related("connection").get(pk=row.pk)
        if locked.ended_at is not None:
            return locked
        locked.ended_at, locked.ended_by, locked.end_reason = timezone.now(), actor, reason[:500]
        locked.save(update_fields=["ended_at", "ended_by", "end_reason"])
        _note(locked, "mptcp.verdict_undo", actor, "info")
        enforcers_push(locked.gateways)
        announce_verdict(locked.connection)
    return locked


def verdicts_expire() -> int:
    """End verdicts whose time is over (gateways have done so themselves); return how many."""
    over = list(Verdict.objects.filter(ended_at=None, expires_at__lte=timezone.now()))
    for row in over:
        verdict_undo(row=row, actor="", reason="expired")
    return len(over)


def verdicts_follow(*, changed: Iterable[int], gone: Iterable[int]) -> None:
    """Carry open verdicts on to subflows that joined, and to the connection that a blocked one turned out to be."""
    for row in _open(gone).select_related("connection__merged_into"):
        kept = row.connection.merged_into
        if kept is None:
            continue
        if kept.verdicts.filter(ended_at=None).exists():
            verdict_undo(row=row, actor="", reason=f"part of connection {kept.pk}, which is blocked too")
            continue
        Verdict.objects.filter(pk=row.pk).update(connection=kept)
        enforcers_push(row.gateways)
        announce_verdict(kept)
    for row in _open(changed):
        enforcers_push(row.gateways)


def _open(connections: Iterable[int]) -> "QuerySet[Verdict]":
    return Verdict.objects.filter(ended_at=None, connection__in=list(connections))


def enforcers_of(connection: Connection) -> QuerySet[Device]:
    """Return the gateways that can stop a connection: those of its site; of a capture, all there are."""
    devices = Device.objects.filter(roles__contains=[ENFORCER_ROLE])
    return devices.filter(site=connection.domain.site) if connection.domain else devices


def enforcers_push(gateways: Iterable[str]) -> None:
    """Give gateways the verdicts that are in force; unchanged specs cause nothing."""
    for device in Device.objects.filter(name__in=list(gateways), roles__contains=[ENFORCER_ROLE]):
        desired_state_set(device=device, role=ENFORCER_ROLE, spec=enforcer_spec(device))


def enforcer_spec(device: Device) -> dict[str, Any]:
    """Return the spec of ``mptcp.enforcer`` for a gateway."""
    rows = Verdict.objects.filter(ended_at=None, gateways__contains=[device.name]).select_related(
        "connection"
    )
    verdicts = []
    for row in rows.order_by("id")[:VERDICTS_MAX]:
        subflows = Subflow.objects.filter(connection=row.connection).order_by("-last_s")[:FLOWS_MAX]
        flows = [[flow.a, flow.a_port, flow.b, flow.b_port] for flow in subflows]
        verdicts.append(
            {
                "id": row.pk,
                "flows": sorted(flows),
                "tokens": row.connection.tokens[:TOKENS_MAX],
                "expires_at_s": row.expires_at.timestamp(),
            }
        )
    return {"verdicts": verdicts}


def _note(row: Verdict, action: str, actor: str, severity: Any) -> None:
    after = {"verdict": row.pk, "connection": row.connection_id, "reason": row.end_reason or row.reason}
    audit_record(
        actor=actor or None,
        action=action,
        subject=f"connection {row.connection_id}",
        before=None,
        after=after,
    )
    event_publish(
        type=action,
        at_s=timezone.now().timestamp(),
        severity=severity,
        subject=f"connection {row.connection_id}",
        data={**after, "gateways": row.gateways, "by": actor},
    )
