"""Measures on a stored capture what sampling costs: read again as if less had been seen, compared with all of it."""

from contextlib import closing
from dataclasses import asdict
from typing import Any, Final

from apps.mptcp.accuracy import RATIOS, compare
from apps.mptcp.association import CaptureAssociation
from apps.mptcp.capture_options import CaptureOptions
from apps.mptcp.engine.capture import CHUNK_BYTES, CaptureDecoder
from apps.mptcp.engine.values import Connection
from apps.mptcp.models import Capture, CaptureState
from apps.mptcp.services.captures import capture_path, capture_state_set
from nfvportal.jobs.runner import JobHandle
from nfvportal.lib.errors import InvalidInputError

# TABLE: the readings that are compared with the full one.
READINGS: Final = tuple(
    CaptureOptions(sample=ratio, width32=width32) for width32 in (False, True) for ratio in RATIOS
)


def run(job: JobHandle) -> dict[str, Any]:
    """Read the capture in full, then as each reading of the table; keep the comparison with its report."""
    row = Capture.objects.filter(pk=job.params["capture"]).first()
    if row is None:
        raise InvalidInputError("capture", "is gone")
    full = _connections(job, row, CaptureOptions())
    rows = []
    for index, options in enumerate(READINGS):
        job.progress((index + 1) / (len(READINGS) + 1), f"reading at {options.sample:g}")
        compared = compare(full, _connections(job, row, options))
        rows.append({"sample": options.sample, "width32": options.width32, **asdict(compared)})
    row.refresh_from_db()
    capture_state_set(row, CaptureState(row.state), report={**row.report, "accuracy": rows})
    return {"capture": row.pk, "accuracy": rows}


def _connections(job: JobHandle, row: Capture, options: CaptureOptions) -> list[Connection]:
    decoder, association = CaptureDecoder(), CaptureAssociation()
    left_of = options.reader()
    try:
        file = capture_path(row).open("rb")
    except FileNotFoundError as error:
        raise InvalidInputError("file", "is no longer kept; upload it again") from error
    with closing(file):
        while chunk := file.read(CHUNK_BYTES):
            job.checkpoint()
            records = decoder.feed(chunk)
            if len(records) and len(left := left_of(records)):
                association.take(left)
    return association.final()
