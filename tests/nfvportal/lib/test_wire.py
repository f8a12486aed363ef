"""The agent protocol's frames: whatever arrives, decoding answers with a frame or with InvalidInputError."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfvportal.lib import wire
from nfvportal.lib.errors import InvalidInputError

EVENT = {
    "type": "event", "id": 17, "boot_id": "b", "role": "wan.gateway", "event": "wan.link_failed", "at_s": 1.5,
    "data": {},
}  # fmt: skip
SAMPLES = {"type": "samples", "role": "wan.gateway", "columns": {"at_s": [1.0, 2.0], "link": ["a", "b"]}}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.text() | st.binary())
def test_any_message_is_a_frame_or_invalid_input(text: str | bytes) -> None:
    for allowed in (wire.FROM_AGENT, wire.FROM_PORTAL):
        try:
            assert wire.decode(text, allowed)["type"] in allowed
        except InvalidInputError:
            continue


@given(st.sampled_from(sorted(wire.FRAMES)), st.data())
def test_frames_with_any_values_never_break_the_decoder(kind: str, data: st.DataObject) -> None:
    fields = {name: data.draw(json_values) for name in wire.FRAMES[kind] if data.draw(st.booleans())}
    text = json.dumps({"type": kind, **fields})
    try:
        frame = wire.decode(text, wire.FROM_AGENT)
    except InvalidInputError:
        return
    # What is accepted can be sent on and stored: no NaN, no NUL, no lone surrogate.
    assert "\\u0000" not in wire.encode(frame)
    json.dumps(frame, ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize("frame", [EVENT, SAMPLES, {"type": "ping", "at_s": 3}])
def test_frames_survive_the_wire(frame: dict[str, Any]) -> None:
    assert wire.decode(wire.encode(frame), wire.FROM_AGENT) == frame


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": -1}, "id"),
        ({"id": True}, "id"),
        ({"id": 2**53}, "id"),
        ({"boot_id": ""}, "boot_id"),
        ({"role": "r" * 65}, "role"),
        ({"data": []}, "data"),
        ({"extra": 1}, "extra"),
        ({"type": "welcome", "heartbeat_s": 5}, "type"),
    ],
)
def test_what_breaks_a_limit_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        wire.decode(json.dumps({**EVENT, **change}), wire.FROM_AGENT)
    assert caught.value.field == field


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    with pytest.raises(InvalidInputError):
        wire.decode(f'{{"type":"ping","at_s":{number}}}', wire.FROM_AGENT)


def test_columns_must_be_of_one_length_and_bounded() -> None:
    for columns in (
        {"a": [1], "b": []},
        {"a": [0] * (wire.MAX_SAMPLE_ROWS + 1)},
        {f"c{index}": [] for index in range(wire.MAX_COLUMNS + 1)},
        {},
    ):
        with pytest.raises(InvalidInputError):
            wire.decode(json.dumps({**SAMPLES, "columns": columns}), wire.FROM_AGENT)


def test_size_and_depth_are_bounded() -> None:
    with pytest.raises(InvalidInputError, match="bytes"):
        wire.encode({**EVENT, "data": {"a": "x" * wire.MAX_FRAME_BYTES}})
    with pytest.raises(InvalidInputError, match="bytes"):
        wire.decode(" " * (wire.MAX_FRAME_BYTES + 1), wire.FROM_AGENT)
    for depth in (wire.MAX_DEPTH + 1, 100_000):
        with pytest.raises(InvalidInputError):
            wire.decode('{"type":"ping","at_s":' + "[" * depth + "]" * depth + "}", wire.FROM_AGENT)
    with pytest.raises(InvalidInputError):
        wire.encode({**EVENT, "data": {"a": math.nan}})
