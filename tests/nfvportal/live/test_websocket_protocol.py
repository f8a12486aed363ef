"""The short way for text frames writes what the long way would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from nfvportal.supervise.websocket_protocol import text_frame


@given(st.text())
def test_frame_is_what_the_library_writes(text: str) -> None:
    assert text_frame(text) == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


@pytest.mark.parametrize("size", [0, 125, 126, 127, 65_535, 65_536, 1 << 20])
def test_every_form_of_the_length(size: int) -> None:
    text = "x" * size
    assert text_frame(text) == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
