"""Start a lab from another process and end it again: for tests and benchmarks."""

import contextlib
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from nfvportal.lab.client import LabClient, LabUnavailable
from nfvportal.lab.isolation import EXIT_FORBIDDEN
from nfvportal.lab.node_processes import CHECKOUT


class LabForbidden(Exception):  # noqa: N818  # a state of the machine, not a programming error
    """This machine does not allow the lab; the message says how to change that."""


@contextlib.contextmanager
def launched_lab(
    directory: Path,
    topology: str = "branch",
    arguments: Sequence[str] = ("--no-agents",),
    timeout_s: float = 15.0,
) -> Iterator[LabClient]:
    """Run a lab while the body runs; its socket is ``directory/lab.sock``, its errors go to ``directory/lab.err``.

    Args:
        directory: an existing directory with a short path.
        topology: name, or path of a ``.yml`` file.
        arguments: further arguments of ``python -m nfvportal.lab up``.

    Raises:
        LabForbidden: the machine does not allow it.
        LabUnavailable: it did not come up in time; the message holds what it said.
    """
    process = start_lab(directory, topology, arguments)
    try:
        wait_until_ready(process, directory, timeout_s)
        yield LabClient(directory / "lab.sock")
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


def start_lab(directory: Path, topology: str, arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start the lab's process without waiting for it."""
    argv = [sys.executable, "-m", "nfvportal.lab", "up", "--topology", topology]
    argv += ["--socket", str(directory / "lab.sock"), *arguments]
    with (directory / "lab.err").open("wb") as errors:
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, cwd=CHECKOUT)


def wait_until_ready(process: "subprocess.Popen[bytes]", directory: Path, timeout_s: float = 15.0) -> str:
    """Wait for the line ``lab ready ...`` and return it.

    Raises:
        LabForbidden, LabUnavailable: see ``launched_lab``.
    """
    assert process.stdout is not None
    deadline_s = time.monotonic() + timeout_s
    ready = select.select([process.stdout], [], [], max(0.0, deadline_s - time.monotonic()))[0]
    line = process.stdout.readline().decode() if ready else ""
    if line.startswith("lab ready"):
        return line
    if not ready:
        raise LabUnavailable(f"the lab was not ready after {timeout_s:g} s")
    code = process.wait(timeout=10)
    words = (directory / "lab.err").read_text(errors="replace").strip()
    if code == EXIT_FORBIDDEN:
        raise LabForbidden(words)
    raise LabUnavailable(f"the lab ended with code {code}: {words}")
