"""Job functions that the tests of jobs run."""

from typing import Any

from nfvportal.jobs.models import Job
from nfvportal.jobs.runner import JobHandle
from nfvportal.lib.errors import InvalidInputError


def count(job: JobHandle) -> dict[str, Any]:
    """Count to ``n`` with progress."""
    total = int(job.params["n"])
    for done in range(total):
        job.checkpoint()
        job.progress((done + 1) / total, f"{done + 1} of {total}")
    return {"counted": total, "attempt": job.attempt}


def refuse(job: JobHandle) -> dict[str, Any]:
    """Find fault with the input."""
    raise InvalidInputError("n", "must be positive")


def crash(job: JobHandle) -> dict[str, Any]:
    """Break."""
    raise ZeroDivisionError("boom")


def cancelled_half_way(job: JobHandle) -> dict[str, Any]:
    """Somebody cancels while this runs."""
    job.progress(0.5, "half way")
    Job.objects.filter(pk=job.id).update(cancel_requested_at="2026-01-01T00:00:00Z")
    job.checkpoint()
    return {"reached": True}


def taken_over(job: JobHandle) -> dict[str, Any]:
    """Another worker gives this run up for dead and starts its own."""
    Job.objects.filter(pk=job.id).update(attempt=job.attempt + 1)
    return {"from": "the dead"}
