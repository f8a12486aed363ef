"""Placements of many chains: computed by a job, stored once, compared with the one before, refused with a witness."""

from typing import Any

import pytest
from django.test import Client

from apps.chains.models import ChainPlacement
from apps.chains.services.placements import PlacementAsk, placement_make
from nfvportal.events.models import Event
from nfvportal.inventory.models import Device
from nfvportal.jobs import services as jobs
from nfvportal.jobs.models import Job, JobState
from nfvportal.jobs.runner import run_job
from tests.support.chains import chain_make, deployed, runnable
from tests.support.people import token_client

pytestmark = pytest.mark.django_db
API = "/api/v1/chains/placements/"


@pytest.fixture
def client(fabric: dict[str, Device], monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(jobs, "enqueue", lambda job: None)
    return token_client("operator", can_write=True)


def start(client: Client, body: Any = None, status: int = 202) -> Any:
    answer = client.post(API, body or {}, content_type="application/json")
    assert answer.status_code == status, answer.content
    return answer.json()


def test_a_placement_is_a_job_and_stored_once(client: Client) -> None:
    chain_make("one", ("monitor", "firewall"), slo_p99_ms=20)
    chain_make("two", ("monitor", "firewall"), rate_pps=5000)
    job = start(client, {"instance_cores": 0.5})
    for _ in range(2):  # a second run finds the placement of the first
        run_job(job["id"])
        Job.objects.update(state=JobState.QUEUED)
    assert ChainPlacement.objects.count() == 1
    result = Job.objects.get().result
    assert result is not None
    placement = client.get(f"{API}{result['placement']}/").json()
    assert (placement["kind"], placement["admitted"], placement["refused"]) == ("placement", 2, [])
    one = {row["name"]: row for row in placement["chains"]}["one"]
    assert one["p99_us"] <= one["slo_p99_us"] == 20_000
    assert sum(share["buckets"] for share in one["nfs"][0]["shares"]) == placement["buckets"] == 256
    assert placement["asked"]["instance_cores"] == 0.5
    assert placement["bounds"]["missed"] == placement["terms"]["missed"] == 0
    (row,) = client.get(API).json()["results"]
    assert (row["id"], row["admitted"], row["refused"]) == (placement["id"], 2, 0)
    assert Event.objects.filter(type="chains.placement_ready").count() == 1


def test_chains_of_equal_settings_share_instances_others_do_not(client: Client) -> None:
    for name in ("one", "two"):
        chain_make(name, ("monitor",), rate_pps=10)
    placement = placement_make(ask=PlacementAsk()).content
    assert [row["type"] for row in placement["instances"]] == ["monitor"]
    chain_make("three", ("vpn",), rate_pps=10)
    chain_make("four", ("vpn",), rate_pps=10)
    placement = placement_make(ask=PlacementAsk()).content
    assert sorted(row["type"] for row in placement["instances"]).count("vpn") == 2, (
        "all packets share its state"
    )


def test_the_next_placement_moves_nothing_without_a_reason(client: Client) -> None:
    for number in range(6):
        chain_make(f"chain-{number}", ("monitor", "ids"), rate_pps=3000)
    first = placement_make(ask=PlacementAsk())
    again = placement_make(ask=PlacementAsk())
    assert (again.previous_id, again.moved_buckets) == (first.pk, 0)
    assert again.content["kept_buckets"] == 6 * 2 * 256
    fresh = placement_make(ask=PlacementAsk(is_fresh=True))
    assert (fresh.previous_id, fresh.content["kept_buckets"]) == (None, 0)


def test_who_is_refused_is_told_why_and_weights_decide(client: Client) -> None:
    """Three servers of 4 cores; each chain needs more than 6."""
    for name in ("bulk", "gold"):
        chain_make(name, ("ids",), rate_pps=100_000)
    placement = placement_make(ask=PlacementAsk(weights={"gold": 5.0}))
    assert [row["name"] for row in placement.content["chains"]] == ["gold"]
    (refused,) = placement.content["refused"]
    assert (refused["name"], refused["reason"]) == ("bulk", "capacity")
    assert "needs at least 6.67 cores" in refused["witness"]
    assert Event.objects.get(type="chains.placement_ready").severity == "warning"


def test_chains_that_stay_keep_their_cores(client: Client) -> None:
    """A deployed chain that is not placed takes its cores from what is offered."""
    deployed(runnable("live", rate_pps=5000))
    chain_make("fresh", ("monitor",))
    placement = placement_make(ask=PlacementAsk(chains=("fresh",))).content
    assert sum(row["cores"] for row in placement["servers"]) < 12
    everything = placement_make(ask=PlacementAsk()).content
    assert sum(row["cores"] for row in everything["servers"]) == 12
    assert {row["name"] for row in everything["chains"]} | {row["name"] for row in everything["refused"]} == {
        "live", "fresh",
    }  # fmt: skip


def test_without_servers_there_is_none(client: Client) -> None:
    chain_make("one", ("monitor",))
    Device.objects.update(roles=[])
    row = placement_make(ask=PlacementAsk())
    assert (row.is_feasible, row.admitted_count, row.refused_count) == (False, 0, 1)
    answer = client.get(f"{API}{row.pk}/").json()
    assert (answer["kind"], answer["witness"]) == ("infeasible", "There is no server at hand.")
    assert client.get(API).json()["results"][0]["terms"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"chains": ["gone"]}, "chains"),
        ({"chains": "one"}, "chains"),
        ({"weights": {"one": 0}}, "weights.one"),
        ({"weights": {"gone": 1}}, "weights"),
        ({"instance_cores": 2}, "instance_cores"),
        ({"is_fresh": "perhaps"}, "is_fresh"),
        ({"speed": 1}, "speed"),
    ],
)
def test_odd_requests_are_refused(client: Client, body: Any, field: str) -> None:
    chain_make("one", ("monitor",))
    assert start(client, body, 400)["errors"][0]["field"] == field
    assert not Job.objects.exists()


def test_without_chains_there_is_nothing_to_place(client: Client) -> None:
    assert start(client, {}, 400)["errors"][0]["field"] == "chains"


def test_a_cancelled_job_stores_nothing(client: Client) -> None:
    chain_make("one", ("monitor",))
    job = start(client)
    real = jobs.job_is_cancel_requested
    try:
        jobs.job_is_cancel_requested = lambda *, job: True  # somebody cancelled while it ran
        run_job(job["id"])
    finally:
        jobs.job_is_cancel_requested = real
    assert Job.objects.get().state == JobState.CANCELLED
    assert not ChainPlacement.objects.exists()
