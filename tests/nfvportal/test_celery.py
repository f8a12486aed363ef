"""Tasks share their process's connection to the database, and outlive it."""

import json
import subprocess
import sys

from django.db import connection

from nfvportal.celery import app
from nfvportal.jobs.models import Job, JobState
from nfvportal.jobs.services import job_start
from nfvportal.schedule import SCHEDULE
from tests.support.services import CHECKOUT, WORKER_NAME
from tests.support.waiting import wait_until

POOL = 2  # processes of the test run's worker


def worker_backends(then: str = "pid") -> set[object]:
    """Return the database's processes that serve the worker, or what a function makes of each."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pid, {then} FROM pg_stat_activity WHERE application_name = %s", [WORKER_NAME])
        return {pid for pid, _ in cursor.fetchall()}


def job_ends() -> None:
    """Start a job and wait until the worker has ended it, in whatever way."""
    job = job_start(kind="inventory.import_csv", params={}, user=None)
    over = (JobState.SUCCEEDED, JobState.FAILED)
    wait_until(lambda: Job.objects.filter(pk=job.pk, state__in=over).exists(), "the job ends")


def test_tasks_share_connections_and_get_new_ones_for_broken_ones(
    celery_worker_process: "subprocess.Popen[bytes]",
) -> None:
    seen: set[object] = set()
    for _ in range(8):
        job_ends()
        seen |= worker_backends()
    assert 1 <= len(seen) <= POOL
    assert worker_backends("pg_terminate_backend(pid)") <= seen
    wait_until(lambda: not worker_backends() & seen, "the database has ended them")
    for _ in range(4):
        job_ends()
    assert not worker_backends() & seen
    assert celery_worker_process.poll() is None


BEAT_STARTS = """
import json, sys
from nfvportal.beat import app
app.loader.init_worker()
app.finalize()
ours = [name for name in sys.modules if name.endswith((".tasks", ".models")) and name.startswith(("apps", "nfv"))]
print(json.dumps([sorted(entry["task"] for entry in app.conf.beat_schedule.values()), app.conf.broker_url, ours]))
"""


def test_beat_knows_the_schedule_and_loads_no_task() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", BEAT_STARTS], cwd=CHECKOUT, check=True, capture_output=True
    )
    names, broker_url, loaded = json.loads(answer.stdout)
    assert names == sorted(row.task for row in SCHEDULE)
    assert broker_url == app.conf.broker_url
    assert loaded == []
