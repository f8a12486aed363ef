"""Reads of jobs."""

from typing import Any, TypedDict

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import QuerySet
from django.http import Http404

from nfvportal.jobs.kinds import JOB_KINDS
from nfvportal.jobs.models import FINISHED_STATES, Job

SNAPSHOT_JOBS = 50
SHOWN_PARAM_LENGTH = 200


class JobData(TypedDict):
    """A job as browsers and REST see it. Times are epoch seconds."""

    id: str
    kind: str
    title: str
    state: str
    progress_ratio: float
    message: str
    error: str
    result: Any
    params: dict[str, Any]
    created_by: str
    created_at_s: float
    started_at_s: float | None
    finished_at_s: float | None
    is_cancel_requested: bool
    can_cancel: bool


def job_data(job: Job) -> JobData:
    """Return the job as plain data."""
    kind = JOB_KINDS.get(job.kind)
    return {
        "id": str(job.id),
        "kind": job.kind,
        "title": kind.title if kind else job.kind,
        "state": job.state,
        "progress_ratio": round(job.progress_ratio, 4),
        "message": job.message,
        "error": job.error,
        "result": job.result,
        "params": {name: _shorten(value) for name, value in job.params.items()},
        "created_by": job.created_by.get_username() if job.created_by else "",
        "created_at_s": job.created_at.timestamp(),
        "started_at_s": job.started_at.timestamp() if job.started_at else None,
        "finished_at_s": job.finished_at.timestamp() if job.finished_at else None,
        "is_cancel_requested": job.cancel_requested_at is not None,
        "can_cancel": job.state not in FINISHED_STATES and job.cancel_requested_at is None,
    }


def _shorten(value: object) -> object:
    """Return a parameter for display: a whole uploaded file does not travel with every progress message."""
    if isinstance(value, str) and len(value) > SHOWN_PARAM_LENGTH:
        return f"{value[:SHOWN_PARAM_LENGTH]}… ({len(value)} characters)"
    return value


def job_list(*, state: str = "", kind: str = "") -> QuerySet[Job]:
    """Return jobs, newest first, optionally of one state or kind."""
    jobs = Job.objects.select_related("created_by")
    if state:
        jobs = jobs.filter(state=state)
    if kind:
        jobs = jobs.filter(kind=kind)
    return jobs


def jobs_snapshot(user: AbstractBaseUser | AnonymousUser, topic: str) -> dict[str, Any]:
    """Return what the topics ``jobs`` and ``job:<id>`` start with."""
    del user  # every viewer sees every job
    _, _, job_id = topic.partition(":")
    if not job_id:
        return {"jobs": [job_data(job) for job in job_list()[:SNAPSHOT_JOBS]]}
    try:
        job = job_list().filter(pk=job_id).first()
    except ValueError:  # not a UUID
        job = None
    if job is None:
        raise Http404(f"no job {job_id}")
    return {"job": job_data(job)}
