"""Placements of many chains over the servers at hand: computed, compared with the one before, stored."""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from django.db import transaction

from apps.chains.chain_definition import flag, list_of, number, slug
from apps.chains.engine.chain import Chain as EngineChain
from apps.chains.engine.chain import Server
from apps.chains.engine.hybrid import Infeasible
from apps.chains.engine.placement import PlacementTask
from apps.chains.engine.placement_demand import demand_of
from apps.chains.engine.placement_planner import DEMANDS_MAX, Effort, place
from apps.chains.mapping import definition_of, engine_chain
from apps.chains.models import Chain, ChainPlacement, Deployment, NfType
from apps.chains.placement_json import before_from_json, placement_to_json
from apps.chains.services.announcements import announce_placement
from apps.chains.services.calibration import constants_now, services_now
from apps.chains.services.chains import Actor, name_of
from apps.chains.services.plans import cores_used, servers_at_hand
from nfvportal.events.services import event_publish
from nfvportal.lib.errors import InvalidInputError

# What only improves an answer, or its bound, stops after this.
IMPROVE_S: Final = 240.0
Progress = Callable[[float, str], None]


def _quiet(ratio: float, words: str) -> None:
    del ratio, words


@dataclass(frozen=True, slots=True)
class PlacementAsk:
    """What somebody wants placed.

    Args:
        chains: names; empty for all.
        weights: chain -> what its refusal costs; 1 where nothing is said.
        instance_cores: of a server, that one instance of a busy type owns.
        is_fresh: do not look at the placement before, however many buckets move.
    """

    chains: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    instance_cores: float = 1.0
    is_fresh: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "chains": list(self.chains),
            "weights": dict(self.weights),
            "instance_cores": self.instance_cores,
            "is_fresh": self.is_fresh,
        }


def placement_ask_parse(data: Mapping[str, Any]) -> PlacementAsk:
    """Return what is asked for, with every field checked.

    Raises:
        InvalidInputError: naming the field and the limit; chains that are not there, too.
    """
    names = list_of("chains", data.get("chains", []), 0, DEMANDS_MAX, "names of chains")
    chosen = tuple(dict.fromkeys(slug(f"chains[{index}]", name) for index, name in enumerate(names)))
    weights = data.get("weights", {})
    if not isinstance(weights, Mapping) or len(weights) > DEMANDS_MAX:
        raise InvalidInputError("weights", f"must be an object of at most {DEMANDS_MAX} names and numbers")
    ask = PlacementAsk(
        chosen,
        {
            slug("weights", name): number(f"weights.{name}", value, 0.001, 1e6)
            for name, value in weights.items()
        },
        number("instance_cores", data.get("instance_cores", 1.0), 0.01, 1.0),
        flag("is_fresh", data.get("is_fresh", False)),
    )
    known = set(Chain.objects.values_list("name", flat=True))
    if not known:
        raise InvalidInputError("chains", "must be at least one; no chain is drawn yet")
    for where, asked in (("chains", ask.chains), ("weights", ask.weights)):
        for name in asked:
            if name not in known:
                raise InvalidInputError(where, f"must be chains that are there; {name} is not")
    return ask


def placement_make(
    *,
    ask: PlacementAsk,
    actor: Actor = None,
    job_id: uuid.UUID | None = None,
    progress: Progress = _quiet,
) -> ChainPlacement:
    """Place chains over the servers at hand and store the answer; nothing is applied.

    Args:
        job_id: a job that runs twice gets the placement of its first run.
        progress: told the share done and a few words; may raise to stop.

    Raises:
        InvalidInputError: a chain or a type is not there any more.
    """
    if job_id is not None and (known := ChainPlacement.objects.filter(job_id=job_id).first()):
        return known
    started_s = time.monotonic()
    progress(0.02, "reading chains and servers")
    previous = None if ask.is_fresh else placement_newest()
    task = _task(ask)
    before = before_from_json("previous", previous.content) if previous is not None else None
    effort = Effort(is_over=lambda: time.monotonic() - started_s > IMPROVE_S, progress=progress)
    answer = place(task, before=before, effort=effort)
    content = placement_to_json(answer, task)
    progress(0.95, "storing")
    with transaction.atomic():
        row, is_new = ChainPlacement.objects.get_or_create(
            job_id=job_id or uuid.uuid4(),
            defaults={
                "is_feasible": not isinstance(answer, Infeasible),
                "admitted_count": len(content.get("chains", ())),
                "refused_count": len(content.get("refused", task.demands)),
                "moved_buckets": content.get("moved_buckets", 0),
                "content": content,
                "asked": ask.as_json(),
                "previous": previous,
                "took_s": time.monotonic() - started_s,
                "created_by": name_of(actor),
            },
        )
        if is_new:
            row.refresh_from_db(fields=["created_at"])
            _log(row)
            announce_placement(row)
    return row


def placement_newest() -> ChainPlacement | None:
    """Return the newest placement that is one."""
    return ChainPlacement.objects.filter(is_feasible=True).first()


def _task(ask: PlacementAsk) -> PlacementTask:
    rows = Chain.objects.order_by("name")
    rows = rows.filter(name__in=ask.chains) if ask.chains else rows
    chains = list(rows[: DEMANDS_MAX + 1])
    missing = set(ask.chains) - {row.name for row in chains}
    if missing or not chains:
        raise InvalidInputError("chains", f"do not exist any more: {', '.join(sorted(missing)) or 'all'}")
    servers = _servers([row.name for row in chains])
    constants = constants_now("")
    return PlacementTask(
        tuple(
            demand_of(
                chain,
                constants,
                weight=ask.weights.get(chain.name, 1.0),
                cores=ask.instance_cores,
                servers=servers,
            )
            for chain in _engine_chains(chains)
        ),
        servers,
        constants,
    )


def _servers(names: Iterable[str]) -> tuple[Server, ...]:
    """Return the servers at hand, without the cores that deployed chains beyond these take."""
    used = cores_used(Deployment.objects.filter(is_active=True).exclude(chain__name__in=list(names)))
    return tuple(
        replace(server, cores=max(0.0, server.cores - used.get(server.name, 0.0)))
        for server in servers_at_hand()
    )


def _engine_chains(rows: Sequence[Chain]) -> list[EngineChain]:
    """Return chains as the engine takes them; deployed ones with measured service times. Queries per deployed chain."""
    types = list(NfType.objects.all())
    active = set(Deployment.objects.filter(is_active=True).values_list("chain_id", flat=True))
    found = []
    for row in rows:
        definition = definition_of(row)
        chain = engine_chain(definition, types)
        if row.pk in active:
            chain = services_now(chain, [nf["name"] for nf in definition["nfs"] if "service" in nf])
        found.append(chain)
    return found


def _log(row: ChainPlacement) -> None:
    event_publish(
        type="chains.placement_ready",
        at_s=row.created_at.timestamp(),
        severity="info" if row.is_feasible and not row.refused_count else "warning",
        subject=f"placement {row.pk}",
        data={
            "placement": row.pk,
            "admitted": row.admitted_count,
            "refused": row.refused_count,
            "moved_buckets": row.moved_buckets,
        },
    )
