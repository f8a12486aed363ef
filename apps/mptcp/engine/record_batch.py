"""Packet records on the wire between sensors and the portal: one row of JSON per batch.

A batch holds the columns of ``PacketRecords`` one after the other, little-endian, deflated and in base64. Most columns
of most packets are zero or repeat, so a record takes about 40 characters instead of 300 as JSON numbers.
"""

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from apps.mptcp.engine.records import COLUMNS, PacketRecords
from nfvportal.lib.errors import InvalidInputError

# A batch that does not deflate at all still fits into one frame of the agent's protocol (256 KiB).
BATCH_RECORDS_MAX: Final = 1024
RECORD_BYTES: Final = sum(np.dtype(dtype).itemsize for dtype in COLUMNS.values())
_WIRE: Final = {name: np.dtype(dtype).newbyteorder("<") for name, dtype in COLUMNS.items()}
_TEXT_MAX: Final = 4 * (BATCH_RECORDS_MAX * RECORD_BYTES + 1024) // 3


def records_to_text(records: PacketRecords) -> str:
    """Return at most ``BATCH_RECORDS_MAX`` records as text."""
    assert len(records) <= BATCH_RECORDS_MAX
    plain = b"".join(getattr(records, name).astype(kind).tobytes() for name, kind in _WIRE.items())
    return base64.b64encode(zlib.compress(plain, 1)).decode()


def text_to_records(text: object, count: object) -> PacketRecords:
    """Return the records of a batch.

    Args:
        text: what ``records_to_text`` made.
        count: how many records it holds, 0 to ``BATCH_RECORDS_MAX``; bounds the memory whatever the text unfolds to.

    Raises:
        InvalidInputError: it is not such a batch, or holds another number of records.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= BATCH_RECORDS_MAX:
        raise InvalidInputError("count", f"must be a whole number from 0 to {BATCH_RECORDS_MAX}")
    if not isinstance(text, str) or len(text) > _TEXT_MAX:
        raise InvalidInputError("records", f"must be text of at most {_TEXT_MAX} characters")
    size = count * RECORD_BYTES
    try:
        plain = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size + 1)
    except (ValueError, binascii.Error, zlib.error) as error:
        raise InvalidInputError("records", "must be deflated columns in base64") from error
    if len(plain) != size:
        raise InvalidInputError("records", f"must hold {count} records of {RECORD_BYTES} bytes")
    records, at = PacketRecords.zeros(count), 0
    for name, kind in _WIRE.items():
        records.array[name] = np.frombuffer(plain, kind, count, at)
        at += count * kind.itemsize
    return records


def records_to_columns(records: PacketRecords) -> dict[str, list[object]]:
    """Return at most ``BATCH_RECORDS_MAX`` records as the columns of one ``samples`` frame of the agent.

    Columns, one row: ``records`` and ``count``, see ``text_to_records``; ``first_us``, ``last_us``: their times.
    """
    times = records.at_us
    return {
        "count": [len(records)],
        "first_us": [int(times.min()) if len(times) else 0],
        "last_us": [int(times.max()) if len(times) else 0],
        "records": [records_to_text(records)],
    }


def columns_to_records(columns: Mapping[str, Sequence[object]]) -> PacketRecords:
    """Return the records of one ``samples`` frame, of all its rows.

    Raises:
        InvalidInputError: a column is missing or a batch is not one.
    """
    for name in ("records", "count"):
        if name not in columns:
            raise InvalidInputError(name, "is a column of every batch of records")
    rows = zip(columns["records"], columns["count"], strict=False)
    return PacketRecords.joined([text_to_records(text, count) for text, count in rows])
