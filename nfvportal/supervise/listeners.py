"""The portal's listening sockets: opened before anything starts, kept open while the web process restarts."""

import contextlib
import errno
import os
import socket
from pathlib import Path

from nfvportal.supervise.errors import SuperviseError

BACKLOG = 2048


def tcp_listen(host: str, port: int) -> socket.socket:
    """Listen on TCP; port 0 takes a free one.

    Raises:
        SuperviseError: the port is in use or not allowed, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        code = getattr(error, "errno", None)
        if code == errno.EADDRINUSE:
            reason = f"Port {port} on {host} is in use by another program."
        elif code in {errno.EACCES, errno.EPERM}:
            reason = f"Port {port} needs privileges this user does not have."
        else:
            reason = f"Cannot listen on {host} port {port}: {error}."
        raise SuperviseError(
            f"{reason} Choose another with PORT=..., for example: PORT=8080 make run"
        ) from error
    return listening


def unix_listen(path: Path) -> socket.socket:
    """Listen on a Unix socket that only this user can reach; a file left by a killed portal is replaced."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(os.fspath(path))
    path.chmod(0o600)
    listening.listen(BACKLOG)
    return listening


def local_addresses() -> list[str]:
    """Return this machine's addresses that its own name resolves to; empty when it resolves to none."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [f"[{entry[4][0]}]" if entry[0] == socket.AF_INET6 else str(entry[4][0]) for entry in found]
