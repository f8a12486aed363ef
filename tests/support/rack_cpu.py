"""Run inside a node of a lab: print the processor time, nanoseconds, that all forwarders and their workers used."""

import contextlib
from pathlib import Path

NAME = b"apps.chains.agent.forwarder"


def used_ns() -> int:
    """Return the sum over living processes; who died took its time along."""
    total = 0
    for place in Path("/proc").iterdir():
        if not place.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):
            if NAME in (place / "cmdline").read_bytes().split(b"\0"):
                total += int((place / "schedstat").read_text().split()[0])
    return total


if __name__ == "__main__":
    print(used_ns())
