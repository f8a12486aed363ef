"""Find and end processes that a killed instance may have left in a directory."""

import os
import signal
import time
from pathlib import Path


def processes_in(directory: Path) -> list[int]:
    """Return the live processes whose working directory is ``directory`` (database backends keep theirs there)."""
    wanted = os.path.realpath(directory)
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "cwd").readlink() == Path(wanted):
                found.append(int(entry.name))
        except OSError:  # gone meanwhile, a zombie, or not ours
            continue
    return found


def wait_until_left(directory: Path, within_s: float) -> None:
    """Wait until no process works in ``directory``; kill those that still do after ``within_s`` seconds."""
    deadline_s = time.monotonic() + within_s
    while remaining := processes_in(directory):
        if time.monotonic() > deadline_s:
            for pid in remaining:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            deadline_s = time.monotonic() + within_s
        time.sleep(0.05)
