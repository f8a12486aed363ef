"""Writes the same text to many websockets without encoding it for each.

uvicorn builds every frame anew in Python (about 25 us). Without compression a server's text frame is the same bytes
for every browser (RFC 6455, section 5.2: servers do not mask), so it is built once and written as it is.
"""

import struct
from functools import lru_cache
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

FINAL_TEXT = 0x81


class SharedFrameProtocol(WebSocketsSansIOProtocol):
    """uvicorn's websocket protocol with a short way for text on an open websocket. Needs compression off."""

    async def send(self, message: Any) -> None:
        """Send one ASGI message."""
        text = message.get("text")
        if (
            message["type"] != "websocket.send"
            or text is None
            or not self.handshake_complete
            or self.close_sent
        ):
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected:
            raise ClientDisconnected
        if not self.transport.is_closing():
            self.transport.write(text_frame(text))


@lru_cache(maxsize=16)
def text_frame(text: str) -> bytes:
    """Return the unmasked, unfragmented frame of a text.

    >>> text_frame("hi")
    b'\\x81\\x02hi'
    """
    payload = text.encode()
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", FINAL_TEXT, size)
    elif size < 65_536:
        head = struct.pack("!BBH", FINAL_TEXT, 126, size)
    else:
        head = struct.pack("!BBQ", FINAL_TEXT, 127, size)
    return head + payload
