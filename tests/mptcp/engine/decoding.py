"""Ways to compare decoders with their twin."""

import itertools
from collections.abc import Iterable

import numpy as np

from apps.mptcp.engine.capture import CaptureDecoder
from apps.mptcp.engine.frames import FrameDecoder
from apps.mptcp.engine.records import COLUMNS, PacketRecords
from tests.mptcp.engine.decoder_twin import Frame, Row, row_of


def rows_of(records: PacketRecords) -> list[Row]:
    """Return records as plain rows."""
    columns = [getattr(records, name).tolist() for name in COLUMNS]
    for name, dtype in COLUMNS.items():
        assert getattr(records, name).dtype == dtype, name
    return [dict(zip(COLUMNS, values, strict=True)) for values in zip(*columns, strict=True)]


def decode_frames(frames: Iterable[Frame]) -> tuple[list[Row], FrameDecoder]:
    """Return the fast decoder's rows of some frames, all in one buffer with other bytes between them."""
    listed = list(frames)
    data = b"".join(b"\xee" * 3 + frame.data for frame in listed) + b"\x1e" * 64
    table = np.zeros((len(listed), 5), np.int64)
    position = 0
    for index, frame in enumerate(listed):
        table[index] = position + 3, len(frame.data), frame.wire, frame.link, frame.at_us
        position += 3 + len(frame.data)
    decoder = FrameDecoder()
    observer = listed[0].observer if listed else 0
    return rows_of(decoder.decode(np.frombuffer(data, np.uint8), table, observer)), decoder


def twin_rows(frames: Iterable[Frame]) -> list[Row]:
    """Return the twin's rows of some frames."""
    return [row for frame in frames if (row := row_of(frame)) is not None]


def capture_rows(data: bytes, cuts: Iterable[int] = ()) -> tuple[list[Row], CaptureDecoder]:
    """Return the rows of a capture that is fed in pieces cut at some places."""
    decoder = CaptureDecoder()
    places = [0, *sorted(cuts), len(data)]
    parts = [decoder.feed(data[low:high]) for low, high in itertools.pairwise(places)]
    decoder.finish()
    return rows_of(PacketRecords.joined(parts)), decoder
