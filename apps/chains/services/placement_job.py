"""The job ``chains.place``."""

import uuid
from typing import Any

from apps.chains.services.placements import placement_ask_parse, placement_make
from nfvportal.jobs.runner import JobHandle


def run(job: JobHandle) -> dict[str, Any]:
    """Place the chains of ``params``; a second run returns the first's placement. It can be cancelled between steps."""

    def progress(ratio: float, words: str) -> None:
        job.checkpoint()
        job.progress(ratio, words)

    row = placement_make(
        ask=placement_ask_parse(job.params), actor=job.user, job_id=uuid.UUID(job.id), progress=progress
    )
    words = f"{row.admitted_count} chains placed, {row.refused_count} refused"
    job.progress(1.0, words if row.is_feasible else f"there is no placement: {row.content['witness']}")
    return {"placement": row.pk, "is_feasible": row.is_feasible}
