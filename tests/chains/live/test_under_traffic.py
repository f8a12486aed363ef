"""A chain on a whole portal with real agents: drawn, planned, applied, measured, traced, changed, rolled back, removed.

Traffic flows all the time; a worker is killed in the middle of a change. No packet may be lost by any of it.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nfvportal.lab.client import LabClient
from nfvportal.supervise.check import Browser, RoundTrip
from tests.support.waiting import wait_until
from tests.support.whole_portal import WholePortal

API = "/api/v1/chains"
JOB_WITHIN_S = 120
TRAFFIC_MAX_S = 240.0
SERVERS = {"dc-classifier", "dc-server-1", "dc-server-2", "dc-server-3"}
# 100 packets a second of 300 bytes with their numbers, until the file in argv[1] is there; then some that say "end".
SENDER = """
import os, socket, sys, time
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
count = 0
while not os.path.exists(sys.argv[1]):
    out.sendto(count.to_bytes(8, "big") + bytes(292), ("10.9.0.20", 7000))
    count += 1
    time.sleep(0.01)
for _ in range(20):
    out.sendto(b"\\xff" * 8, ("10.9.0.20", 7000))
    time.sleep(0.05)
print(count)
"""
RECEIVER = """
import json, socket, sys
into = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
into.bind(("", 7000))
numbers = []
while (data := into.recv(2048)) != b"\\xff" * 8:
    numbers.append(int.from_bytes(data[:8], "big"))
print(json.dumps(numbers))
"""
BODY = {
    "name": "drawn",
    "rate_pps": 100,
    "slo_p99_ms": 50,
    "match": {"dst": "10.9.0.0/24", "proto": "udp"},
    "nfs": [
        {"name": "monitor", "type": "monitor"},
        {"name": "ids", "type": "ids"},
        {"name": "marking", "type": "header_enrichment"},
    ],
}


class ChainOperator:
    """Acts on chains through REST, as a person with a browser."""

    def __init__(self, portal: WholePortal) -> None:
        trip = RoundTrip(portal.url, portal.password)
        trip.login()
        self.browser: Browser = trip.browser

    def send(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """Return the answer to a request, which must have this status."""
        text = None if body is None else json.dumps(body).encode()
        code, _, answer = self.browser.request(method, f"{API}/{path}", text, "application/json")
        assert code == status, (path, code, answer)
        return json.loads(answer or b"null")

    def get(self, path: str) -> Any:
        """Return what is there."""
        return self.browser.get_json(f"{API}/{path}")

    def start(self, path: str) -> str:
        """Start a job; return its id."""
        return str(self.send("POST", path, status=202)["id"])

    def finish(self, job_id: str) -> Any:
        """Wait for a job, which must succeed; return its result."""
        job = wait_until(lambda: self._finished(job_id), f"job {job_id} ends", JOB_WITHIN_S, 0.1)
        assert job["state"] == "succeeded", job
        return job["result"]

    def _finished(self, job_id: str) -> Any:
        job = self.browser.get_json(f"/api/v1/jobs/{job_id}/")
        return job if job["state"] in ("succeeded", "failed", "cancelled") else None

    def plan(self, name: str) -> Any:
        """Plan a chain and return the plan."""
        return self.get(f"plans/{self.finish(self.start(f'chains/{name}/plan/'))['plan']}/")

    def online(self) -> set[str]:
        """Return the devices whose agents are here."""
        rows = self.browser.rows("/api/v1/inventory/devices/?page_size=100")
        return {row["name"] for row in rows if row["status"] == "online"}


@pytest.fixture(scope="module")
def operator(portal: WholePortal, lab: LabClient) -> ChainOperator:
    one = ChainOperator(portal)
    wait_until(lambda: one.online() >= SERVERS, "the data centre's agents are online", 90, 0.2)
    return one


class Traffic:
    """Numbered packets from generator to sink, each in a thread that waits for the lab's answer."""

    def __init__(self, lab: LabClient, stop_file: Path) -> None:
        self._lab = lab
        self._stop_file = stop_file
        self._answers: dict[str, dict[str, Any]] = {}
        self._threads = [
            threading.Thread(target=self._run, args=("dc-sink", RECEIVER)),
            threading.Thread(target=self._run, args=("dc-generator", SENDER)),
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, node: str, code: str) -> None:
        argv = [sys.executable, "-c", code, str(self._stop_file)]
        self._answers[node] = self._lab.exec(node, argv, timeout_s=TRAFFIC_MAX_S)

    def end(self) -> tuple[int, list[int]]:
        """Stop; return how many packets were sent and the numbers that arrived, in order."""
        self._stop_file.touch()
        for thread in self._threads:
            thread.join()
        outputs = {node: answer["stdout"] for node, answer in self._answers.items()}
        assert all(outputs.values()), self._answers
        return int(outputs["dc-generator"]), json.loads(outputs["dc-sink"])


@pytest.fixture
def traffic(lab: LabClient, tmp_path: Path) -> Iterator[Traffic]:
    stop_file = tmp_path / "stop"
    yield Traffic(lab, stop_file)
    stop_file.touch()


def _measured(operator: ChainOperator, epoch: int) -> Any:
    """Return the newest second of an epoch once packets came out of it."""
    newest = operator.get("chains/drawn/latency/")["newest"]
    return newest if newest and newest["epoch"] == epoch and newest["latency_us_p50"] else None


def _counting(operator: ChainOperator) -> set[str]:
    """Return the network functions that have counted packets."""
    hops = operator.get("chains/drawn/hops/")["hops"]
    return {hop["nf"] for hop in hops if hop["kind"] == "nf" and hop["in"]}


def _kill_worker_while_applying(portal: WholePortal, operator: ChainOperator) -> None:
    """Kill the worker as soon as a deployment began, and wait for the supervisor's next one."""
    wait_until(lambda: _open_deployment(operator), "the deployment begins", 30, 0.01)
    pid = int(portal.instance()["pids"]["worker-engine"])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: portal.instance()["pids"]["worker-engine"] not in (0, pid), "the worker is back", 60)


def _open_deployment(operator: ChainOperator) -> bool:
    rows = operator.get("deployments/?chain=drawn")["results"]
    return bool(rows) and rows[0]["epoch"] == 2


def test_chain_from_drawing_to_removal_under_traffic(
    portal: WholePortal, operator: ChainOperator, traffic: Traffic
) -> None:
    operator.send("POST", "chains/", BODY, status=201)
    plan = operator.plan("drawn")
    assert (plan["kind"], plan["obligations"] != []) == ("plan", True)
    first = operator.finish(operator.start(f"plans/{plan['id']}/apply/"))
    assert (first["epoch"], first["lost"]) == (1, 0)

    newest = wait_until(lambda: _measured(operator, 1), "latencies are measured", 30)
    assert sum(newest["bins"]) > 0
    # Servers tell in their own second, which may come after the classifier's.
    everyone = {"drawn/monitor", "drawn/ids", "drawn/marking"}
    wait_until(lambda: _counting(operator) == everyone, "every function counts packets", 30)
    trace = operator.finish(operator.start("chains/drawn/trace/"))
    assert {hop["nf"] for hop in trace["hops"] if hop["nf"]} == {"monitor", "ids", "marking"}
    assert {hop["fate"] for hop in trace["hops"]} == {"passed"}

    again = operator.plan("drawn")  # with constants and times as they were measured by now
    job = operator.start(f"plans/{again['id']}/apply/")
    _kill_worker_while_applying(portal, operator)
    second = operator.finish(job)
    assert second["epoch"] == 2
    wait_until(lambda: _measured(operator, 2), "the second epoch carries packets", 30)
    rolled_back = operator.finish(operator.start("chains/drawn/rollback/"))
    assert (rolled_back["epoch"], rolled_back["plan"]) == (3, plan["id"])
    wait_until(lambda: _measured(operator, 3), "the third epoch carries packets", 30)
    operator.finish(operator.start("chains/drawn/remove/"))

    statuses = [row["status"] for row in operator.get("deployments/?chain=drawn")["results"]]
    assert statuses == ["removed", "superseded", "superseded"]
    alarms = [row for row in operator.get("alarms/?chain=drawn")["results"] if row["kind"] != "drift"]
    assert alarms == []
    sent, numbers = traffic.end()
    assert len(numbers) > 1000
    assert numbers == sorted(set(numbers)), "packets came twice or out of order"
    assert numbers[-1] == sent - 1
    assert sent - len(numbers) <= numbers[0], "packets were lost between the first and the last"
