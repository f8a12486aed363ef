"""Writes of the inventory. Every change leaves an audit entry."""

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any, TypeVar

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from nfvportal.audit.services import audit_record
from nfvportal.inventory.models import DesiredState, Device, Interface, Link, Site
from nfvportal.lib.errors import InvalidInputError

TOKEN_PREFIX = "nfv_dev_"  # noqa: S105  names the kind of a token, is none
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
Actor = AbstractBaseUser | AnonymousUser | str | None
Entity = TypeVar("Entity", Site, Device, Interface, Link)

# What people edit, per table; everything else is the portal's own.
EDITABLE: dict[type[models.Model], tuple[str, ...]] = {
    Site: ("name", "title", "latitude", "longitude"),
    Device: ("name", "site", "kind", "roles", "note"),
    Interface: ("device", "name", "mac", "addresses"),
    Link: ("name", "kind", "a", "b", "capacity_bps", "delay_ms", "provider", "cost_per_gb"),
}


def editable_fields(entity: models.Model) -> dict[str, Any]:
    """Return the fields people edit, as plain values for audit and comparison."""
    fields: dict[str, Any] = {}
    for name in EDITABLE[type(entity)]:
        value = getattr(entity, name)
        fields[name] = str(value) if isinstance(value, models.Model) else value
    return fields


def entity_save(*, entity: Entity, actor: Actor) -> Entity:
    """Create or change a site, device, interface or link.

    Raises:
        InvalidInputError: a field breaks its limit; names the field.
    """
    kind = type(entity)._meta.model_name
    before = None
    with transaction.atomic():
        if entity.pk is not None:
            stored = type(entity)._default_manager.select_for_update().get(pk=entity.pk)
            before = editable_fields(stored)
        _check_text(entity)
        try:
            entity.full_clean()
            entity.save()
        except ValidationError as error:
            field, messages = next(iter(error.message_dict.items()))
            raise InvalidInputError("" if field == "__all__" else field, " ".join(messages)) from error
        except IntegrityError as error:
            raise InvalidInputError("", f"conflicts with another {kind}") from error
        after = editable_fields(entity)
        if before != after:
            action = f"inventory.{kind}_{'update' if before else 'create'}"
            audit_record(actor=actor, action=action, subject=str(entity), before=before, after=after)
    return entity


def _check_text(entity: models.Model) -> None:
    """Refuse text that Postgres cannot store, or longer than its field."""
    for name in EDITABLE[type(entity)]:
        field, value = entity._meta.get_field(name), getattr(entity, name, None)
        if not isinstance(field, models.CharField | models.TextField) or not isinstance(value, str):
            continue
        if _UNSTORABLE.search(value):
            raise InvalidInputError(name, "must be text without NUL and lone surrogates")
        if (
            field.max_length is not None and len(value) > field.max_length
        ):  # Django checks it for CharField only
            raise InvalidInputError(name, f"must have at most {field.max_length} characters")


def entity_delete(*, entity: Site | Device | Interface | Link, actor: Actor) -> None:
    """Delete an entity.

    Raises:
        InvalidInputError: others still need it; names them.
    """
    kind = type(entity)._meta.model_name
    with transaction.atomic():
        before, subject = editable_fields(entity), str(entity)
        try:
            entity.delete()
        except ProtectedError as error:
            users = ", ".join(sorted(str(user) for user in list(error.protected_objects)[:5]))
            raise InvalidInputError(
                "", f"{subject} is still used by {users}; delete or change these first"
            ) from error
        audit_record(
            actor=actor, action=f"inventory.{kind}_delete", subject=subject, before=before, after=None
        )


def token_hash(raw: str) -> str:
    """Return what is stored of a device token."""
    return hashlib.sha256(raw.encode()).hexdigest()


def device_token_rotate(*, device: Device, actor: Actor) -> str:
    """Give a device a new token and return its raw text, shown once; the old one ends at once."""
    raw = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        Device.objects.filter(pk=device.pk).update(
            token_hash=token_hash(raw),
            token_prefix=raw[: len(TOKEN_PREFIX) + 4],
            token_rotated_at=timezone.now(),
        )
        audit_record(
            actor=actor, action="inventory.device_rotate_token", subject=device.name, before=None, after=None
        )
        transaction.on_commit(lambda: _notify(device.pk, "agent.token_rotated"))
    device.refresh_from_db()
    return raw


def device_authenticate(raw: str) -> Device | None:
    """Return the device that a raw token belongs to."""
    if not raw.startswith(TOKEN_PREFIX):
        return None
    return Device.objects.filter(token_hash=token_hash(raw)).first()


def desired_state_set(*, device: Device, role: str, spec: Mapping[str, Any]) -> DesiredState:
    """Store what a role of a device should make true; the agent hears of it once the transaction commits.

    Setting the same spec again changes nothing, not even the revision.

    Raises:
        InvalidInputError: the device does not have the role.
    """
    if role not in device.roles:
        raise InvalidInputError(
            "role", f"{device.name} has the roles {', '.join(device.roles) or 'none'}, not {role}"
        )
    with transaction.atomic():
        state, is_new = DesiredState.objects.select_for_update().get_or_create(
            device=device, role=role, defaults={"spec": dict(spec)}
        )
        if not is_new:
            if state.spec == dict(spec):
                return state
            state.spec = dict(spec)
            state.revision += 1
            state.changed_at = timezone.now()
            state.save(update_fields=["spec", "revision", "changed_at"])
        transaction.on_commit(lambda: _notify(device.pk, "desired.changed"), robust=True)
    return state


def desired_state_applied(*, device_id: int, role: str, revision: int, ok: bool, error: str | None) -> None:
    """Record what the agent says of a revision; an answer about an older revision than the last is ignored."""
    DesiredState.objects.filter(device_id=device_id, role=role).exclude(applied_revision__gt=revision).update(
        applied_revision=revision,
        applied_ok=ok,
        applied_error=(error or "")[:2000],
        applied_at=timezone.now(),
    )


def agent_group(device_id: int) -> str:
    """Return the channel-layer group on which the session of a device listens."""
    return f"agent.{device_id}"


def _notify(device_id: int, message: str) -> None:
    """Wake the device's session, wherever it lives; a broker that is away costs a delay until the next sweep."""
    layer = get_channel_layer()
    assert layer is not None
    async_to_sync(layer.group_send)(agent_group(device_id), {"type": message})
