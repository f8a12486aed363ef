"""Traces: what servers say of one packet, put together by path and number."""

from typing import Any

import pytest

from apps.chains.models import Chain, Deployment
from apps.chains.services import traces
from nfvportal.inventory.models import DesiredState, Device
from nfvportal.jobs import services as jobs
from nfvportal.jobs.models import Job, JobState
from nfvportal.jobs.runner import run_job
from tests.support.chains import agent_event, deployed, runnable

pytestmark = pytest.mark.django_db
Devices = dict[str, Device]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "enqueue", lambda job: None)
    monkeypatch.setattr(traces, "LATE_WITHIN_S", 0.3)
    monkeypatch.setattr(traces, "TRACE_WITHIN_S", 0.5)


def _job(row: Deployment) -> Job:
    return jobs.job_start(kind="chains.trace", params={"chain": row.chain.name}, user=None)


def _hops(row: Deployment, packet_id: int, operators: tuple[int, ...], **more: Any) -> None:
    for operator in operators:
        agent_event(
            "chains.trace_hop", path=row.chain.path, packet_id=packet_id, operator=operator,
            server=row.servers[0], at_us=1000 + operator, took_us=5.0, fate="passed", **more,
        )  # fmt: skip


def test_hops_of_one_packet_in_order_with_their_functions(fabric: Devices) -> None:
    row = deployed(runnable("plain", ("vpn", "monitor")))
    job = _job(row)
    _hops(row, 7, (2, 1))
    _hops(row, 8, (1,))  # another packet
    agent_event("chains.trace", nonce=str(job.id), path=row.chain.path, packet_id=7, fate="released")
    run_job(str(job.id))
    job.refresh_from_db()
    assert (job.state, job.error) == (JobState.SUCCEEDED, "")
    assert job.result["packet_id"] == 7
    assert [(hop["operator"], hop["kind"], hop["nf"], hop["took_us"], hop["fate"]) for hop in job.result["hops"]] == [
        (1, "nf", "vpn", 5.0, "passed"), (2, "nf", "monitor", 5.0, "passed"),
    ]  # fmt: skip
    assert "trace" not in DesiredState.objects.get(role="chains.classifier").spec


def test_no_packet_is_said_and_nothing_stays_asked_for(fabric: Devices) -> None:
    row = deployed(runnable())
    job = _job(row)
    run_job(str(job.id))
    job.refresh_from_db()
    assert (job.state, "no packet took web-vpn" in job.error) == (JobState.FAILED, True)
    assert Chain.objects.get().trace_nonce == ""


def test_packet_that_was_dropped_shows_the_hops_there_are(fabric: Devices) -> None:
    row = deployed(runnable("plain", ("firewall", "monitor")))
    job = _job(row)
    _hops(row, 3, (1,))
    agent_event("chains.trace", nonce=str(job.id), path=row.chain.path, packet_id=3, fate="dropped")
    run_job(str(job.id))
    job.refresh_from_db()
    assert [hop["nf"] for hop in job.result["hops"]] == ["firewall"]


def test_later_wish_is_not_undone_by_an_earlier_one(fabric: Devices) -> None:
    chain = deployed(runnable()).chain
    for nonce in ("first", "second"):
        traces.trace_want(chain, nonce)
    traces.trace_end(chain, "first")
    spec = DesiredState.objects.get(role="chains.classifier").spec
    assert spec["trace"] == {"path": chain.path, "count": 1, "nonce": "second"}


def test_chain_that_is_not_deployed_is_not_traced(fabric: Devices) -> None:
    runnable()
    job = jobs.job_start(kind="chains.trace", params={"chain": "web-vpn"}, user=None)
    run_job(str(job.id))
    job.refresh_from_db()
    assert "not deployed" in job.error
