"""Maps: a new epoch only when something moves, pushed to both gateways, numbered without a gap by many at once."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.wan.models import LinkState, MapEpoch, SitePair, VirtualSubnet, WanLink
from apps.wan.services.maps import map_replan, map_set
from apps.wan.tasks import reconcile, replan
from nfvportal.audit.models import AuditEntry
from nfvportal.events.models import Event
from nfvportal.inventory.models import DesiredState, Device
from nfvportal.lib.errors import InvalidInputError
from tests.support.demo import failed_event, restored_event

pytestmark = pytest.mark.django_db
HOME = {"1": "fiber", "2": "dsl", "3": "lte"}
LINKS = ("fiber", "dsl", "lte")
STATES = ("up", "down", "hold_down", "unknown")


def say(link: str, state: str, device: str = "gw-a") -> None:
    """Let a gateway say something of a link."""
    LinkState.objects.update_or_create(
        wan_link=WanLink.objects.get(link__name=link),
        device=Device.objects.get(name=device),
        defaults={"state": state, "since": timezone.now()},
    )


def _pushed() -> set[tuple[str, int, str]]:
    """Return (device, epoch, map) of the gateways' desired states."""
    states = DesiredState.objects.filter(role="wan.gateway").select_related("device")
    return {(state.device.name, state.spec["epoch"], str(state.spec["map"])) for state in states}


def test_replan_writes_nothing_while_the_map_holds(pair: SitePair) -> None:
    before = (MapEpoch.objects.count(), Event.objects.count(), AuditEntry.objects.count(), _pushed())
    assert map_replan(pair_id=pair.pk, reason="again") is None
    say("dsl", "up")
    assert map_replan(pair_id=pair.pk, reason="again") is None
    reconcile()
    assert (MapEpoch.objects.count(), Event.objects.count(), AuditEntry.objects.count(), _pushed()) == before


@pytest.mark.parametrize("state", ["down", "hold_down"])
@pytest.mark.parametrize("device", ["gw-a", "gw-b"])
def test_word_of_one_gateway_moves_the_subnet_and_back(state: str, device: str, pair: SitePair) -> None:
    say("dsl", "up", "gw-a")
    say("dsl", "up", "gw-b")
    say("dsl", state, device)
    replan(failed_event("dsl").pk)
    epoch = MapEpoch.objects.get(number=2)
    assert (epoch.reason, epoch.actor) == ("dsl failed", "gateways")
    assert epoch.mapping["2"] in {"fiber", "lte"}
    assert {**epoch.mapping, "2": "dsl"} == HOME
    assert _pushed() == {(name, 2, str(epoch.mapping)) for name in ("gw-a", "gw-b")}
    event = Event.objects.get(type="wan.map_changed", data__number=2)
    assert (event.subject, event.data["mapping"]) == ("branch-hq", epoch.mapping)
    replan(failed_event("dsl").pk)
    assert MapEpoch.objects.count() == 2, "told twice, nothing new"
    say("dsl", "up", device)
    replan(restored_event("dsl").pk)
    last = MapEpoch.objects.get(number=3)
    assert (last.mapping, last.reason) == (HOME, "dsl is back")


def test_with_every_link_down_the_map_stays(pair: SitePair) -> None:
    for link in LINKS:
        say(link, "down")
    assert map_replan(pair_id=pair.pk, reason="all down") is None


def test_replan_of_a_link_that_is_none_of_ours_does_nothing(pair: SitePair) -> None:
    replan(failed_event("nowhere").pk)
    assert MapEpoch.objects.count() == 1


states = st.lists(
    st.tuples(st.sampled_from(LINKS), st.sampled_from(["gw-a", "gw-b"]), st.sampled_from(STATES)), max_size=8
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states)
def test_after_any_words_every_subnet_is_at_home_or_on_a_living_link(
    pair: SitePair, words: list[tuple[str, str, str]]
) -> None:
    """The dumb twin: a subnet is away from home only while home is bad, and on a bad link only when all are."""
    with transaction.atomic():
        for link, device, state in words:
            say(link, state, device)
        newest = map_replan(pair_id=pair.pk, reason="test") or MapEpoch.objects.latest("number")
        bad = _bad({(link, device): state for link, device, state in words}.items())
        for index, link in newest.mapping.items():
            assert link == HOME[index] or HOME[index] in bad
            assert link not in bad or bad == set(LINKS)
        assert map_replan(pair_id=pair.pk, reason="test") is None
        transaction.set_rollback(True)


def _bad(said: Iterable[tuple[tuple[str, str], str]]) -> set[str]:
    return {link for (link, _), state in said if state in ("down", "hold_down")}


def test_operator_s_homes_hold_and_leave_the_others(pair: SitePair) -> None:
    user = User.objects.create_user("operator")
    epoch = map_set(pair=pair, homes={1: "lte"}, actor=user, reason="test drive")
    assert (epoch.mapping, epoch.actor, epoch.reason) == ({**HOME, "1": "lte"}, "operator", "test drive")
    entry = AuditEntry.objects.get(action="wan.map_set")
    assert (entry.actor, entry.subject, entry.before, entry.after) == (
        "operator",
        "branch-hq",
        HOME,
        epoch.mapping,
    )
    assert map_replan(pair_id=pair.pk, reason="again") is None
    assert VirtualSubnet.objects.get(index=1).home == WanLink.objects.get(link__name="lte")
    assert VirtualSubnet.objects.get(index=2).home is None


def test_home_on_a_failed_link_waits_until_it_is_back(pair: SitePair) -> None:
    say("lte", "down")
    epoch = map_set(pair=pair, homes={1: "lte"}, actor=User.objects.create_user("operator"))
    assert epoch.mapping["1"] != "lte"
    assert DesiredState.objects.get(device__name="gw-a", role="wan.gateway").spec["home"]["1"] == "lte"
    say("lte", "up")
    later = map_replan(pair_id=pair.pk, reason="lte is back")
    assert later is not None
    assert later.mapping == {**HOME, "1": "lte"}


@pytest.mark.parametrize(
    ("homes", "field"),
    [({9: "fiber"}, "mapping.9"), ({1: "lte", 2: "nowhere"}, "mapping.2"), ({1: ""}, "mapping.1")],
)
def test_unknown_subnets_and_links_are_refused_and_nothing_is_half_done(
    homes: dict[int, str], field: str, pair: SitePair
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        map_set(pair=pair, homes=homes, actor=User.objects.create_user("operator"))
    assert refused.value.field == field
    assert "must be one of" in refused.value.limit
    assert MapEpoch.objects.count() == 1
    assert not VirtualSubnet.objects.exclude(home=None).exists()
    assert not AuditEntry.objects.filter(action="wan.map_set").exists()


def _at_once(count: int, act: Any) -> list[Any]:
    def run(number: int) -> Any:
        try:
            return act(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.django_db(transaction=True)
def test_many_at_once_number_their_epochs_without_gap_or_double(pair: SitePair) -> None:
    user = User.objects.create_user("operator")
    say("dsl", "down")

    def act(number: int) -> MapEpoch | None:
        if number % 2:
            return map_replan(pair_id=pair.pk, reason="at once")
        return map_set(pair=pair, homes={1: LINKS[number % 3]}, actor=user)

    done = _at_once(8, act)
    numbers = sorted(MapEpoch.objects.values_list("number", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) == 1 + sum(epoch is not None for epoch in done)
    newest = MapEpoch.objects.latest("number")
    assert _pushed() == {(name, newest.number, str(newest.mapping)) for name in ("gw-a", "gw-b")}


@pytest.mark.django_db(transaction=True)
def test_many_at_once_find_one_change_once(pair: SitePair) -> None:
    say("fiber", "down")
    done = _at_once(6, lambda _: map_replan(pair_id=pair.pk, reason="fiber failed"))
    assert sum(epoch is not None for epoch in done) == 1
    assert MapEpoch.objects.count() == 2
