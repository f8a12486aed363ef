"""The job ``lab.fault``: break a link, for a time or until somebody mends it."""

import time
from typing import Any

from nfvportal.jobs.runner import JobCancelled, JobHandle
from nfvportal.lab.client import LabRefused, LabUnavailable
from nfvportal.lib.errors import InvalidInputError
from nfvportal.testbed.services import fault_clear, fault_inject

STEP_S = 0.25


def run(job: JobHandle) -> dict[str, Any]:
    """Inject ``params``: link, kind, value, duration_s (``None``: stays). A second run breaks the link once more."""
    link, duration_s = job.params["link"], job.params.get("duration_s")
    actor = job.user.get_username() if job.user else "portal"
    try:
        started_s = fault_inject(
            link=link, kind=job.params["kind"], value=job.params.get("value"), actor=actor
        )
        if duration_s is None:
            job.progress(1.0, f"{link} stays broken until it is restored")
            return {"link": link, "started_at_s": started_s, "cleared_at_s": None}
        cleared_s = _hold(job, link, started_s, float(duration_s), actor)
    except (LabUnavailable, LabRefused) as error:
        raise InvalidInputError("lab", str(error)) from error
    return {"link": link, "started_at_s": started_s, "cleared_at_s": cleared_s}


def _hold(job: JobHandle, link: str, started_s: float, duration_s: float, actor: str) -> float:
    """Wait with progress, mend the link also when the job is cancelled, and return when it was mended."""
    try:
        while (left_s := started_s + duration_s - time.time()) > 0:
            job.progress(1 - left_s / max(duration_s, STEP_S), f"{link} is broken for another {left_s:.0f} s")
            job.checkpoint()
            time.sleep(min(STEP_S, left_s))
    except JobCancelled:
        fault_clear(link=link, actor=actor)
        raise
    return fault_clear(link=link, actor=actor)
