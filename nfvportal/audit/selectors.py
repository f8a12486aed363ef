"""Reads of the audit log."""

from typing import Any, TypedDict

from django.db.models import QuerySet

from nfvportal.audit.models import AuditEntry


class AuditData(TypedDict):
    """One change as pages and REST show it; ``at_s`` is epoch seconds."""

    id: int
    at_s: float
    actor: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    address: str


def audit_data(entry: AuditEntry) -> AuditData:
    """Return an entry as plain data."""
    return {
        "id": entry.pk,
        "at_s": entry.at.timestamp(),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "before": entry.before,
        "after": entry.after,
        "address": entry.address,
    }


def audit_list(*, actor: str = "", action: str = "", subject: str = "") -> QuerySet[AuditEntry]:
    """Return entries, newest first; filters that are empty do not count."""
    entries = AuditEntry.objects.order_by("-id")
    if actor:
        entries = entries.filter(actor=actor)
    if action:
        entries = entries.filter(action=action)
    if subject:
        entries = entries.filter(subject=subject)
    return entries
