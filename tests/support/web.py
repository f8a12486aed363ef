"""The portal's websockets, really served: uvicorn on a Unix socket and a TCP port, in the test's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import uvicorn
from channels.auth import AuthMiddlewareStack
from channels.db import DatabaseSyncToAsync
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib.auth.models import Group, User
from django.db import connections

from nfvportal.supervise.web import WEBSOCKET_MAX_BYTES
from nfvportal.supervise.websocket_protocol import SharedFrameProtocol

P = ParamSpec("P")
R = TypeVar("R")
READY_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class WebServer:
    """Where the portal answers during a test."""

    unix_path: Path
    url: str

    @property
    def agent_portal(self) -> str:
        """The address as the agent's ``--portal`` takes it."""
        return f"unix:{self.unix_path}"


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to pytest."""
        yield


@contextlib.asynccontextmanager
async def web_serve(directory: Path) -> AsyncIterator[WebServer]:
    """Serve the portal's websockets until the block ends."""
    from nfvportal.live.hub import hub_close
    from nfvportal.routing import websocket_urlpatterns

    # Threads of this process end their connections after each use, so that the test database can be dropped.
    connections.settings["default"]["CONN_MAX_AGE"] = 0
    application = ProtocolTypeRouter({"websocket": AuthMiddlewareStack(URLRouter(websocket_urlpatterns))})
    unix_path = directory / "web.sock"
    listening_unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening_unix.bind(str(unix_path))
    listening_tcp = socket.create_server(("127.0.0.1", 0))
    port = listening_tcp.getsockname()[1]
    config = uvicorn.Config(
        application,
        lifespan="off",
        log_level="warning",
        timeout_graceful_shutdown=1,
        ws_max_size=WEBSOCKET_MAX_BYTES,
        ws=SharedFrameProtocol,
        ws_per_message_deflate=False,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening_unix, listening_tcp]))
    await eventually(lambda: server.started)
    try:
        yield WebServer(unix_path, f"ws://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        await serving
        await hub_close()
        layer = get_channel_layer()
        await layer.flush()
        unix_path.unlink(missing_ok=True)


async def in_database(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that uses the database in a thread that ends its connection."""
    result: R = await DatabaseSyncToAsync(function, thread_sensitive=False)(*args, **kwargs)
    return result


async def eventually(condition: Callable[[], Any], within_s: float = READY_WITHIN_S) -> Any:
    """Wait until ``condition`` (plain, or a coroutine function) returns something true, and return that."""
    deadline_s = asyncio.get_running_loop().time() + within_s
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline_s:
            raise AssertionError(f"not within {within_s:g} s: {condition}")
        await asyncio.sleep(0.01)


def user_make(name: str, role: str | None) -> User:
    """Return a user with one of the portal's roles, or none."""
    user = User.objects.create_user(name)
    if role is not None:
        group, _ = Group.objects.get_or_create(name=role)
        user.groups.add(group)
    return user


def token_of(user: User) -> str:
    """Return a fresh API token of a user."""
    from nfvportal.accounts.services import api_token_create

    return api_token_create(user=user, name="test", days=1, can_write=False)[1]
