"""Runs one job: claim, heartbeat, the kind's function, result."""

import logging
import threading
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, cast

from django.db import connection

from nfvportal.jobs import services
from nfvportal.jobs.kinds import JOB_KINDS
from nfvportal.jobs.models import Job, JobState
from nfvportal.lib.errors import InvalidInputError

logger = logging.getLogger(__name__)
HEARTBEAT_S = 4.0


class JobCancelled(Exception):  # noqa: N818  a request that was honoured is no error
    """Raised by ``JobHandle.checkpoint`` when somebody cancelled the job."""


class JobHandle:
    """What a job's function may see and do.

    ``attempt`` is 1 on the first run; a function that is not naturally repeatable looks at it.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self.id = str(job.id)
        self.params: dict[str, Any] = job.params
        self.attempt = job.attempt
        self.user = job.created_by

    def progress(self, ratio: float, message: str = "") -> None:
        """Show progress (0..1) with a few words."""
        services.job_progress(job=self._job, ratio=ratio, message=message)

    def is_cancelled(self) -> bool:
        """Whether the job should stop."""
        return services.job_is_cancel_requested(job=self._job)

    def checkpoint(self) -> None:
        """Stop here when the job was cancelled.

        Raises:
            JobCancelled: the job should stop.
        """
        if self.is_cancelled():
            raise JobCancelled


class JobFunction(Protocol):
    """A job's function: safe to run twice, returns a JSON object."""

    def __call__(self, job: JobHandle) -> dict[str, Any]:
        """Do the work."""


class _Heartbeat:
    """Keeps the row's heartbeat fresh while a function works without reporting progress."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="job-heartbeat", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            try:
                services.job_beat(job=self._job)
            except Exception:
                # The database may be restarting; the run itself decides whether it can go on.
                logger.warning("heartbeat of job %s failed", self._job.pk, exc_info=True)
                connection.close()
        connection.close()


def run_job(job_id: str) -> None:
    """Run a job if nobody else does; every outcome ends in its row."""
    job = services.job_claim(job_id=job_id)
    if job is None:
        return
    try:
        with _Heartbeat(job):
            result = _function(job.kind)(job=JobHandle(job))
    except JobCancelled:
        services.job_finish(job=job, state=JobState.CANCELLED)
    except InvalidInputError as error:
        services.job_finish(job=job, state=JobState.FAILED, error=str(error))
    except Exception as error:
        logger.exception("job %s (%s) failed", job.id, job.kind)
        services.job_finish(job=job, state=JobState.FAILED, error=f"{type(error).__name__}: {error}")
    else:
        services.job_finish(job=job, state=JobState.SUCCEEDED, result=result)


def _function(kind: str) -> JobFunction:
    module_name, _, name = JOB_KINDS[kind].function.partition(":")
    return cast(JobFunction, getattr(import_module(module_name), name))
