"""REST of wan: shapes with units, pages, filters, entity tags, acknowledgement."""

import time
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.utils import timezone

from apps.wan.models import FailoverEvent, MapEpoch, SitePair, VirtualSubnet
from apps.wan.services.maps import map_set
from apps.wan.tasks import ingest_gateway_samples, rollup
from nfvportal.events.models import Event
from nfvportal.inventory.models import Device
from tests.support.demo import failover_make
from tests.support.people import token_client
from tests.wan.test_telemetry import gateway_columns

pytestmark = pytest.mark.django_db
API = "/api/v1/wan"


@pytest.fixture
def client(pair: SitePair) -> Client:
    return token_client("operator", can_write=True)


def _get(client: Client, path: str, status: int = 200) -> Any:
    answer = client.get(path if path.startswith("/") else f"{API}/{path}")
    assert answer.status_code == status, answer.content
    return answer.json()


def _put(client: Client, body: Any, tag: str | None, query: str = "") -> Any:
    headers = {} if tag is None else {"If-Match": tag}
    return client.put(f"{API}/map/{query}", body, content_type="application/json", headers=headers)


def test_link_carries_units_state_fault_and_newest_measurement(client: Client) -> None:
    at_s = round(time.time(), 3)
    ingest_gateway_samples("gw-a", gateway_columns(at_s))
    Event.objects.create(
        type="lab.fault_started", subject="fiber", at=timezone.now(), severity="info", data={"kind": "loss"}
    )
    links = {link["name"]: link for link in _get(client, "links/")["results"]}
    fiber = links["fiber"]
    assert fiber == {
        "id": fiber["id"], "name": "fiber", "provider": "Northline", "capacity_bps": 50_000_000, "delay_ms": 5.0,
        "state": "up", "direction": "", "since_s": pytest.approx(at_s), "fault": "loss", "at_s": pytest.approx(at_s),
        "goodput_bps": 4e6, "rx_bps": 1e6, "tx_bps": 4e6, "rtt_ms": 10.5, "jitter_ms": 0.5, "loss_ratio": 0.0,
    }  # fmt: skip
    assert (links["dsl"]["fault"], links["dsl"]["loss_ratio"]) == ("", 0.25)
    assert _get(client, f"links/{fiber['id']}/") == fiber


def test_link_of_which_nothing_is_known_says_so(client: Client) -> None:
    link = _get(client, "links/")["results"][0]
    assert link["state"] == "unknown"
    assert {link[name] for name in ("since_s", "at_s", "goodput_bps", "rtt_ms", "loss_ratio")} == {None}


def test_number_of_queries_does_not_grow_with_the_links(
    client: Client, django_assert_max_num_queries: Any
) -> None:
    ingest_gateway_samples("gw-a", gateway_columns())
    with django_assert_max_num_queries(8):
        _get(client, "links/")


def test_virtual_subnets_and_epochs(client: Client, pair: SitePair) -> None:
    subnets = _get(client, "virtual-subnets/")["results"]
    assert [(row["index"], row["prefix"], row["is_default"], row["home"]) for row in subnets] == [
        (1, "10.1.1.0/24", True, None), (2, "10.1.2.0/24", False, None), (3, "10.1.3.0/24", False, None),
    ]  # fmt: skip
    map_set(pair=pair, homes={1: "lte"}, actor=AnonymousUser(), reason="try")
    newest, first = _get(client, "map-epochs/")["results"]
    assert newest.keys() == {"number", "mapping", "reason", "actor", "at_s"}
    assert (newest["number"], newest["mapping"]["1"], newest["reason"]) == (2, "lte", "try")
    assert (first["number"], first["actor"]) == (1, "gateways")
    assert newest["at_s"] == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize("path", ["map-epochs", "failovers"])
def test_pages_walk_everything_newest_first_also_while_rows_are_added(
    path: str, client: Client, pair: SitePair
) -> None:
    def add(number: int) -> None:
        if path == "failovers":
            failover_make(restored_at=timezone.now(), direction=str(number))
        else:
            MapEpoch.objects.create(pair=pair, number=number, mapping={}, reason=str(number), actor="")

    for number in range(2, 13):
        add(number)
    whole = _get(client, f"{path}/")["results"]
    assert len(whole) >= 11
    url, seen = f"{API}/{path}/?page_size=3", []
    while url:
        page = _get(client, url)
        seen += page["results"]
        add(100 + len(seen))
        url = page["next"] and f"{urlsplit(page['next']).path}?{urlsplit(page['next']).query}"
    assert seen == whole


def test_failover_shape_and_filter(client: Client) -> None:
    at = timezone.now()
    failover = failover_make(
        "dsl", at=at, lost_ms=12.5, stall_ms=40.0, transport_ms=50.0, fault_at=at, reports={"gw-b": {}}
    )
    failover_make("fiber")
    (row,) = _get(client, "failovers/?link=dsl")["results"]
    assert row == {
        "id": failover.pk, "link": "dsl", "direction": "rx", "fault_at_s": at.timestamp(),
        "last_heard_at_s": at.timestamp(), "detected_at_s": at.timestamp(), "acted_at_s": at.timestamp(),
        "detection_ms": 30.0, "action_ms": 2.0,
        "transport_ms": 50.0, "lost_ms": 12.5, "stall_ms": 40.0, "moves": [], "reported_by": ["gw-b"],
        "restored_at_s": None, "acknowledged_at_s": None, "acknowledged_by": "",
    }  # fmt: skip
    assert _get(client, f"failovers/{failover.pk}/") == row
    assert _get(client, "failovers/?link=nowhere")["results"] == []


UNKNOWN = [
    ("links/?color=red", "color"), ("links/?name=fiber", "name"), ("failovers/?links=dsl", "links"),
    ("map/?page_size=5", "page_size"),
    ("map-epochs/?pair=x", "pair"), ("virtual-subnets/?index=1", "index"), ("samples/?link=fiber&until=1", "until"),
    ("charts/goodput/?x=", "x"), ("failovers/?link=a%00b", "link"), ("failovers/?page_size=0", "page_size"),
    ("failovers/?page_size=501", "page_size"), ("failovers/?cursor=zzz", "cursor"), ("failovers/1/?link=dsl", "link"),
    ("samples/", "link"), ("samples/?link=nowhere", "link"), ("samples/?link=fiber&since=soon", "since"),
    ("samples/?link=fiber&since=nan", "since"), ("samples/?link=fiber&since=1e14", "since"),
    ("samples/?link=fiber&since=-1e14", "since"), ("samples/?link=fiber&resolution=1h", "resolution"),
]  # fmt: skip


def test_unknown_and_impossible_parameters_are_refused_by_name(client: Client) -> None:
    for path, field in UNKNOWN:
        problem = _get(client, path, 400)
        assert [error["field"] for error in problem["errors"]] == [field], path


@pytest.mark.parametrize(
    "path",
    [
        "links/0/",
        "links/abc/",
        "links/99999999999999999999/",
        "failovers/0/",
        "charts/nothing/",
        "map/?pair=nothing",
    ],
)
def test_what_is_not_there_is_a_problem_404(path: str, client: Client) -> None:
    assert _get(client, path, 404)["status"] == 404


def test_map_is_changed_only_from_its_newest_version(client: Client) -> None:
    read = client.get(f"{API}/map/")
    tag, body = read.headers["ETag"], {"mapping": {"1": "lte"}, "reason": "test"}
    refused = _put(client, body, None)
    assert (refused.status_code, refused.json()["title"]) == (428, "If-Match required")
    changed = _put(client, body, tag)
    assert (changed.status_code, changed.json()["mapping"]["1"], changed.json()["number"]) == (200, "lte", 2)
    late = _put(client, {"mapping": {"1": "dsl"}}, tag)
    assert (late.status_code, late.json()["current_tag"]) == (412, changed.headers["ETag"])
    assert late.headers["ETag"] == changed.headers["ETag"]
    assert VirtualSubnet.objects.get(index=1).home.link.name == "lte"  # type: ignore[union-attr]
    assert _put(client, {"mapping": {"1": "dsl"}}, f'"x", {changed.headers["ETag"]}').status_code == 200
    assert _get(client, "map/")["number"] == 3


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "mapping"), ({"mapping": {}}, "mapping"), ({"mapping": {"9": "lte"}}, "mapping.9"),
     ({"mapping": {"1": "nowhere"}}, "mapping.1"), ({"mapping": {"one": "lte"}}, "mapping.one"),
     ({"mapping": {"1": "lte"}, "why": "x"}, "why"), ({"mapping": {"1": "lte"}, "reason": "x" * 201}, "reason"),
     ({"mapping": {"1": 5.5}}, "mapping.1"), ({"mapping": ["lte"]}, "mapping"),
     ({"mapping": {"1": None}}, "mapping.1")],
)  # fmt: skip
def test_broken_maps_are_refused_by_field(body: Any, field: str, client: Client) -> None:
    answer = _put(client, body, "*")
    assert answer.status_code == 400, answer.content
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert MapEpoch.objects.count() == 1


def test_pair_must_be_named_when_there_are_two_and_may_lack_a_map(client: Client) -> None:
    host, server = Device.objects.get(name="branch-host"), Device.objects.get(name="hq-server")
    SitePair.objects.create(name="other", gateway_a=host, gateway_b=server, probe_key_sealed="x")
    assert _get(client, "map/", 400)["errors"][0]["field"] == "pair"
    assert _get(client, "map/?pair=branch-hq")["number"] == 1
    assert "no map yet" in _get(client, "map/?pair=other", 404)["detail"]


def test_samples_raw_and_by_minute(client: Client) -> None:
    now_s = time.time()
    for age_s in (400, 2, 1):
        ingest_gateway_samples("gw-a", gateway_columns(now_s - age_s, rtt_ms=[float(age_s)] * 3))
    recent = _get(client, "samples/?link=fiber")
    assert (recent["link"], recent["resolution"]) == ("fiber", "raw")
    assert [sample["rtt_ms"] for sample in recent["samples"]] == [2.0, 1.0]
    assert recent["samples"][0].keys() == {"at_s", "rtt_ms", "jitter_ms", "loss_ratio", "rx_bps", "tx_bps"}
    assert len(_get(client, f"samples/?link=fiber&since={now_s - 500}")["samples"]) == 3
    rollup()
    minutes = _get(client, f"samples/?link=fiber&since={now_s - 120}&resolution=1m")
    assert minutes["resolution"] == "1m"
    assert {sample["at_s"] % 60 for sample in minutes["samples"]} == {0}


def test_charts_are_plotly_figures(client: Client) -> None:
    ingest_gateway_samples("gw-a", gateway_columns())
    failover_make("dsl", lost_ms=None)
    goodput, failovers = _get(client, "charts/goodput/"), _get(client, "charts/failovers/")
    assert {trace["name"]: trace["y"] for trace in goodput["data"]} == {
        "dsl": [2.0],
        "fiber": [4.0],
        "lte": [3.0],
    }
    assert goodput["layout"]["shapes"][0]["y0"] == 80.0
    assert [trace["x"] for trace in failovers["data"]] == [[30.0], [2.0], [None]]


def test_acknowledging_is_for_operators_and_the_first_counts(client: Client) -> None:
    failover = failover_make(at=timezone.now() - timedelta(hours=1))
    address = f"{API}/failovers/{failover.pk}/acknowledge/"
    assert token_client("viewer", can_write=True).post(address).status_code == 403
    assert FailoverEvent.objects.get().acknowledged_at is None
    first = client.post(address).json()
    again = token_client("admin", can_write=True).post(address).json()
    assert first["acknowledged_by"].startswith("token-operator")
    assert again == first
    assert client.post(f"{API}/failovers/0/acknowledge/").status_code == 404
