"""Reads a capture in a job: bytes to records to connections to rows, in bounded memory, with progress.

Run again after a crash it begins anew: rows are replaced, never doubled.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO, Final

from django.utils import timezone

from apps.mptcp.association import CaptureAssociation
from apps.mptcp.capture_options import CaptureOptions
from apps.mptcp.engine.capture import CHUNK_BYTES, CaptureDecoder
from apps.mptcp.engine.records import PacketRecords
from apps.mptcp.engine.report import DecodeReport
from apps.mptcp.models import Capture, CaptureState
from apps.mptcp.point_log import PointLog
from apps.mptcp.services.captures import capture_path, capture_state_set
from apps.mptcp.services.connections import connections_store
from nfvportal.jobs.runner import JobHandle
from nfvportal.lib.errors import InvalidInputError

# Reading takes most of the time, storing the rest.
READ_SHARE: Final = 0.9
STORE_BATCH: Final = 500
ALARMS_REPORTED: Final = 50


def run(job: JobHandle) -> dict[str, Any]:
    """Read the capture that the job names.

    Raises:
        InvalidInputError: there is nothing in it that can be read.
    """
    row = Capture.objects.filter(pk=job.params["capture"]).first()
    if row is None:
        raise InvalidInputError("capture", "is gone")
    capture_state_set(row, CaptureState.READING, error="")
    try:
        report = _read(job, row)
    except BaseException as error:
        words = str(error) if isinstance(error, InvalidInputError) else "the reading ended early; see its job"
        capture_state_set(row, CaptureState.FAILED, error=words[:500], finished_at=timezone.now())
        raise
    capture_state_set(row, CaptureState.READY, report=report, finished_at=timezone.now())
    return {"capture": row.pk, **report}


def _read(job: JobHandle, row: Capture) -> dict[str, Any]:
    options = CaptureOptions.from_json(row.options)
    decoder = CaptureDecoder()
    points, association = PointLog(), CaptureAssociation()
    counts: Counter[str] = Counter()
    try:
        file = capture_path(row).open("rb")
    except FileNotFoundError as error:
        raise InvalidInputError("file", "is no longer kept; upload it again") from error
    with closing(file):
        for records in _records(job, file, decoder, options):
            counts["record"] += len(records)
            points.add(records)
            association.take(records)
    decoded = decoder.finish()
    if not decoded.packet_count:
        raise InvalidInputError("file", _why_nothing(decoded))
    values = association.final()
    row.connections.all().delete()
    for start in range(0, len(values), STORE_BATCH):
        job.checkpoint()
        connections_store(source=row, values=values[start : start + STORE_BATCH], points=points)
        job.progress(
            READ_SHARE + (1 - READ_SHARE) * start / len(values), f"storing {len(values)} connections"
        )
    report = _report(decoded, association, counts["record"])
    report["connection_count"] = len(values)
    report["subflow_count"] = sum(len(value.subflows) for value in values)
    report["multipath_count"] = sum(len(value.subflows) > 1 for value in values)
    return report


def _records(
    job: JobHandle, file: BinaryIO, decoder: CaptureDecoder, options: CaptureOptions
) -> Iterator[PacketRecords]:
    """Yield what the options leave of the file, in order; tell progress on the way."""
    left_of = options.reader()
    size = max(1, os.fstat(file.fileno()).st_size)
    done = shown = 0
    while chunk := file.read(CHUNK_BYTES):
        records = decoder.feed(chunk)
        done += len(chunk)
        if done - shown >= size / 50 or done == size:
            shown = done
            job.checkpoint()
            job.progress(READ_SHARE * done / size, f"read {done / 2**20:.0f} of {size / 2**20:.0f} MiB")
        if len(records) and len(left := left_of(records)):
            yield left


def _why_nothing(decoded: DecodeReport) -> str:
    if not decoded.input_format:
        return "is neither pcap nor pcapng; save it as one of these"
    if decoded.is_broken or decoded.is_cut:
        return f"is a {decoded.input_format} file that ends, or breaks, before its first packet"
    return f"is a {decoded.input_format} file without a packet"


def _report(decoded: DecodeReport, association: CaptureAssociation, record_count: int) -> dict[str, Any]:
    span_s = (decoded.last_us - decoded.first_us) / 1e6 if decoded.first_us and decoded.last_us else 0.0
    return {
        "format": decoded.input_format,
        "packet_count": decoded.packet_count,
        "tcp_count": decoded.tcp_count,
        "mptcp_count": decoded.mptcp_count,
        "record_count": record_count,
        "truncated_count": decoded.truncated_count,
        "malformed": dict(decoded.malformed),
        "passed_over": dict(decoded.passed_over),
        "unsupported_link_types": {str(key): count for key, count in decoded.unsupported_link_types.items()},
        "is_cut": decoded.is_cut,
        "is_broken": decoded.is_broken,
        "ignored_byte_count": decoded.ignored_byte_count,
        "first_s": decoded.first_us / 1e6 if decoded.first_us is not None else None,
        "span_s": span_s,
        "alarms": association.alarms[:ALARMS_REPORTED],
    }
