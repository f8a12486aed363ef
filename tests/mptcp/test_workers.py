"""The association on real Celery workers: killed in the middle, and shared by two."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings

from apps.mptcp.engine.record_batch import records_to_columns
from apps.mptcp.models import AssociationDomain, Connection
from apps.mptcp.record_log import log_last
from apps.mptcp.services.leases import LOCK_CLASS, domain_lease
from apps.mptcp.services.samples import domains_sweep, sensor_samples_ingest
from nfvportal.inventory.models import Device, DeviceKind, Site
from nfvportal.supervise.tether import tether
from tests.mptcp.test_live_association import records_of
from tests.support.mptcp_scene import SceneConnection
from tests.support.services import CHECKOUT, Servers, _test_database_url, _wait_for_line
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
SCENES = 20


@contextmanager
def worker(servers: Servers, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A Celery worker of its own for the queues that association needs."""
    path = servers.paths.logs / f"{name}.log"
    with path.open("ab") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "celery", "-A", "nfvportal.celery", "worker", "-n", f"{name}@localhost",
                "-Q", "engine,telemetry", "-c", "1", "-l", "INFO", "--without-gossip", "--without-mingle",
            ],
            env={**os.environ, "DATABASE_URL": _test_database_url(), "CELERY_SKIP_CHECKS": "1"},
            cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=tether(signal.SIGKILL),
        )  # fmt: skip
    try:
        _wait_for_line(path, 0, b"ready.", process)
        yield process
    finally:
        end(process)
        path.unlink(missing_ok=True)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a worker with its pool, as a machine that fails does."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(autouse=True)
def no_old_messages(servers: Servers, transactional_db: None) -> None:
    import redis

    with redis.Redis(unix_socket_path=str(servers.paths.valkey_socket)) as client:
        client.delete("engine", "telemetry", "control", "unacked", "unacked_index")


def gateway_make(name: str) -> Device:
    site = Site.objects.create(name=f"{name}-{time.time_ns()}")
    return Device.objects.create(name=name, site=site, kind=DeviceKind.GATEWAY, roles=["mptcp.sensor"])


def send(gateway: Device, scenes: list[SceneConnection], part: Callable[[SceneConnection], list]) -> None:
    segments = [segment for scene in scenes for segment in part(scene)]
    sensor_samples_ingest(device_name=gateway.name, columns=records_to_columns(records_of(segments)))


def is_worked_off() -> bool:
    """Whether every log is stored to its end; asks again for work, as beat does."""
    domains = list(AssociationDomain.objects.all())
    if all(domain.position == log_last(domain.pk) for domain in domains):
        return True
    domains_sweep()
    return False


def shapes(site: Site) -> list[list[str]]:
    """Return the client addresses of each connection of a site."""
    rows = Connection.objects.filter(domain__site=site).exclude(state="gone")
    return sorted(sorted(row.subflows.values_list("a", flat=True)) for row in rows)


def expected(scenes: list[SceneConnection]) -> list[list[str]]:
    return sorted(sorted(flow.src for flow in scene.subflows) for scene in scenes)


def test_worker_killed_in_the_middle_loses_no_connection(servers: Servers) -> None:
    gateway = gateway_make("gw")
    scenes = [SceneConnection(number) for number in range(1, SCENES + 1)]
    with worker(servers, "first") as first:
        send(gateway, scenes, lambda scene: scene.handshake() + scene.data(2))
        wait_until(is_worked_off, "the first worker took the handshakes", 60, every_s=0.5)
        send(gateway, scenes, lambda scene: scene.join() + scene.data(2))
        end(first)
    # Nobody works now; what comes waits in the log.
    send(gateway, scenes, lambda scene: scene.join() + scene.data(2))
    killed_at_s = time.monotonic()
    with worker(servers, "second"):
        wait_until(is_worked_off, "the second worker took over", 60, every_s=0.5)
        print(
            f"taken over {time.monotonic() - killed_at_s:.1f} s after the kill, start of the worker included"
        )
    assert shapes(gateway.site) == expected(scenes)
    assert all(row.subflow_count == 3 for row in Connection.objects.exclude(state="gone"))


def test_killed_process_gives_the_lease_up_at_once() -> None:
    """The lease is the database session's: what the kernel closes for a killed process ends it."""
    database = settings.DATABASES["default"]
    hold = (
        "import psycopg2, sys, time\n"
        f"other = psycopg2.connect(dbname={database['NAME']!r}, user={database['USER']!r}, host={database['HOST']!r})\n"
        f"other.cursor().execute('SELECT pg_advisory_lock({LOCK_CLASS}, 7)')\n"
        "print('held', flush=True)\n"
        "time.sleep(600)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with domain_lease(7) as is_held:
            assert not is_held
    finally:
        holder.kill()
        holder.communicate()

    def is_free() -> bool:
        with domain_lease(7) as is_held:
            return is_held

    wait_until(is_free, "the dead process's lease is free", 5)


def test_two_workers_share_the_domains(servers: Servers) -> None:
    gateways = [gateway_make(f"gw-{index}") for index in range(4)]
    scenes = {gateway.name: [SceneConnection(number) for number in range(1, 6)] for gateway in gateways}
    by: dict[str, set[str]] = {}

    def is_shared() -> bool:
        for gateway in gateways:
            send(
                gateway,
                scenes[gateway.name],
                lambda scene: scene.data(1) if scene.subflows else scene.handshake(),
            )
        for name, who in AssociationDomain.objects.values_list("site__name", "worked_by"):
            by.setdefault(name, set()).add(who)
        return len({who for names in by.values() for who in names if who}) >= 2

    with worker(servers, "first"), worker(servers, "second"):
        wait_until(is_shared, "both workers worked", 60, every_s=0.2)
        for gateway in gateways:
            send(gateway, scenes[gateway.name], SceneConnection.join)
            send(gateway, scenes[gateway.name], SceneConnection.join)
        wait_until(is_worked_off, "all is stored", 60, every_s=0.5)
    for gateway in gateways:
        assert shapes(gateway.site) == expected(scenes[gateway.name])
