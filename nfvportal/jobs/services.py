"""Writes of jobs: start, cancel, and the steps of a run."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from nfvportal.audit.services import audit_record
from nfvportal.celery import app
from nfvportal.jobs.kinds import JOB_KINDS
from nfvportal.jobs.models import FINISHED_STATES, Job, JobState
from nfvportal.jobs.selectors import job_data
from nfvportal.lib.errors import InvalidInputError
from nfvportal.live.publish import publish

HEARTBEAT_TIMEOUT = timedelta(seconds=15)
ENQUEUE_TIMEOUT = timedelta(seconds=10)
MESSAGE_LENGTH = 500


def job_start(*, kind: str, params: Mapping[str, Any], user: User | None) -> Job:
    """Create a job and hand it to its queue once the transaction commits.

    A broker that is away delays the job, no more: the sweep enqueues it again.

    Raises:
        InvalidInputError: the kind is unknown.
    """
    if kind not in JOB_KINDS:
        raise InvalidInputError("kind", f"must be one of {', '.join(sorted(JOB_KINDS))}")
    with transaction.atomic():
        job = Job.objects.create(kind=kind, params=dict(params), created_by=user, enqueued_at=timezone.now())
        audit_record(
            actor=user, action="jobs.start", subject=str(job.id), before=None, after={"kind": kind, **params}
        )
        transaction.on_commit(lambda: _announce(job))
        transaction.on_commit(lambda: enqueue(job), robust=True)
    return job


def enqueue(job: Job) -> None:
    """Give the job's id to its Celery queue."""
    app.send_task("jobs.run", kwargs={"job_id": str(job.id)}, queue=JOB_KINDS[job.kind].queue, retry=False)


def job_cancel(*, job: Job, user: User | None) -> Job:
    """Ask a job to stop. A queued one ends at once, a running one at its next checkpoint, a finished one stays."""
    now = timezone.now()
    with transaction.atomic():
        locked = Job.objects.select_for_update(of=("self",)).select_related("created_by").get(pk=job.pk)
        if locked.state in FINISHED_STATES or locked.cancel_requested_at:
            return locked
        locked.cancel_requested_at = now
        if locked.state == JobState.QUEUED:
            locked.state, locked.finished_at = JobState.CANCELLED, now
            locked.message = "cancelled before it started"
        locked.save()
        audit_record(actor=user, action="jobs.cancel", subject=str(locked.id), before=None, after=None)
        transaction.on_commit(lambda: _announce(locked))
    return locked


def job_claim(*, job_id: str) -> Job | None:
    """Take a job for this worker; ``None`` when it is finished, gone, or a living worker has it."""
    now = timezone.now()
    free = Q(state=JobState.QUEUED) | Q(state=JobState.RUNNING, heartbeat_at__lt=now - HEARTBEAT_TIMEOUT)
    with transaction.atomic():
        job = Job.objects.select_for_update(of=("self",), skip_locked=True).filter(free, pk=job_id).first()
        if job is None:
            return None
        job.state, job.heartbeat_at, job.attempt = JobState.RUNNING, now, job.attempt + 1
        job.started_at = job.started_at or now
        job.save(update_fields=["state", "heartbeat_at", "attempt", "started_at"])
        transaction.on_commit(lambda: _announce(job))
    return job


def job_progress(*, job: Job, ratio: float, message: str) -> None:
    """Record how far the run is; silent when another run has taken over."""
    job.progress_ratio, job.message = min(max(ratio, 0.0), 1.0), message[:MESSAGE_LENGTH]
    written = _run_rows(job).update(
        progress_ratio=job.progress_ratio, message=job.message, heartbeat_at=timezone.now()
    )
    if written:
        _announce(job)


def job_beat(*, job: Job) -> None:
    """Say that the worker of this run lives."""
    _run_rows(job).update(heartbeat_at=timezone.now())


def job_finish(*, job: Job, state: JobState, result: Any = None, error: str = "") -> bool:
    """End this run; ``False`` when another run has taken the job over."""
    now = timezone.now()
    progress = 1.0 if state == JobState.SUCCEEDED else job.progress_ratio
    with transaction.atomic():
        written = _run_rows(job).update(
            state=state,
            result=result,
            error=error,
            finished_at=now,
            heartbeat_at=now,
            progress_ratio=progress,
        )
        if written:
            fresh = Job.objects.select_related("created_by").get(pk=job.pk)
            transaction.on_commit(lambda: _announce(fresh))
    return bool(written)


def job_is_cancel_requested(*, job: Job) -> bool:
    """Whether somebody asked this run to stop, or another run has taken the job over."""
    return not _run_rows(job).filter(cancel_requested_at=None).exists()


def jobs_sweep() -> int:
    """Enqueue again the jobs whose message or worker was lost; return how many."""
    now = timezone.now()
    lost = Q(state=JobState.QUEUED, enqueued_at__lt=now - ENQUEUE_TIMEOUT)
    dead = Q(state=JobState.RUNNING, heartbeat_at__lt=now - HEARTBEAT_TIMEOUT)
    due = Q(enqueued_at__lt=now - ENQUEUE_TIMEOUT) | Q(enqueued_at=None)
    count = 0
    for job in Job.objects.filter(lost | dead).filter(due, kind__in=JOB_KINDS)[:500]:
        enqueue(job)
        Job.objects.filter(pk=job.pk).update(enqueued_at=now)
        count += 1
    return count


def _run_rows(job: Job) -> QuerySet[Job]:
    return Job.objects.filter(pk=job.pk, state=JobState.RUNNING, attempt=job.attempt)


def _announce(job: Job) -> None:
    data = dict(job_data(job))
    publish("jobs", "job_changed", data)
    publish(f"job:{job.id}", "job_changed", data)
