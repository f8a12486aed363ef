"""Records survive the wire bit by bit; anything else is refused with bounded memory."""

import base64
import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.mptcp.engine.record_batch import (
    BATCH_RECORDS_MAX,
    RECORD_BYTES,
    columns_to_records,
    records_to_columns,
    records_to_text,
    text_to_records,
)
from apps.mptcp.engine.records import COLUMNS, PacketRecords
from nfvportal.lib import wire
from nfvportal.lib.errors import InvalidInputError


def random_records(count: int, seed: int) -> PacketRecords:
    """Return records whose columns are random bits."""
    rng = np.random.default_rng(seed)
    columns = {
        name: np.frombuffer(rng.bytes(count * np.dtype(dtype).itemsize), dtype)
        for name, dtype in COLUMNS.items()
    }
    return PacketRecords.zeros(count).copy(**columns)


@given(st.integers(0, BATCH_RECORDS_MAX), st.integers(0, 1000))
def test_records_come_back_bit_by_bit(count: int, seed: int) -> None:
    records = random_records(count, seed)
    back = columns_to_records(records_to_columns(records))
    for name, dtype in COLUMNS.items():
        column = getattr(back, name)
        assert column.dtype == dtype
        assert np.array_equal(column, getattr(records, name)), name


def test_the_largest_batch_of_noise_fits_into_one_frame_of_the_agent() -> None:
    columns = records_to_columns(random_records(BATCH_RECORDS_MAX, 1))
    text = wire.encode({"type": "samples", "role": "mptcp.sensor", "columns": columns})
    assert wire.decode(text, wire.FROM_AGENT)["columns"] == json.loads(json.dumps(columns))


def test_a_batch_that_unfolds_to_more_than_it_says_is_refused_unread() -> None:
    bomb = base64.b64encode(zlib.compress(bytes(50_000_000))).decode()
    with pytest.raises(InvalidInputError, match="3 records"):
        text_to_records(bomb, 3)


@pytest.mark.parametrize(
    ("text", "count", "field"),
    [
        ("", 1, "records"),
        ("not base64!", 1, "records"),
        ("AAAA", 1, "records"),
        (None, 1, "records"),
        (records_to_text(PacketRecords.zeros(2)), 1, "records"),
        (records_to_text(PacketRecords.zeros(2)), 3, "records"),
        (records_to_text(PacketRecords.zeros(2)), True, "count"),
        (records_to_text(PacketRecords.zeros(2)), -1, "count"),
        (records_to_text(PacketRecords.zeros(2)), BATCH_RECORDS_MAX + 1, "count"),
        ("A" * (2 * BATCH_RECORDS_MAX * RECORD_BYTES), 1, "records"),
    ],
)
def test_what_is_no_batch_is_refused(text: object, count: object, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        text_to_records(text, count)
    assert caught.value.field == field


@given(st.text(max_size=200), st.integers(0, BATCH_RECORDS_MAX))
def test_any_text_is_a_batch_or_refused(text: str, count: int) -> None:
    try:
        assert len(text_to_records(text, count)) == count
    except InvalidInputError:
        return


def test_columns_must_be_there() -> None:
    with pytest.raises(InvalidInputError, match="records"):
        columns_to_records({"count": [1]})
