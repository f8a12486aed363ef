"""Run a test's body in a network namespace of its own: real kernel, nothing of it stays."""

import functools
import json
import os
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import pytest

from nfvportal.lab.isolation import probe_isolation
from nfvportal.lab.kernel import CLONE_NEWNET, CLONE_NEWUSER, unshare

P = ParamSpec("P")
# What the child says when the body found that this machine cannot run it.
SKIPPED = "skipped: "


def in_namespace(body: Callable[P, None]) -> Callable[P, None]:
    """Run ``body`` in a forked child inside a new network namespace; skip where the machine forbids it."""

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        if reason := probe_isolation():
            pytest.skip(f"no namespaces: {reason}")
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            os.write(writer, _failure_of(lambda: body(*args, **kwargs)).encode()[:60_000])
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            failure = answer.read()
        assert os.waitpid(pid, 0)[1] == 0, "the child died"
        if failure.startswith(SKIPPED):
            pytest.skip(failure.removeprefix(SKIPPED))
        if failure:
            pytest.fail(failure, pytrace=False)

    return run


def _failure_of(body: Callable[[], None]) -> str:
    try:
        enter()
        body()
    except pytest.skip.Exception as skipped:
        return f"{SKIPPED}{skipped}"
    except BaseException:
        return traceback.format_exc()
    return ""


def enter() -> None:
    """Move this process into a network namespace of its own."""
    user_id, group_id = os.geteuid(), os.getegid()
    if user_id == 0:
        unshare(CLONE_NEWNET)
    else:
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user_id} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group_id} 1")
    ip("link set lo up")


def ip(command: str) -> str:
    """Run ``ip`` in this namespace; return what it prints."""
    done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {command}: {done.stderr}"
    return done.stdout


def ip_json(command: str) -> list[dict[str, Any]]:
    """Return what ``ip -json`` prints."""
    found: list[dict[str, Any]] = json.loads(ip(f"-json {command}") or "[]")
    return found


def add_wire(name: str, address: str) -> None:
    """Make an interface with an address and a carrier."""
    ip(f"link add {name} type veth peer name {name}-far")
    ip(f"address add {address} dev {name}")
    ip(f"link set {name} up")
    ip(f"link set {name}-far up")
