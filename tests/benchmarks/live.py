"""Suite ``live``: from ``publish`` in a worker to a hundred browsers.

Real PostgreSQL and Valkey, the portal's own web process, a publisher and the clients in processes of their own. An
arrival is stamped when the client's socket delivers it; both clocks are the machine's own.
"""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nfvportal.bench.rows import BenchOptions, Row
from tests.support.services import CHECKOUT, Servers

CLIENTS = 100
STRETCH_CLIENTS = 200
GOAL_MS = 10.0
TOPIC = "jobs"
EVERY_S = 0.05  # 20 changes a second: a busy network, far more than a failover makes
WITHIN_S = 120.0

SET_UP = """
from django.contrib.auth.models import Group, User
from nfvportal.accounts.services import api_token_create
user = User.objects.create_user("bench")
user.groups.add(Group.objects.get_or_create(name="viewer")[0])
print("token", api_token_create(user=user, name="bench", days=1, can_write=False)[1])
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of the clients saw."""

    latencies_ms: list[float]
    last_client_ms: list[float]
    calls_ms: list[float]
    ready_ms: float
    expected_count: int
    telemetry_per_s: float
    lost_count: int


def run(options: BenchOptions) -> Sequence[Row]:
    """Measure latency, the publisher's cost and a burst."""
    count = 40 if options.quick else 300
    with web_process() as (url, token, environment):
        _measure(url, token, environment, CLIENTS, 20, EVERY_S)  # warm: code paths, pools
        steady = _measure(url, token, environment, CLIENTS, count, EVERY_S)
        stretch = _measure(url, token, environment, STRETCH_CLIENTS, count, EVERY_S)
        burst = _measure(url, token, environment, CLIENTS, 200, 0.0)
    return [
        _latency_row(f"publish_to_client_ms_p95_{CLIENTS}_clients", steady, GOAL_MS, options),
        _latency_row(f"publish_to_client_ms_p95_{STRETCH_CLIENTS}_clients", stretch, None, options),
        Row("publish_call_ms_p95", _p(steady.calls_ms, 95), "ms", goal=2.0, n=len(steady.calls_ms),
            spread=(min(steady.calls_ms), max(steady.calls_ms))),
        Row("frames_lost", float(steady.expected_count - len(steady.latencies_ms)), "count", goal=0.0,
            n=steady.expected_count, detail={"lost_clients": steady.lost_count}),
        Row("snapshot_for_all_ms", steady.ready_ms, "ms", goal=1000.0, detail={"clients": CLIENTS}),
        Row("telemetry_frames_per_s", steady.telemetry_per_s, "1/s", goal=4.5, detail={"published_per_s": 1 / EVERY_S}),
        Row("burst_frames_per_s", len(burst.latencies_ms) / (max(burst.last_client_ms) / 1000), "1/s", better="higher",
            n=burst.expected_count, detail={"lost": burst.expected_count - len(burst.latencies_ms)}),
    ]  # fmt: skip


def _latency_row(figure: str, outcome: Outcome, goal: float | None, options: BenchOptions) -> Row:
    latencies = outcome.latencies_ms
    detail = {
        "p50": round(_p(latencies, 50), 2),
        "p99": round(_p(latencies, 99), 2),
        "last_client_p95": round(_p(outcome.last_client_ms, 95), 2),
        "events_per_s": 1 / EVERY_S,
        "quick": options.quick,
    }
    spread = (min(latencies), max(latencies))
    return Row(figure, _p(latencies, 95), "ms", goal=goal, n=len(latencies), spread=spread, detail=detail)


def _p(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _measure(
    url: str, token: str, environment: dict[str, str], clients: int, count: int, every_s: float
) -> Outcome:
    base = {"env": environment, "cwd": CHECKOUT, "text": True}
    crowd = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.live_clients", url, token, TOPIC, str(clients)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, **base,  # type: ignore[call-overload]  # see base
    )  # fmt: skip
    try:
        ready = crowd.stdout.readline().split()
        if ready[:1] != ["ready"]:
            raise RuntimeError("the clients did not get their snapshots")
        publisher = [sys.executable, "-m", "tests.benchmarks.live_publisher", TOPIC, str(count), str(every_s)]
        done: Any = subprocess.run(publisher, capture_output=True, timeout=WITHIN_S, check=True, **base)  # type: ignore[call-overload]
        report = json.loads(crowd.communicate(f"{count}\n", timeout=WITHIN_S)[0])
    finally:
        crowd.kill()
        crowd.wait()
    arrivals: list[tuple[int, float, float]] = report["arrivals"]
    sent = {n: sent_s for n, sent_s, _ in arrivals}
    lasts = {n: max(arrived_s for m, _, arrived_s in arrivals if m == n) for n in sent}
    duration_s = max(sent.values()) - min(sent.values()) or 1.0
    first_s = min(sent.values())
    return Outcome(
        [(arrived_s - sent_s) * 1000 for _, sent_s, arrived_s in arrivals],
        [(last_s - (sent[n] if every_s else first_s)) * 1000 for n, last_s in lasts.items()],
        json.loads(done.stdout),
        float(ready[1]),
        clients * count,
        max(report["telemetry_counts"]) / max(duration_s, 1.0),
        report["lost_count"],
    )


@contextlib.contextmanager
def web_process() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Start servers and the web process; yield its address, an API token, and the environment of its commands."""
    before = dict(os.environ)
    servers = Servers()
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    web = None
    try:
        servers.start()
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "nfvportal.settings"),
        }
        _manage(environment, "migrate", "--verbosity", "0")
        token = _manage(environment, "shell", "--verbosity", "0", "-c", SET_UP).split()[-1]
        web = subprocess.Popen(
            [sys.executable, "-m", "nfvportal.supervise.web", "--fd", str(listening.fileno())],
            env=environment, cwd=CHECKOUT, pass_fds=[listening.fileno()], stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert web.stdout is not None
        if web.stdout.readline().strip() != "web ready":
            raise RuntimeError("the web process did not start")
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", token, environment
    finally:
        if web is not None:
            web.terminate()
            web.wait(timeout=15)
        listening.close()
        servers.stop()
        os.environ.clear()
        os.environ.update(before)


def _manage(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        env=environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=WITHIN_S, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout
