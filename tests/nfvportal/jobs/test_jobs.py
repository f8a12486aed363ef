"""Jobs: every outcome ends in the row, runs fence each other, nothing is lost."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from nfvportal.jobs import services
from nfvportal.jobs.kinds import JOB_KINDS, JobKind
from nfvportal.jobs.models import Job, JobState
from nfvportal.jobs.runner import run_job
from nfvportal.jobs.selectors import job_data, jobs_snapshot
from nfvportal.lib.errors import InvalidInputError

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("count", "refuse", "crash", "cancelled_half_way", "taken_over"):
        monkeypatch.setitem(
            JOB_KINDS, f"test.{name}", JobKind(f"tests.nfvportal.jobs.work:{name}", "engine", name)
        )
    # No worker listens in these tests: what would reach Celery is collected instead of piling up in the broker.
    sent: list[Job] = []
    monkeypatch.setattr(services, "enqueue", sent.append)


def _job(kind: str, **fields: Any) -> Job:
    job = services.job_start(kind=f"test.{kind}", params=fields.pop("params", {}), user=None)
    if fields:
        Job.objects.filter(pk=job.pk).update(**fields)
    job.refresh_from_db()
    return job


def test_success_keeps_result_and_full_progress() -> None:
    job = _job("count", params={"n": 3})
    assert (job.state, job.attempt) == (JobState.QUEUED, 0)
    run_job(str(job.id))
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED
    assert job.result == {"counted": 3, "attempt": 1}
    assert job.progress_ratio == 1.0
    assert job.message == "3 of 3"
    assert job.started_at is not None
    assert job.finished_at is not None


def test_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match=r"inventory\.import_csv"):
        services.job_start(kind="nonsense", params={}, user=None)
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("kind", "state", "error"),
    [
        ("refuse", JobState.FAILED, "n: must be positive"),
        ("crash", JobState.FAILED, "ZeroDivisionError: boom"),
        ("cancelled_half_way", JobState.CANCELLED, ""),
    ],
)
def test_every_outcome_ends_in_the_row(kind: str, state: JobState, error: str) -> None:
    job = _job(kind)
    run_job(str(job.id))
    job.refresh_from_db()
    assert (job.state, job.error, job.result) == (state, error, None)
    assert job.finished_at is not None


def test_finished_job_does_not_run_again() -> None:
    job = _job("count", params={"n": 1})
    run_job(str(job.id))
    run_job(str(job.id))
    job.refresh_from_db()
    assert job.attempt == 1


def test_second_worker_leaves_a_living_run_alone() -> None:
    job = _job("count", state=JobState.RUNNING, heartbeat_at=timezone.now(), attempt=1)
    run_job(str(job.id))
    job.refresh_from_db()
    assert (job.state, job.attempt) == (JobState.RUNNING, 1)


def test_dead_run_is_taken_over() -> None:
    dead_since = timezone.now() - services.HEARTBEAT_TIMEOUT - timedelta(seconds=1)
    job = _job("count", params={"n": 1}, state=JobState.RUNNING, heartbeat_at=dead_since, attempt=1)
    run_job(str(job.id))
    job.refresh_from_db()
    assert (job.state, job.result) == (JobState.SUCCEEDED, {"counted": 1, "attempt": 2})


def test_run_given_up_for_dead_cannot_write_over_its_successor() -> None:
    job = _job("taken_over")
    run_job(str(job.id))
    job.refresh_from_db()
    assert (job.state, job.result, job.attempt) == (JobState.RUNNING, None, 2)


def test_sweep_enqueues_lost_and_dead_jobs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = timezone.now() - timedelta(minutes=1)
    lost = _job("count", enqueued_at=long_ago)
    dead = _job("count", state=JobState.RUNNING, heartbeat_at=long_ago, enqueued_at=long_ago)
    _job("count")
    _job("count", state=JobState.RUNNING, heartbeat_at=timezone.now(), enqueued_at=long_ago)
    _job("count", state=JobState.SUCCEEDED, enqueued_at=long_ago)
    sent: list[Any] = []
    monkeypatch.setattr(services, "enqueue", lambda job: sent.append(job.pk))
    assert services.jobs_sweep() == 2
    assert set(sent) == {lost.pk, dead.pk}
    assert services.jobs_sweep() == 0


def test_cancel_of_a_queued_job_ends_it_at_once() -> None:
    job = services.job_cancel(job=_job("count"), user=None)
    assert job.state == JobState.CANCELLED
    run_job(str(job.id))
    job.refresh_from_db()
    assert (job.state, job.attempt) == (JobState.CANCELLED, 0)


def test_cancel_of_a_finished_job_changes_nothing() -> None:
    job = _job("count", params={"n": 1})
    run_job(str(job.id))
    assert services.job_cancel(job=job, user=None).state == JobState.SUCCEEDED


def test_snapshot_of_the_list_and_of_one_job_agree() -> None:
    user = User.objects.create_user("someone")
    job = _job("count", params={"n": 2})
    listed = jobs_snapshot(user, "jobs")["jobs"]
    assert listed == [jobs_snapshot(user, f"job:{job.id}")["job"]] == [job_data(job)]
