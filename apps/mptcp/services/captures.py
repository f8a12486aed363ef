"""Captures: keep an upload, read it in a job, keep what was found, forget it."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from apps.mptcp.capture_options import CaptureOptions
from apps.mptcp.models import Capture, CaptureState, Verdict
from apps.mptcp.services.announcements import announce_capture, announce_capture_removed
from apps.mptcp.upload import PART_SUFFIX, StoredUpload, captures_dir
from nfvportal.audit.services import audit_record
from nfvportal.jobs.models import Job
from nfvportal.jobs.services import job_cancel, job_start
from nfvportal.lib.errors import InvalidInputError

JOB_KIND: Final = "mptcp.capture"
# An upload of 2 GiB takes minutes on a slow line; what is older was left by a process that was killed.
PART_KEEP: Final = timedelta(hours=6)
FILE_KEEP: Final = timedelta(days=7)


def capture_create(*, upload: StoredUpload, options: CaptureOptions, user: User) -> tuple[Capture, Job]:
    """Keep an uploaded file and start the job that reads it."""
    row = Capture(
        file_name=upload.name or "capture",
        size_bytes=upload.size or 0,
        sha256=upload.sha256,
        options=options.to_json(),
        created_by=user,
    )
    path = upload.keep(row.file_key)
    try:
        with transaction.atomic():
            row.save()
            job = job_start(kind=JOB_KIND, params={"capture": row.pk, "file": row.file_name}, user=user)
            row.job_id = job.id
            row.save(update_fields=["job_id"])
            audit_record(
                actor=user,
                action="mptcp.capture_create",
                subject=row.file_name,
                before=None,
                after={"id": row.pk, "size_bytes": row.size_bytes, "sha256": row.sha256, **row.options},
            )
            announce_capture(row)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return row, job


def capture_path(row: Capture) -> Path:
    """Return where the file of a capture lies."""
    return captures_dir() / row.file_key


def capture_state_set(row: Capture, state: CaptureState, **fields: Any) -> None:
    """Store where the reading stands."""
    with transaction.atomic():
        row.state = state
        for name, value in fields.items():
            setattr(row, name, value)
        row.save(update_fields=["state", *fields])
        announce_capture(row)


def capture_delete(*, row: Capture, actor: User) -> None:
    """Delete a capture with its file and what was found in it.

    Raises:
        InvalidInputError: a verdict on one of its connections is open.
    """
    if Verdict.objects.filter(connection__capture=row, ended_at=None).exists():
        raise InvalidInputError("", "a verdict on one of its connections is in force; undo it first")
    path, key = capture_path(row), row.pk
    with transaction.atomic():
        for job in Job.objects.filter(pk=row.job_id or UUID(int=0)):
            job_cancel(job=job, user=actor)
        audit_record(
            actor=actor,
            action="mptcp.capture_delete",
            subject=row.file_name,
            before={"id": key, "sha256": row.sha256},
            after=None,
        )
        row.delete()
        announce_capture_removed(key)
        transaction.on_commit(lambda: path.unlink(missing_ok=True), robust=True)


def captures_retain() -> int:
    """Remove files that nobody needs any more: halves of uploads, and read captures past their time; return how many.

    What was found in a capture stays until somebody deletes it.
    """
    removed = 0
    now = timezone.now()
    for path in captures_dir().glob(f"*{PART_SUFFIX}"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < (now - PART_KEEP).timestamp():
                path.unlink()
                removed += 1
    old = Capture.objects.filter(is_file_kept=True, finished_at__lt=now - FILE_KEEP)
    for row in old:
        capture_path(row).unlink(missing_ok=True)
        Capture.objects.filter(pk=row.pk).update(is_file_kept=False)
        removed += 1
    return removed
