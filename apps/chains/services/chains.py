"""Chains: create, change, delete, restore. Every version is kept."""

from collections.abc import Callable

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.chains.chain_definition import Definition, definition_parse, settings_check
from apps.chains.mapping import definition_of, engine_chain
from apps.chains.models import OPEN_STATUSES, Chain, ChainRevision
from apps.chains.selectors import chain_get
from apps.chains.services.analysis import types_of
from apps.chains.services.announcements import announce_chain, announce_removed
from nfvportal.audit.services import audit_record
from nfvportal.lib.errors import InvalidInputError

Actor = AbstractBaseUser | AnonymousUser | None
# Called with the locked row before anything is written; raises when it is not the version that the caller read.
Check = Callable[[Chain], None]


def chain_create(*, definition: Definition, actor: Actor, note: str = "") -> Chain:
    """Store a new chain as version 1.

    Raises:
        InvalidInputError: the name is taken, or a type is not in the catalogue.
    """
    definition_check(definition)
    with transaction.atomic():
        try:
            with transaction.atomic():
                row = Chain.objects.create(
                    name=definition["name"],
                    title=definition["title"],
                    definition=dict(definition),
                    updated_at=timezone.now(),
                    updated_by=name_of(actor),
                )
        except IntegrityError as error:
            raise InvalidInputError("name", f"must be new; there is a chain {definition['name']}") from error
        _revision_add(row, actor, note or "created")
        audit_record(
            actor=actor, action="chains.chain_create", subject=row.name, before=None, after=row.definition
        )
        announce_chain(row)
    return chain_get(row.name)


def chain_update(
    *, name: str, definition: Definition, actor: Actor, check: Check | None = None, note: str = ""
) -> Chain:
    """Store a new version of a chain; what is deployed stays until a plan of the new version is applied.

    Raises:
        Http404: there is no such chain.
        InvalidInputError: the name differs, or a type is not in the catalogue.
    """
    if definition["name"] != name:
        raise InvalidInputError("name", f"must stay {name}; make a new chain for another name")
    definition_check(definition)
    with transaction.atomic():
        row = _locked(name)
        if check is not None:
            check(row)
        before = definition_of(row)
        if before == definition:
            return chain_get(name)
        row.definition, row.title = dict(definition), definition["title"]
        row.version += 1
        row.updated_at, row.updated_by = timezone.now(), name_of(actor)
        row.save(update_fields=["definition", "title", "version", "updated_at", "updated_by"])
        _revision_add(row, actor, note)
        audit_record(
            actor=actor, action="chains.chain_update", subject=name, before=before, after=row.definition
        )
        announce_chain(row)
    return chain_get(name)


def chain_restore(*, name: str, version: int, actor: Actor, check: Check | None = None) -> Chain:
    """Make an earlier version the newest again.

    Raises:
        Http404: there is no such chain.
        InvalidInputError: it has no such version.
    """
    revision = ChainRevision.objects.filter(chain__name=chain_get(name).name, version=version).first()
    if revision is None:
        raise InvalidInputError("version", f"must be one of the versions of {name}")
    definition = definition_parse(revision.definition)
    return chain_update(
        name=name, definition=definition, actor=actor, check=check, note=f"version {version} restored"
    )


def chain_delete(*, name: str, actor: Actor, check: Check | None = None) -> None:
    """Delete a chain with its history.

    Raises:
        Http404: there is no such chain.
        InvalidInputError: it is deployed.
    """
    with transaction.atomic():
        row = _locked(name)
        if check is not None:
            check(row)
        if row.deployments.filter(status__in=OPEN_STATUSES).exists():
            raise InvalidInputError("", f"{name} is deployed; remove it from the devices first")
        before = row.definition
        row.deployments.all().delete()
        row.delete()
        audit_record(actor=actor, action="chains.chain_delete", subject=name, before=before, after=None)
        announce_removed(name)


def definition_check(definition: Definition) -> None:
    """Refuse what the catalogue does not know, and settings that an implementation would refuse.

    Settings that are left out altogether may follow later: a chain can be drawn and planned before all are known.

    Raises:
        InvalidInputError: naming the field and the limit.
    """
    rows = {row.slug: row for row in types_of(definition)}
    engine_chain(definition, rows.values())
    for index, nf in enumerate(definition["nfs"]):
        if nf["params"]:
            settings_check(f"nfs[{index}]", rows[nf["type"]].implementation, nf["params"])


def name_of(actor: Actor) -> str:
    """Return who did it, empty for the portal itself."""
    return actor.get_username() if actor is not None and not isinstance(actor, AnonymousUser) else ""


def _locked(name: str) -> Chain:
    chain_get(name)
    return Chain.objects.select_for_update().get(name=name)


def _revision_add(row: Chain, actor: Actor, note: str) -> None:
    ChainRevision.objects.create(
        chain=row,
        version=row.version,
        title=row.title,
        definition=row.definition,
        note=note[:200],
        created_by=name_of(actor),
    )
