"""What sensors send becomes connections: stored, told, kept over restarts, one writer at a time."""

import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection as database

from apps.mptcp.engine.capture import CaptureDecoder
from apps.mptcp.engine.record_batch import records_to_columns
from apps.mptcp.engine.records import PacketRecords
from apps.mptcp.models import AssociationDomain, ChangeLog, Connection, Observer, Subflow
from apps.mptcp.record_log import log_append, log_entries, log_last
from apps.mptcp.selectors import domain_data
from apps.mptcp.services import live_association
from apps.mptcp.services.leases import LOCK_CLASS
from apps.mptcp.services.live_association import domain_associate
from apps.mptcp.services.samples import observer_make, sensor_samples_ingest
from nfvportal.inventory.models import Device, DeviceKind, Site
from tests.support.mptcp_packets import Segment
from tests.support.mptcp_scene import SceneConnection, capture_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def gateway() -> Device:
    site = Site.objects.create(name=f"branch-{time.time_ns()}")
    return Device.objects.create(name="gw", site=site, kind=DeviceKind.GATEWAY, roles=["mptcp.sensor"])


def records_of(segments: list[Segment]) -> PacketRecords:
    return CaptureDecoder().feed(capture_of(segments, start_s=time.time()))


def seen(gateway: Device, segments: list[Segment]) -> AssociationDomain:
    """Let the gateway's sensor send packets, and a worker take them."""
    sensor_samples_ingest(device_name=gateway.name, columns=records_to_columns(records_of(segments)))
    domain = AssociationDomain.objects.get()
    while domain_associate(domain_id=domain.pk):
        pass
    domain.refresh_from_db()
    return domain


def forget_memory() -> None:
    """What a new process knows: nothing."""
    live_association._held.clear()


def shape() -> list[tuple[int, str, list[tuple[str, int]]]]:
    """Return every connection that is not gone with its subflows."""
    return [
        (row.engine_id, row.state, sorted(row.subflows.values_list("a", "a_port")))
        for row in Connection.objects.exclude(state="gone").order_by("engine_id")
    ]


def test_samples_become_a_connection_with_its_subflows(gateway: Device) -> None:
    scene = SceneConnection(1)
    segments = scene.handshake() + scene.join() + scene.join() + scene.data(30)
    domain = seen(gateway, segments)
    (row,) = Connection.objects.exclude(state="gone")
    assert (row.domain, row.state, row.subflow_count) == (domain, "active", 3)
    assert scene.token in row.tokens
    assert domain.record_count == len(segments)
    assert domain.position == log_last(domain.pk)
    (observer,) = Observer.objects.all()
    assert set(Subflow.objects.values_list("seen_by", flat=True).distinct()[0]) == {observer.number}


def test_a_new_process_goes_on_where_the_old_one_ended(gateway: Device) -> None:
    scene = SceneConnection(1)
    seen(gateway, scene.handshake() + scene.data(5))
    forget_memory()
    seen(gateway, scene.join() + scene.data(5))
    forget_memory()
    seen(gateway, scene.join() + scene.data(5))
    assert [len(flows) for _, _, flows in shape()] == [3]


def test_a_new_process_keeps_the_points_of_the_old_one(gateway: Device) -> None:
    scene = SceneConnection(1)

    def points() -> dict[str, list[tuple[float, int]]]:
        rows = Subflow.objects.filter(connection__in=Connection.objects.exclude(state="gone"))
        return {row.a: list(zip(row.points["at_s"], row.points["dsn"], strict=True)) for row in rows}

    seen(gateway, scene.handshake() + scene.join() + scene.data(6))
    domain = AssociationDomain.objects.get()
    before = points()
    assert sum(len(told) for told in before.values()) == 6
    forget_memory()
    seen(gateway, scene.join() + scene.data(6))
    after = points()
    assert sum(len(told) for told in after.values()) == 12
    assert all(after[end][: len(told)] == told for end, told in before.items())
    # A process that replays what was stored already keeps each point once.
    assert domain.snapshot_position != log_last(domain.pk)
    forget_memory()
    seen(gateway, scene.join())
    again = points()
    assert {end: again[end] for end in after} == after


def test_process_killed_before_it_stored_loses_nothing(
    gateway: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = SceneConnection(1)
    domain = seen(gateway, scene.handshake() + scene.data(5))
    sensor_samples_ingest(
        device_name=gateway.name, columns=records_to_columns(records_of(scene.join() + scene.data(5)))
    )

    def die(**_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(live_association, "changes_store", die)
        with pytest.raises(KeyboardInterrupt):
            domain_associate(domain_id=domain.pk)
    assert [len(flows) for _, _, flows in shape()] == [1], "nothing was stored by halves"
    forget_memory()
    domain_associate(domain_id=domain.pk)
    assert [len(flows) for _, _, flows in shape()] == [2]


def test_replayed_processes_agree_with_one_that_never_stopped(gateway: Device) -> None:
    scenes = [SceneConnection(number) for number in range(1, 6)]
    batches = [[segment for scene in scenes for segment in scene.handshake()]]
    for _ in range(2):
        batches.append([segment for scene in scenes for segment in scene.join() + scene.data(4)])
    for batch in batches:
        seen(gateway, batch)
    steady = shape()
    domain = AssociationDomain.objects.get()
    Connection.objects.all().delete()
    domain.position, domain.snapshot, domain.snapshot_position = "0-0", None, "0-0"
    domain.save()
    forget_memory()
    # The first snapshot trimmed nothing but what it covers: here all is still in the log but its first entries.
    entries = list(log_entries(domain.pk, "0-0", 100))
    assert entries
    while domain_associate(domain_id=domain.pk):
        forget_memory()
    assert [flows for _, _, flows in shape()] == [flows for _, _, flows in steady]


def test_log_is_trimmed_only_as_far_as_a_snapshot_covers(gateway: Device) -> None:
    scene = SceneConnection(1)
    first = seen(gateway, scene.handshake())
    assert first.snapshot_position == first.position
    second = seen(gateway, scene.data(5))
    assert second.snapshot_position == first.position, "the next snapshot is not due yet"
    assert [entry.position for entry in log_entries(second.pk, first.position, 10)] == [second.position]


def test_second_writer_is_turned_away(gateway: Device) -> None:
    scene = SceneConnection(1)
    domain = seen(gateway, scene.handshake())
    position = domain.position
    log_append(domain.pk, records_of(scene.data(5)), time.time())
    import psycopg2

    settings = database.settings_dict
    other = psycopg2.connect(dbname=settings["NAME"], user=settings["USER"], host=settings["HOST"])
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, domain.pk])
        assert domain_associate(domain_id=domain.pk) is False
        domain.refresh_from_db()
        assert domain.position == position
    finally:
        other.close()
    domain_associate(domain_id=domain.pk)
    domain.refresh_from_db()
    assert domain.position != position


def test_writer_that_was_overtaken_stores_nothing(gateway: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = SceneConnection(1)
    domain = seen(gateway, scene.handshake())
    log_append(domain.pk, records_of(scene.data(5)), time.time())
    real = live_association._refreshed

    def overtaken(*args: Any) -> Any:
        AssociationDomain.objects.filter(pk=domain.pk).update(position="99999999999999-0")
        return real(*args)

    monkeypatch.setattr(live_association, "_refreshed", overtaken)
    before = ChangeLog.objects.count()
    assert domain_associate(domain_id=domain.pk) is True
    assert ChangeLog.objects.count() == before
    assert Subflow.objects.get().packet_count == 3


def test_full_log_refuses_and_counts_what_comes_and_keeps_what_it_has(
    gateway: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.mptcp.record_log.ENTRIES_MAX", 1)
    scene = SceneConnection(1)
    columns = records_to_columns(records_of(scene.handshake()))
    assert sensor_samples_ingest(device_name=gateway.name, columns=columns) == 3
    assert sensor_samples_ingest(device_name=gateway.name, columns=columns) == 0
    domain = AssociationDomain.objects.get()
    assert domain.dropped_count == 3
    told_s = domain_data(domain, ())["dropped_at_s"]
    assert told_s is not None
    assert abs(told_s - time.time()) < 60, "who reads of a loss wants to know whether it is over"
    domain_associate(domain_id=domain.pk)
    assert [len(flows) for _, _, flows in shape()] == [1]


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"records": ["@@"], "count": [1]},
        {"records": ["x" * 10_000_000], "count": [1]},
        {"records": [7], "count": [1]},
        {"records": [None], "count": [-1]},
        {"records": "text", "count": [1]},
    ],
)
def test_batches_that_are_none_are_refused(gateway: Device, columns: Any) -> None:
    assert sensor_samples_ingest(device_name=gateway.name, columns=columns) == 0
    assert not Connection.objects.exists()


def test_changes_are_logged_in_order_with_the_subflow(gateway: Device) -> None:
    scene = SceneConnection(1)
    seen(gateway, scene.handshake() + scene.data(3))
    seen(gateway, scene.join())
    kinds = list(ChangeLog.objects.order_by("pk").values_list("kind", flat=True))
    assert kinds[0] == "connection_found"
    assert "subflow_joined" in kinds
    joined = ChangeLog.objects.get(kind="subflow_joined")
    assert joined.data["subflow"]["a"] == scene.subflows[1].src
    assert joined.connection == Connection.objects.exclude(state="gone").get()


def test_counters_are_stored_when_nothing_else_changes(gateway: Device) -> None:
    scene = SceneConnection(1)
    seen(gateway, scene.handshake())
    live_association._held[AssociationDomain.objects.get().pk].refreshed_s = 0.0
    seen(gateway, scene.data(20))
    row = Connection.objects.get()
    assert row.subflows.get().packet_count == 43
    assert len(row.subflows.get().points["at_s"]) == 20
    assert User.objects.count() == 0


def test_places_of_a_device_keep_apart(gateway: Device) -> None:
    domain, _ = AssociationDomain.objects.get_or_create(site=gateway.site)
    lan = observer_make(domain, gateway, "lan0")
    records = records_of(SceneConnection(1).handshake())
    for said in ([lan.number] * 3, [lan.number + 1, 900, 900], [900, lan.number + 1, lan.number]):
        records.observer[:] = said
        sensor_samples_ingest(device_name=gateway.name, columns=records_to_columns(records))
    places = {row.interface: row.number for row in Observer.objects.all()}
    assert set(places) == {"lan0", f"observer-{lan.number + 1}", "observer-900"}
    kept = [entry.records.observer.tolist() for entry in log_entries(domain.pk, "0-0", 10)]
    second, far = places[f"observer-{lan.number + 1}"], places["observer-900"]
    assert kept == [[lan.number] * 3, [second, far, far], [far, second, lan.number]]
