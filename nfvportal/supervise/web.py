"""The web process: uvicorn on the sockets that the supervisor opened. ``python -m nfvportal.supervise.web``.

The supervisor keeps the sockets open while this process restarts: connections wait instead of being refused, and no
other program can take the port in between.
"""

import argparse
import asyncio
import os
import socket
from importlib import import_module

import uvicorn

from nfvportal.supervise.websocket_protocol import SharedFrameProtocol

# Larger than the agent protocol's largest frame, so that an oversized one is refused with a reason, not a reset.
WEBSOCKET_MAX_BYTES = 1 << 20
GRACEFUL_WITHIN_S = 3


class Server(uvicorn.Server):
    """Says on its standard output when it serves."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets=sockets)
        print("web ready", flush=True)


def server_make(application: object) -> Server:
    """Return a server of one process for an ASGI application."""
    config = uvicorn.Config(
        application,  # type: ignore[arg-type]  # Channels' router is an ASGI application without types
        lifespan="off",
        log_level="warning",
        access_log=False,
        ws_max_size=WEBSOCKET_MAX_BYTES,
        # Every frame would be compressed anew for every browser: it costs more than it saves on a fast network.
        ws_per_message_deflate=False,
        ws=SharedFrameProtocol,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        timeout_graceful_shutdown=GRACEFUL_WITHIN_S,
        server_header=False,
        backlog=2048,
    )
    return Server(config)


def main() -> None:
    """Import the portal, wait for the gate to open, serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="Serve the portal on inherited listening sockets.")
    parser.add_argument(
        "--fd", type=int, action="append", required=True, help="listening socket (repeatable)"
    )
    parser.add_argument("--gate-fd", type=int, help="serve when this pipe closes (the database is ready)")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nfvportal.settings")
    application = import_module("nfvportal.asgi").application
    import_module("nfvportal.urls")  # now, not within the first request
    if options.gate_fd is not None:
        with os.fdopen(options.gate_fd, "rb") as gate:
            gate.read()
    sockets = [socket.socket(fileno=fd) for fd in options.fd]
    for listening in sockets:
        listening.setblocking(False)
    asyncio.run(server_make(application).serve(sockets=sockets))


if __name__ == "__main__":
    main()
