"""The job ``inventory.import_csv``."""

from dataclasses import asdict
from typing import Any

from nfvportal.inventory.csv_exchange import devices_import
from nfvportal.jobs.runner import JobHandle

PROGRESS_STEP = 50


def run(job: JobHandle) -> dict[str, Any]:
    """Import ``params["text"]``; with ``params["dry_run"]`` only check it. Importing twice changes nothing more."""

    def progress(done: int, total: int) -> None:
        if done % PROGRESS_STEP == 0:
            job.checkpoint()

    job.progress(0.1, "reading")
    is_dry_run = bool(job.params["dry_run"])
    outcome = devices_import(
        text=job.params["text"], actor=job.user, is_dry_run=is_dry_run, progress=progress
    )
    words = ", ".join(f"{count} {name}" for name, count in asdict(outcome).items())
    job.progress(1.0, f"{'would be ' if is_dry_run else ''}{words}")
    return {**asdict(outcome), "dry_run": is_dry_run}
