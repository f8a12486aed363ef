"""Writes of the audit log."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest

from nfvportal.audit.models import AuditEntry


def audit_record(
    *,
    actor: AbstractBaseUser | AnonymousUser | str | None,
    action: str,
    subject: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    request: HttpRequest | None = None,
) -> AuditEntry:
    """Add one entry, in the transaction of the change itself, so that neither exists without the other.

    Args:
        actor: the user, a user name, or ``None`` for the portal itself.
        action: ``<package>.<verb>``, e.g. ``inventory.device_update``.
        subject: what was changed, by the name people know it by.
        before: the fields as they were, or ``None``; never secrets.
        after: the fields as they are now, or ``None``; never secrets.
        request: where the change came from.
    """
    name = actor if isinstance(actor, str) else (actor.get_username() if actor is not None else "")
    return AuditEntry.objects.create(
        actor=name,
        action=action,
        subject=subject[:200],
        before=_plain(before),
        after=_plain(after),
        address=str(request.META.get("REMOTE_ADDR") or "local")[:64] if request is not None else "",
    )


def _plain(fields: Mapping[str, Any] | None) -> Any:
    if fields is None:
        return None
    encoder = DjangoJSONEncoder()
    return {
        name: value
        if isinstance(value, str | int | float | bool | list | dict | None)
        else encoder.default(value)
        for name, value in fields.items()
    }
