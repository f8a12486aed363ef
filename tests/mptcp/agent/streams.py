"""``python -m tests.mptcp.agent.streams serve STATUS | ask SOURCE TARGET COUNT STATUS``: Multipath TCP that goes on.

Both write their state as JSON into STATUS, replaced whole: the server each connection's token by the client's port, the
client what came back on each connection and which subflows it has.
"""

import contextlib
import json
import select
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.mptcp_peers import subflow_addresses

PORT = 5310
MESSAGE = bytes(1500)
EVERY_S = 0.02
TELL_EVERY_S = 0.05
_PROTOCOL, _SOL_MPTCP, _MPTCP_INFO = 262, 284, 1
_TOKEN_AT = 12  # of struct mptcp_info, linux/mptcp.h


def tell(path: Path, state: Any) -> None:
    """Replace the file."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(state))
    fresh.replace(path)


def token_of(connection: socket.socket) -> int:
    """Return our token, which joins of the other side name."""
    info = connection.getsockopt(_SOL_MPTCP, _MPTCP_INFO, 64)
    return int(struct.unpack_from("=I", info, _TOKEN_AT)[0])


def serve(status: Path) -> None:
    """Send back what comes, until killed."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, _PROTOCOL)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", PORT))
    listener.listen(16)
    ends: list[socket.socket] = []
    tokens: dict[str, int] = {}
    tell(status, tokens)
    while True:
        readable, _, _ = select.select([listener, *ends], [], [], 0.5)
        for one in readable:
            if one is listener:
                end, (_, port) = listener.accept()
                end.setblocking(False)
                ends.append(end)
                tokens[str(port)] = token_of(end)
                tell(status, tokens)
                continue
            try:
                data = one.recv(1 << 16)
                if data:
                    one.send(data)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                ends.remove(one)
                one.close()


def ask(source: str, target: str, count: int, status: Path) -> None:
    """Keep connections busy, until killed."""
    ends = []
    for _ in range(count):
        end = socket.socket(socket.AF_INET, socket.SOCK_STREAM, _PROTOCOL)
        end.bind((source, 0))
        end.settimeout(10)
        end.connect((target, PORT))
        end.setblocking(False)
        ends.append(end)
    ports = [end.getsockname()[1] for end in ends]
    came = [0] * count
    told_s = 0.0
    while True:
        time.sleep(EVERY_S)
        for index, end in enumerate(ends):
            with contextlib.suppress(BlockingIOError):
                end.send(MESSAGE)
            with contextlib.suppress(BlockingIOError):
                came[index] += len(end.recv(1 << 16))
        if time.monotonic() - told_s > TELL_EVERY_S:
            told_s = time.monotonic()
            flows = [subflow_addresses(end) for end in ends]
            rows = zip(ports, came, flows, strict=True)
            tell(status, [{"port": port, "bytes": size, "flows": found} for port, size, found in rows])


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]))
    else:
        ask(sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
