"""``kill -9`` of each part under traffic: it comes back by itself, no job is lost, no state is wrong.

Faults are injected behind the portal's back (straight into the lab) where the portal is the one that dies.
"""

from itertools import pairwise
from typing import Any

import pytest

from tests.crash.operator import Operator
from tests.support.waiting import wait_until

RECORD_WITHIN_S = 60
BROKEN_S = 3.0


def wait_recorded(operator: Operator, link: str, cut_at_s: float) -> None:
    """Wait for the record of this cut; records of one link never overlap.

    On a busy machine the link may have been down already when it was cut: then the record began before.
    """

    def covers(row: dict[str, Any]) -> bool:
        ended_s = row["restored_at_s"] or float("inf")
        return row["detected_at_s"] <= cut_at_s + BROKEN_S <= ended_s

    wait_until(
        lambda: any(covers(row) for row in operator.failovers(link)),
        f"failover of {link} is recorded",
        RECORD_WITHIN_S,
        0.2,
    )
    rows = sorted(operator.failovers(link), key=lambda row: row["detected_at_s"])
    for earlier, later in pairwise(rows):
        assert earlier["restored_at_s"] is not None, (earlier, later)
        assert earlier["restored_at_s"] <= later["detected_at_s"], (earlier, later)


@pytest.mark.parametrize("worker", ["worker-control"])
def test_killed_worker_loses_no_job(operator: Operator, worker: str) -> None:
    operator.wait_traffic()
    job = operator.start_fault_job(operator.busy_link(), "delay", duration_s=4, value=40)
    operator.wait_job(job, "running")
    operator.wait_replaced(worker, operator.kill(worker))
    finished = operator.wait_job(job, "succeeded", "failed", "cancelled")
    assert finished["state"] == "succeeded", finished
    assert finished["progress_ratio"] == 1
    assert all(link["fault"] is None for link in operator.lab.status()["links"])


def test_killed_valkey_loses_no_job_and_no_failover(operator: Operator) -> None:
    operator.wait_traffic()
    link = operator.busy_link()
    old = operator.kill("valkey")
    cut_at_s = operator.lab.fault(link, "blackhole", duration_s=BROKEN_S)["at_s"]
    other = sorted(set(operator.mapping().values()) - {link})[0]
    job = operator.start_fault_job(other, "delay", duration_s=1, value=40)
    operator.wait_replaced("valkey", old)
    assert operator.wait_job(job, "succeeded", "failed", "cancelled")["state"] == "succeeded"
    wait_recorded(operator, link, cut_at_s)


def test_killed_postgres_loses_no_job_and_no_failover(operator: Operator) -> None:
    operator.wait_traffic()
    link = operator.busy_link()
    other = sorted(set(operator.mapping().values()) - {link})[0]
    job = operator.start_fault_job(other, "delay", duration_s=4, value=40)
    operator.wait_job(job, "running")
    old = operator.kill("postgres")
    cut_at_s = operator.lab.fault(link, "blackhole", duration_s=BROKEN_S)["at_s"]
    operator.wait_replaced("postgres", old)
    assert operator.wait_job(job, "succeeded", "failed", "cancelled")["state"] == "succeeded"
    wait_recorded(operator, link, cut_at_s)


def test_killed_web_the_gateways_act_alone_and_the_failover_appears_afterwards(operator: Operator) -> None:
    operator.wait_traffic()
    link = operator.busy_link()
    old = operator.kill("web")
    cut_at_s = operator.lab.fault(link, "blackhole")["at_s"]
    wait_until(lambda: operator.kernel_links()[link] == 0, "the gateway leaves the dead link by itself", 5)
    operator.wait_traffic()
    operator.wait_replaced("web", old)
    wait_recorded(operator, link, cut_at_s)
    operator.lab.clear(link)


def test_killed_agent_converges_during_a_black_hole(operator: Operator) -> None:
    operator.wait_traffic()
    link = operator.busy_link()
    operator.lab.fault(link, "blackhole")
    wait_until(lambda: operator.kernel_links()[link] == 0, "the gateway leaves the dead link", 5)
    agents = {node["name"]: node["agent"] for node in operator.lab.status()["nodes"] if node["agent"]}
    operator.lab.agent_kill("gw-a")

    def is_back() -> bool:
        now = {node["name"]: node["agent"] for node in operator.lab.status()["nodes"] if node["agent"]}
        return bool(now["gw-a"]["running"]) and now["gw-a"]["pid"] != agents["gw-a"]["pid"]

    # The kernel keeps forwarding on the last decision while its agent is away.
    operator.wait_traffic()
    wait_until(is_back, "the agent is back", 30)
    wait_until(
        lambda: all(
            row["status"] == "online" for row in operator.rows("/api/v1/inventory/devices/") if row["roles"]
        ),
        "the portal sees it online",
        30,
    )
    assert operator.kernel_links()[link] == 0
    operator.lab.clear(link)


def test_beat_and_engine_worker_come_back(operator: Operator) -> None:
    killed = {name: operator.kill(name) for name in ("beat", "worker-engine")}
    for name, pid in killed.items():
        operator.wait_replaced(name, pid)
    wait_until(
        lambda: operator.browser.request("GET", "/readyz")[0] == 200,
        "the portal says it is ready",
        60,
        every_s=0.2,
    )
