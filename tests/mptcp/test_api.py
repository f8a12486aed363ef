"""REST of connections, subflows, lookup, paths, changes."""

from typing import Any

import pytest
from django.test import Client

from apps.mptcp.models import AssociationDomain, ChangeLog, Connection, Observer
from apps.mptcp.services.samples import observer_make
from nfvportal.inventory.models import Device, Interface, Link
from tests.support.mptcp_rows import connections_make, gateway_make
from tests.support.mptcp_scene import SceneConnection, whole
from tests.support.people import token_client

pytestmark = pytest.mark.django_db
BASE = "/api/v1/mptcp"
Answer = dict[str, Any]


@pytest.fixture
def client() -> Client:
    return token_client("viewer")


@pytest.fixture
def gateway() -> Device:
    return gateway_make()


@pytest.fixture
def scene(gateway: Device) -> SceneConnection:
    """A connection of three subflows among two others, stored."""
    scene = SceneConnection(1)
    segments = scene.handshake() + scene.join() + scene.join() + scene.data(30)
    connections_make(segments + whole(2, subflow_count=2) + whole(3, subflow_count=1))
    return scene


def got(client: Client, path: str, status: int = 200, **query: Any) -> Answer:
    answer = client.get(f"{BASE}/{path}", query)
    assert answer.status_code == status, answer.content
    return answer.json()


def asked(scene: SceneConnection, index: int) -> Answer:
    flow = scene.subflows[index]
    return {"src": flow.src, "src_port": flow.src_port, "dst": flow.dst, "dst_port": flow.dst_port}


def test_list_is_filtered_and_paged(client: Client, scene: SceneConnection) -> None:
    rows = got(client, "connections/")["results"]
    assert [row["subflow_count"] for row in rows] == [1, 2, 3]
    assert rows[-1]["domain"] == "branch"
    assert [row["subflow_count"] for row in got(client, "connections/", min_subflows=2)["results"]] == [2, 3]
    first = got(client, "connections/", page_size=2)
    assert len(first["results"]) == 2
    rest = client.get(first["next"]).json()
    assert [row["id"] for row in first["results"] + rest["results"]] == [row["id"] for row in rows]
    by_address = got(client, "connections/", address=scene.subflows[2].src)["results"]
    by_token = got(client, "connections/", token=f"{scene.token:08x}")["results"]
    assert [row["subflow_count"] for row in by_address] == [row["subflow_count"] for row in by_token] == [3]
    assert got(client, "connections/", state="ended")["results"] == []
    assert len(got(client, "connections/", min_confidence=0.5)["results"]) == 3
    assert got(client, "connections/", domain="elsewhere")["results"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"address": "nowhere"}, "address"),
        ({"token": "12"}, "token"),
        ({"token": "0xzz"}, "token"),
        ({"state": "fine"}, "state"),
        ({"capture": "-1"}, "capture"),
        ({"capture": "9" * 30}, "capture"),
        ({"min_confidence": "nan"}, "min_confidence"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_filters_that_are_none_are_refused_by_name(client: Client, query: dict[str, str], field: str) -> None:
    assert [error["field"] for error in got(client, "connections/", 400, **query)["errors"]] == [field]


@pytest.mark.parametrize("is_turned", [False, True])
def test_lookup_finds_siblings_from_either_end(
    client: Client, scene: SceneConnection, is_turned: bool
) -> None:
    flow = asked(scene, 1)
    if is_turned:
        flow = {
            "src": flow["dst"], "src_port": flow["dst_port"], "dst": flow["src"], "dst_port": flow["src_port"]
        }  # fmt: skip
    answer = got(client, "lookup/", **flow)
    assert answer["subflow"]["a"] == scene.subflows[1].src
    assert {sibling["a"] for sibling in answer["siblings"]} == {scene.subflows[0].src, scene.subflows[2].src}
    assert answer["connection"]["confidence"] > 0.99
    assert {evidence["kind"] for evidence in answer["evidence"]} == {"token"}
    assert answer["subflow"]["seen_by"] == ["gw:lan0"]


def test_lookup_of_a_stranger_is_404(client: Client, scene: SceneConnection) -> None:
    flow = {**asked(scene, 0), "src_port": 1}
    assert "was seen" in got(client, "lookup/", 404, **flow)["detail"]


def test_many_lookups_take_few_queries_and_a_reading_token(
    client: Client, scene: SceneConnection, django_assert_max_num_queries: Any
) -> None:
    strangers = [
        {"src": f"10.9.0.{index}", "src_port": 1, "dst": "10.9.1.1", "dst_port": 2} for index in range(50)
    ]
    flows = [asked(scene, 0), *strangers, asked(scene, 2)]
    with django_assert_max_num_queries(12):
        answer = client.post(f"{BASE}/lookup/", {"flows": flows}, content_type="application/json")
    results = answer.json()["results"]
    assert len(results) == 52
    assert results[0]["connection"]["id"] == results[-1]["connection"]["id"]
    assert [len(result["siblings"]) for result in results] == [2, *[0] * 50, 2]
    assert results[1]["connection"] is None


@pytest.mark.parametrize("flows", [[], [{"src": "10.0.0.1"}], "all", [None], None])
def test_bulk_lookups_that_are_none_are_refused(client: Client, flows: Any) -> None:
    answer = client.post(f"{BASE}/lookup/", {"flows": flows}, content_type="application/json")
    assert answer.status_code == 400


def test_bulk_lookup_has_a_limit(client: Client) -> None:
    flow = {"src": "10.0.0.1", "src_port": 1, "dst": "10.0.0.2", "dst_port": 2}
    answer = client.post(f"{BASE}/lookup/", {"flows": [flow] * 1001}, content_type="application/json")
    assert answer.status_code == 400
    assert "1000" in answer.content.decode()


def test_newest_epoch_of_a_reused_4_tuple_is_found(client: Client, gateway: Device) -> None:
    connections_make(whole(1), start_s=1_700_000_000)
    newer = connections_make([*SceneConnection(1).handshake()], _other_domain(), start_s=1_800_000_000)
    answer = got(client, "lookup/", **asked_of(whole(1)[0]))
    assert answer["connection"]["id"] == newer[0].pk


def _other_domain() -> AssociationDomain:
    return AssociationDomain.objects.get(site=gateway_make("gw-2", "elsewhere").site)


def asked_of(segment: Any) -> Answer:
    return {
        "src": segment.src, "src_port": segment.src_port, "dst": segment.dst, "dst_port": segment.dst_port
    }  # fmt: skip


def test_subflows_are_listed_by_connection_and_address(client: Client, scene: SceneConnection) -> None:
    row = Connection.objects.get(subflow_count=3)
    rows = got(client, "subflows/", connection=row.pk)["results"]
    assert len(rows) == 3
    assert {one["connection"] for one in rows} == {row.pk}
    assert len(got(client, "subflows/", address="10.2.0.10", page_size=500)["results"]) == 6


def test_paths_name_links_and_disjoint_siblings(
    client: Client, gateway: Device, scene: SceneConnection
) -> None:
    row = Connection.objects.get(subflow_count=3)
    assert got(client, f"connections/{row.pk}/paths/")["disjoint"] == []
    far = Device.objects.create(name="far", site=gateway.site, kind="gateway")
    numbers = []
    for name in ("fiber", "dsl"):
        near_end = Interface.objects.create(device=gateway, name=f"wan-{name}")
        far_end = Interface.objects.create(device=far, name=f"wan-{name}")
        Link.objects.create(name=name, kind="wan", a=near_end, b=far_end, capacity_bps=1)
        numbers.append(observer_make(row.domain, gateway, f"wan-{name}").number)  # type: ignore[arg-type]
    flows = list(row.subflows.order_by("engine_id"))
    for flow, seen_by in zip(flows, [[numbers[0]], [numbers[1]], [1]], strict=True):
        flow.seen_by = seen_by
        flow.save()
    advice = got(client, f"connections/{row.pk}/paths/")
    one, other, third = (flow.engine_id for flow in flows)
    assert advice["disjoint"] == [[one, other]]
    assert advice["unknown"] == [third]
    assert [entry["links"] for entry in advice["subflows"]] == [["fiber"], ["dsl"], []]
    assert "2 siblings" in advice["words"]
    assert Observer.objects.count() == 3


def test_changes_are_replayed_from_a_number(client: Client) -> None:
    made = [ChangeLog.objects.create(kind="connection_found", at_s=float(index)) for index in range(5)]
    answer = got(client, "changes/", after=made[1].pk, page_size=2)
    assert [row["seq"] for row in answer["results"]] == [made[2].pk, made[3].pk]
    assert [row["seq"] for row in client.get(answer["next"]).json()["results"]] == [made[4].pk]


def test_detail_takes_few_queries(
    client: Client, scene: SceneConnection, django_assert_max_num_queries: Any
) -> None:
    row = Connection.objects.get(subflow_count=3)
    with django_assert_max_num_queries(10):
        detail = got(client, f"connections/{row.pk}/")
    assert len(detail["subflows"]) == 3
