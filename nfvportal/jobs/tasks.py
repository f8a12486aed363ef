"""Celery tasks of jobs."""

from celery import shared_task

from nfvportal.jobs.runner import run_job
from nfvportal.jobs.services import jobs_sweep


@shared_task(name="jobs.run")
def run(job_id: str) -> None:
    """Run one job; does nothing when another worker has it."""
    run_job(job_id)


@shared_task(name="jobs.sweep")
def sweep() -> int:
    """Enqueue again what a dead worker or broker left behind."""
    return jobs_sweep()
