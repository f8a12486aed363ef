"""The catalogue: types of network functions that people add and change."""

from collections.abc import Callable, Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.http import Http404

from apps.chains.chain_definition import fields_of, service_parse, text_of, type_slug
from apps.chains.models import Chain, NfType
from apps.chains.plan_json import profile_parse, profile_to_json
from apps.chains.services.chains import Actor, name_of
from nfvportal.audit.services import audit_record
from nfvportal.lib.errors import InvalidInputError

Check = Callable[[NfType], None]
FIELDS = ("slug", "title", "description", "profile", "service", "provenance", "implementation")
SERVICE_DEFAULT = {"mean_us": 10.0, "scv": 1.0, "is_waiting": False}


def nf_type_parse(data: object, *, is_partial: bool = False) -> dict[str, Any]:
    """Return the fields of a type, checked; of a partial change, only those given.

    Raises:
        InvalidInputError: naming the field and the limit.
    """
    required = () if is_partial else ("slug", "title", "profile")
    fields = fields_of("", data, required=required, optional=tuple(n for n in FIELDS if n not in required))
    checks: dict[str, Callable[[object], Any]] = {
        "slug": lambda value: type_slug("slug", value),
        "title": lambda value: text_of("title", value, 100),
        "description": lambda value: text_of("description", value, 2000),
        "profile": lambda value: profile_to_json(profile_parse("profile", value)),
        "service": lambda value: service_parse("service", value),
        "provenance": lambda value: text_of("provenance", value, 300),
        "implementation": _implementation,
    }
    parsed = {name: checks[name](value) for name, value in fields.items()}
    if not is_partial:
        parsed.setdefault("service", dict(SERVICE_DEFAULT))
    if parsed.get("title") == "":
        raise InvalidInputError("title", "must be text of 1 to 100 characters")
    return parsed


def nf_type_create(*, fields: Mapping[str, Any], actor: Actor) -> NfType:
    """Store a new type.

    Raises:
        InvalidInputError: the slug is taken.
    """
    with transaction.atomic():
        try:
            with transaction.atomic():
                row = NfType.objects.create(**fields, updated_by=name_of(actor))
        except IntegrityError as error:
            raise InvalidInputError("slug", f"must be new; there is a type {fields['slug']}") from error
        audit_record(
            actor=actor,
            action="chains.nf_type_create",
            subject=row.slug,
            before=None,
            after=nf_type_edited(row),
        )
    return row


def nf_type_update(
    *, slug: str, fields: Mapping[str, Any], actor: Actor, check: Check | None = None
) -> NfType:
    """Change a type; plans that exist keep the profile they were made from.

    Raises:
        Http404: there is no such type.
        InvalidInputError: the slug would change, which chains refer to.
    """
    if fields.get("slug", slug) != slug:
        raise InvalidInputError("slug", f"must stay {slug}; make a new type for another slug")
    with transaction.atomic():
        row = _locked(slug)
        if check is not None:
            check(row)
        before = nf_type_edited(row)
        for name, value in fields.items():
            setattr(row, name, value)
        if nf_type_edited(row) == before:
            return row
        row.version += 1
        row.updated_by = name_of(actor)
        row.save()
        audit_record(
            actor=actor,
            action="chains.nf_type_update",
            subject=slug,
            before=before,
            after=nf_type_edited(row),
        )
    return row


def nf_type_delete(*, slug: str, actor: Actor, check: Check | None = None) -> None:
    """Delete a type that no chain uses; those that come with the portal stay.

    Raises:
        Http404: there is no such type.
        InvalidInputError: it is built in, or a chain uses it.
    """
    with transaction.atomic():
        row = _locked(slug)
        if check is not None:
            check(row)
        if row.is_builtin:
            raise InvalidInputError("", f"{slug} comes with the portal; it can be changed, not deleted")
        users = Chain.objects.filter(definition__nfs__contains=[{"type": slug}]).values_list(
            "name", flat=True
        )
        if users:
            raise InvalidInputError("", f"{slug} is used by {', '.join(users[:5])}; change these first")
        before = nf_type_edited(row)
        row.delete()
        audit_record(actor=actor, action="chains.nf_type_delete", subject=slug, before=before, after=None)


def _implementation(value: object) -> str:
    return type_slug("implementation", value) if value != "" else ""


def _locked(slug: str) -> NfType:
    row = NfType.objects.select_for_update().filter(slug=slug).first()
    if row is None:
        raise Http404(f"no type {slug}")
    return row


def nf_type_edited(row: NfType) -> dict[str, Any]:
    """Return the fields that people edit, for audit and comparison."""
    return {name: getattr(row, name) for name in FIELDS}
