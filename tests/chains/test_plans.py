"""Plans: stored with what they were made from, compared, found by job, refused with a witness."""

import json
import uuid
from typing import Any

import pytest
from django.test import Client

from apps.chains.models import Chain, Plan
from apps.chains.services.plans import plan_make, servers_at_hand, usage_of_others
from nfvportal.inventory.models import Device, Interface, Link
from nfvportal.jobs import services as jobs
from nfvportal.jobs.models import Job, JobState
from nfvportal.jobs.runner import run_job
from tests.support.chains import chain_body, deployed, nf_type, plan_of, runnable
from tests.support.people import token_client

pytestmark = pytest.mark.django_db
API = "/api/v1/chains"
Devices = dict[str, Device]


@pytest.fixture
def client(fabric: Devices) -> Client:
    return token_client("operator", can_write=True)


def post(client: Client, path: str, body: Any = None, status: int = 200) -> Any:
    answer = client.post(f"{API}/{path}", body, content_type="application/json")
    assert answer.status_code == status, answer.content
    return answer.json()


def test_what_if_answers_at_once_and_stores_nothing(client: Client) -> None:
    plan = post(client, "chains/what-if/", chain_body())
    assert plan.keys() >= {
        "kind", "chain", "root", "sequential_root", "prediction", "sequential", "obligations", "pairs", "constants",
        "is_optimal", "gap_ratio", "servers",
    }  # fmt: skip
    assert plan["prediction"].keys() == {
        "mean_us", "p50_us", "p99_us", "stages", "wire_bytes_per_packet", "copied_bytes_per_packet",
        "cpu_us_per_packet", "servers_crossed",
    }  # fmt: skip
    assert plan["prediction"]["p99_us"] <= plan["sequential"]["p99_us"]
    assert plan["root"]["kind"] == "series"
    assert plan["root"]["parts"][0]["name"] == "vpn"
    assert ("monitor", "firewall") in {(row["first_name"], row["second_name"]) for row in plan["obligations"]}
    assert not Plan.objects.exists()


def test_what_if_plans_on_the_servers_that_are_named(client: Client) -> None:
    body = {**chain_body(), "servers": [{"name": "big", "cores": 16}]}
    assert post(client, "chains/what-if/", body)["servers"] == ["big"]
    body["servers"] = [{"name": "big", "cores": 0}]
    assert post(client, "chains/what-if/", body, 400)["errors"][0]["field"] == "servers[0].cores"
    long = chain_body(types=("monitor",) * 13)
    long["nfs"] = [{**nf, "name": f"nf-{i}"} for i, nf in enumerate(long["nfs"])]
    assert post(client, "chains/what-if/", long, 400)["errors"][0]["field"] == "nfs"


def test_infeasible_comes_with_its_witness(client: Client) -> None:
    answer = post(client, "chains/what-if/", chain_body(slo_p99_ms=0.01))
    assert (answer["kind"], answer["reason"], answer["best"]["kind"]) == ("infeasible", "slo", "plan")
    assert answer["witness"]
    Device.objects.update(roles=[])
    nowhere = post(client, "chains/what-if/", chain_body())
    assert (nowhere["reason"], "no server" in nowhere["witness"]) == ("capacity", True)


def test_plan_is_a_job_and_kept_with_its_constants(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "enqueue", lambda job: None)
    runnable()
    answer = client.post(f"{API}/chains/web-vpn/plan/")
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/api/v1/jobs/{answer.json()['id']}/")
    for _ in range(2):  # a second run finds the plan of the first
        run_job(answer.json()["id"])
        Job.objects.update(state=JobState.QUEUED)
    plan_id = Job.objects.get().result["plan"]
    assert Plan.objects.count() == 1
    plan = client.get(f"{API}/plans/{plan_id}/").json()
    assert (plan["id"], plan["chain_version"], plan["constants"]["hop_us"]) == (plan_id, 1, 30.0)
    assert plan["created_by"].startswith("token-operator")
    (row,) = client.get(f"{API}/plans/?chain=web-vpn").json()["results"]
    assert row["p99_us"] == plan["prediction"]["p99_us"] < row["sequential_p99_us"]
    assert client.get(f"{API}/plans/?chain=other").json()["results"] == []


def test_plan_keeps_the_profile_it_was_made_from(client: Client) -> None:
    plan = plan_of(runnable())
    row = nf_type("monitor")
    row.profile = {**row.profile, "drops": True}
    row.save()
    inputs = {nf["name"]: nf for nf in Plan.objects.get(pk=plan.pk).inputs["nfs"]}
    assert inputs["monitor"]["profile"]["drops"] is False
    json.dumps(plan.content, allow_nan=False)


def test_diff_names_moves_and_pairs(client: Client) -> None:
    chain = runnable()
    before = plan_of(chain)
    row = nf_type("monitor")
    row.profile = {**row.profile, "drops": True}
    row.save()
    after = plan_of(chain)
    diff = client.get(f"{API}/plans/{after.pk}/diff/?against={before.pk}").json()
    assert ["firewall", "monitor"] in diff["parallel_removed"]
    assert diff["parallel_added"] == []
    assert diff["figures"]["p50_us"]["before"] < diff["figures"]["p50_us"]["after"]
    same = client.get(f"{API}/plans/{after.pk}/diff/?against={after.pk}").json()
    assert (same["is_same_graph"], same["figures"], same["moved"]) == (True, {}, [])
    for text in ("", "0", "x", "٣"):
        assert client.get(f"{API}/plans/{after.pk}/diff/?against={text}").status_code == 400


def test_servers_come_from_the_inventory(fabric: Devices) -> None:
    switch = Device.objects.create(name="switch", site=fabric["dc-server-1"].site, kind="switch")
    ends = [Interface.objects.create(device=switch, name=f"p{n}") for n in (1, 2)]
    for number, end in enumerate(ends, 1):
        Link.objects.create(
            name=f"rack-{number}", kind="lan", a=fabric[f"dc-server-{number}"].interfaces.get(), b=end,
            capacity_bps=10**9 * number,
        )  # fmt: skip
    fabric["dc-server-2"].capabilities = {"cores": "many"}
    fabric["dc-server-2"].save()
    Device.objects.filter(name="dc-server-3").update(status="offline")
    assert [(row.name, row.cores, row.link_bps) for row in servers_at_hand()] == [
        ("dc-server-1", 4.0, 1e9), ("dc-server-2", 2.0, 2e9),
    ]  # fmt: skip


def test_other_chains_use_up_cores(fabric: Devices) -> None:
    chain = runnable(rate_pps=10_000)
    row = deployed(chain)
    usage = usage_of_others("another")
    assert set(usage) == set(row.servers)
    assert sum(usage.values()) == pytest.approx(10_000 * (80 + 15 + 20 + 20) / 1e6)
    assert usage_of_others(chain.name) == {}


def test_plan_of_a_job_is_made_once(fabric: Devices) -> None:
    chain, job_id = runnable(), uuid.uuid4()
    assert plan_make(chain=chain, job_id=job_id) == plan_make(chain=chain, job_id=job_id)


def test_apply_is_refused_at_once_when_it_cannot_work(client: Client) -> None:
    chain = runnable()
    plan = plan_of(chain)
    nf_type("monitor").delete()
    assert "nothing to run it" in post(client, f"plans/{plan.pk}/apply/", status=400)["detail"]
    for path in ("rollback", "remove", "trace"):
        assert post(client, f"chains/web-vpn/{path}/", status=400)["status"] == 400
    assert not Job.objects.exists()


def test_apply_is_a_job_and_busy_is_a_conflict(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "enqueue", lambda job: None)
    chain = runnable()
    deployed(chain)
    plan = plan_of(chain)
    job = post(client, f"plans/{plan.pk}/apply/", status=202)
    assert (job["kind"], job["params"]["plan"]) == ("chains.apply", plan.pk)
    chain.deployments.update(status="applying")
    assert post(client, f"plans/{plan.pk}/apply/", status=409)["status"] == 409


def test_deployment_carries_prediction_and_measurement(client: Client) -> None:
    row = deployed(runnable())
    answer = client.get(f"{API}/deployments/{row.pk}/").json()
    assert (answer["status"], answer["told"]["held_packets"], answer["path"], answer["epoch"]) == (
        "live",
        3,
        1,
        1,
    )
    assert answer["comparison"]["p50_us"]["predicted"] == row.plan.content["prediction"]["p50_us"]
    assert answer["comparison"]["p50_us"]["measured"] is None
    assert [said["ok"] for said in answer["devices"].values()] == []
    (listed,) = client.get(f"{API}/deployments/?chain=web-vpn").json()["results"]
    assert listed["id"] == row.pk
    chain = client.get(f"{API}/chains/web-vpn/").json()
    assert chain["deployment"]["id"] == row.pk
    assert client.get(f"{API}/chains/").json()["results"][0]["status"] == "live"


def test_deployed_chain_is_not_deleted(client: Client) -> None:
    deployed(runnable())
    answer = client.delete(f"{API}/chains/web-vpn/", headers={"If-Match": "*"})
    assert (answer.status_code, "remove it" in answer.json()["detail"]) == (400, True)
    Chain.objects.get().deployments.update(status="removed", is_active=False, is_installed=False)
    assert client.delete(f"{API}/chains/web-vpn/", headers={"If-Match": "*"}).status_code == 204


@pytest.mark.parametrize("slug", ["history", "histogram", "hops"])
def test_charts_are_plotly_figures(slug: str, client: Client) -> None:
    deployed(runnable())
    figure = client.get(f"{API}/charts/{slug}/?chain=web-vpn").json()
    assert figure.keys() == {"data", "layout"}
    assert client.get(f"{API}/charts/{slug}/?chain=nothing").status_code == 404
    assert client.get(f"{API}/charts/nothing/?chain=web-vpn").status_code == 404
