"""The janitor: ends what a killed supervisor leaves. ``python -I -S janitor.py PIPE_FD``.

The supervisor writes lines ``+PGID`` (kill this process group), ``~PGID`` (it ends by itself; kill it only when it
does not) and ``-PGID`` (gone) into a pipe. When the pipe closes, the supervisor is gone, by intent or by ``kill -9``,
and what is still listed ends now. The janitor holds the supervisor's lock meanwhile (an inherited descriptor).
Standard library only, no imports from the project: it must start in an instant.
"""

import os
import signal
import sys
import time

GRACE_S = 10.0


def live_groups() -> set[int]:
    """Return the ids of all process groups with a live member (zombies left out)."""
    groups = set()
    for name in os.listdir("/proc"):  # noqa: PTH208  # pathlib doubles the start time
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:  # noqa: PTH123  # as above
                    fields = stat.read().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in {"Z", "X"}:
                groups.add(int(fields[2]))
    return groups


def listed_groups(lines: list[str]) -> tuple[set[int], set[int]]:
    """Return (groups to kill, groups that end by themselves) after all lines."""
    abrupt: set[int] = set()
    gentle: set[int] = set()
    for line in lines:
        group = int(line[1:])
        abrupt.discard(group)
        gentle.discard(group)
        if line[0] == "+":
            abrupt.add(group)
        elif line[0] == "~":
            gentle.add(group)
    return abrupt, gentle


def kill(groups: set[int]) -> None:
    """Kill process groups; those that are gone are no error."""
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def main() -> None:
    """Read until the supervisor is gone, then clean."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with os.fdopen(int(sys.argv[1]), "r") as pipe:
        abrupt, gentle = listed_groups([line.strip() for line in pipe if len(line) > 1])
    kill(abrupt)
    deadline_s = time.monotonic() + GRACE_S
    while remaining := live_groups() & (abrupt | gentle):
        if time.monotonic() > deadline_s:
            kill(remaining)
            return
        time.sleep(0.02)


if __name__ == "__main__":
    main()
