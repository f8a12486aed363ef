"""One supervisor per state: a lock that the kernel releases, and the process id of its holder."""

import fcntl
import os
import time
from pathlib import Path

from nfvportal.supervise.errors import SuperviseError
from nfvportal.supervise.paths import Paths


def process_is_alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in {"Z", "X"}


def _holder(fd: int) -> int:
    text = os.pread(fd, 32, 0).decode(errors="replace").strip()
    return int(text) if text.isdigit() else 0


def supervisor_pid(paths: Paths) -> int | None:
    """Return the process id of the supervisor that runs on these paths, None when there is none."""
    try:
        fd = os.open(paths.lock, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(fd) or None
    else:
        return None
    finally:
        os.close(fd)


def supervisor_lock(paths: Paths, leftovers_within_s: float = 20) -> int:
    """Take the lock for this process and return its file descriptor.

    The lock is shared with the janitor, who outlives a killed supervisor until its processes are gone. We wait for
    that, so that a new start never meets the leftovers of the last one.

    Raises:
        SuperviseError: another supervisor runs on this state.
    """
    fd = os.open(paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
    deadline_s = time.monotonic() + leftovers_within_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            pid = _holder(fd)
            if pid and process_is_alive(pid):
                os.close(fd)
                raise SuperviseError(
                    f"A portal already runs on {paths.state} (process {pid}). Stop it first, or choose another "
                    "place for this one with NFV_STATE_DIR and another PORT."
                ) from None
            if time.monotonic() > deadline_s:
                os.close(fd)
                raise SuperviseError(
                    f"Processes of an earlier portal on {paths.state} do not end; see its logs."
                ) from None
            time.sleep(0.05)
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd
