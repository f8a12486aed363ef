"""Maps: the portal's view of which link carries which virtual subnet, and why."""

from collections.abc import Iterable, Mapping

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction

from apps.wan.engine.map_planner import plan_map
from apps.wan.mapping import home_of, mapping_from_json, mapping_to_json, weights_of, worst_state
from apps.wan.models import MapEpoch, SitePair, WanLink
from apps.wan.selectors import map_data, subflow_list
from apps.wan.services.specs import pair_push
from nfvportal.audit.services import audit_record
from nfvportal.events.services import event_publish
from nfvportal.lib.errors import InvalidInputError
from nfvportal.live.publish import publish

GATEWAYS = "gateways"


def map_replan(*, pair_id: int, reason: str) -> MapEpoch | None:
    """Compute the pair's map from what its gateways say, and push it when it changed.

    Returns the new epoch, ``None`` when the newest one still holds. Safe to run twice and at the same time: the pair's
    row is locked.
    """
    with transaction.atomic():
        pair = (
            SitePair.objects.select_for_update(of=("self",))
            .select_related("gateway_a", "gateway_b")
            .get(pk=pair_id)
        )
        links = list(pair.links.select_related("link").prefetch_related("states"))
        subnets = list(pair.subnets.select_related("home__link"))
        newest = pair.epochs.order_by("-number").first()
        current = mapping_from_json(newest.mapping) if newest else {}
        plan = plan_map(
            [row.index for row in subnets],
            weights_of(links),
            _links_up(links),
            home_of(subnets, links),
            current,
        )
        if newest is not None and not plan.moves:
            return None
        return _epoch_start(pair, dict(plan.mapping), reason=reason, actor=GATEWAYS)


def map_set(
    *, pair: SitePair, homes: Mapping[int, str], actor: AbstractBaseUser | AnonymousUser, reason: str = ""
) -> MapEpoch:
    """Let an operator decide where virtual subnets are at home; gateways move them at once where the link is up.

    Args:
        homes: index -> link name; indices that are left out stay.

    Raises:
        InvalidInputError: an index or a link is unknown.
    """
    with transaction.atomic():
        pair = (
            SitePair.objects.select_for_update(of=("self",))
            .select_related("gateway_a", "gateway_b")
            .get(pk=pair.pk)
        )
        links = {row.link.name: row for row in pair.links.select_related("link").prefetch_related("states")}
        subnets = {row.index: row for row in pair.subnets.select_related("home__link")}
        before = mapping_to_json(home_of(subnets.values(), links.values()))
        for index, name in homes.items():
            if index not in subnets:
                raise InvalidInputError(f"mapping.{index}", f"must be one of {', '.join(map(str, subnets))}")
            if name not in links:
                raise InvalidInputError(f"mapping.{index}", f"must be one of {', '.join(links)}")
            subnets[index].home = links[name]
            subnets[index].save(update_fields=["home"])
        home = home_of(subnets.values(), links.values())
        newest = pair.epochs.order_by("-number").first()
        current = mapping_from_json(newest.mapping) if newest else {}
        plan = plan_map(list(subnets), weights_of(links.values()), _links_up(links.values()), home, current)
        audit_record(
            actor=actor, action="wan.map_set", subject=pair.name, before=before, after=mapping_to_json(home)
        )
        name = actor.get_username() if not isinstance(actor, AnonymousUser) else ""
        return _epoch_start(pair, dict(plan.mapping), reason=reason or "set by an operator", actor=name)


def map_ensure(pair: SitePair) -> MapEpoch:
    """Return the pair's newest map; make and push the first one, the home map, when there is none."""
    newest = pair.epochs.order_by("-number").first()
    if newest is None:
        newest = map_replan(pair_id=pair.pk, reason="first map")
        assert newest is not None
    pair_push(pair, newest)
    return newest


def _links_up(links: Iterable[WanLink]) -> set[str]:
    """Return the links that no gateway calls down; before any word came, all."""
    up = set()
    for row in links:
        state = worst_state(row.states.all())
        if state is None or state.state in ("up", "unknown"):
            up.add(row.link.name)
    return up


def _epoch_start(pair: SitePair, mapping: dict[int, str], *, reason: str, actor: str) -> MapEpoch:
    newest = pair.epochs.order_by("-number").first()
    epoch = MapEpoch.objects.create(
        pair=pair,
        number=newest.number + 1 if newest else 1,
        mapping=mapping_to_json(mapping),
        reason=reason[:200],
        actor=actor,
    )
    epoch.refresh_from_db(fields=["created_at"])
    pair_push(pair, epoch)
    event_publish(
        type="wan.map_changed",
        at_s=epoch.created_at.timestamp(),
        severity="info",
        subject=pair.name,
        data={"number": epoch.number, "mapping": epoch.mapping, "reason": epoch.reason, "actor": actor},
    )
    transaction.on_commit(
        lambda: publish(
            "wan", "map_changed", {"map": map_data(epoch), "subflows": subflow_list(epoch.mapping)}
        ),
        robust=True,
    )
    return epoch


def pair_of_link(name: str) -> int | None:
    """Return the site pair that a link belongs to."""
    return WanLink.objects.filter(link__name=name).values_list("pair_id", flat=True).first()
