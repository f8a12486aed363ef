"""Starts the job that measures what sampling costs; apart from the job, which loads the engine and its compiler."""

from typing import Final

from django.contrib.auth.models import User

from apps.mptcp.models import Capture, CaptureState
from nfvportal.jobs.models import Job
from nfvportal.jobs.services import job_start
from nfvportal.lib.errors import InvalidInputError

JOB_KIND: Final = "mptcp.accuracy"


def accuracy_start(*, row: Capture, user: User) -> Job:
    """Start to measure on a capture that was read.

    Raises:
        InvalidInputError: it is not ready, or its file is no longer kept.
    """
    if row.state != CaptureState.READY or not row.is_file_kept:
        raise InvalidInputError("", "needs a capture that was read and whose file is still kept")
    return job_start(kind=JOB_KIND, params={"capture": row.pk, "file": row.file_name}, user=user)
