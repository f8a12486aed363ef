"""Namespaces of the lab's own, and the guarantee that nothing of it outlives it.

Three processes: the outer one (started by a person or the supervisor) forwards signals and waits; it forks the init of
a new process namespace, which forks the lab itself and reaps orphans. When the outer process dies its init is killed,
and with an init the kernel kills every process of the namespace; the network namespaces go with them.
"""

import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from nfvportal.lab.kernel import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    die_with_parent,
    make_mounts_private,
    mount_proc,
    unshare,
)

EXIT_FORBIDDEN = 78
_ENABLE_HINTS = (
    # (setting, value that forbids, command that allows)
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


class IsolationForbidden(Exception):  # noqa: N818  # a state of the machine, not a programming error
    """The kernel does not let this user make namespaces; the message says how to allow it."""


def run_isolated(body: Callable[[], int]) -> int:
    """Run ``body`` in network, mount and process namespaces of its own and return its exit code.

    An ordinary user gets a user namespace as well, root does not: inside one, real-time scheduling is not permitted.
    SIGINT, SIGTERM and SIGHUP are passed on to the body as SIGTERM; so is the death of this process's parent.

    Raises:
        IsolationForbidden: the kernel forbids it.
    """
    outer_parent = os.getppid()
    try:
        _enter_namespaces()
    except OSError as error:
        raise IsolationForbidden(_forbidden_text(error)) from error
    alive_reader, alive_writer = os.pipe()
    init_pid = os.fork()
    if init_pid == 0:
        os.close(alive_writer)
        _run_as_init(body, alive_reader)
    ended_by: list[int] = []

    def pass_on(signal_number: int, _frame: object) -> None:
        ended_by.append(signal_number)
        os.kill(init_pid, signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    die_with_parent(signal.SIGTERM, outer_parent)
    return _exit_code(os.waitpid(init_pid, 0)[1])


def probe_isolation() -> str | None:
    """Return why the lab cannot run here, or ``None`` if it can. Tried in a child that ends at once."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            _enter_namespaces()
        except OSError as error:
            os.write(writer, _forbidden_text(error).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        reason = answer.read()
    os.waitpid(pid, 0)
    return reason or None


def _enter_namespaces() -> None:
    user_id, group_id = os.geteuid(), os.getegid()
    if user_id != 0:
        unshare(CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user_id} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group_id} 1")
    unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID)
    make_mounts_private()


def _forbidden_text(error: OSError) -> str:
    for path, forbidding, command in _ENABLE_HINTS:
        setting = Path(path)
        if os.geteuid() != 0 and setting.exists() and setting.read_text().strip() == forbidding:
            return f"this machine forbids user namespaces to ordinary users; allow them as root: {command}"
    if os.geteuid() != 0:
        return f"this machine forbids user namespaces to ordinary users ({error.strerror}); run as root or allow them"
    return (
        f"this container may not make namespaces ({error.strerror}); give it CAP_SYS_ADMIN and CAP_NET_ADMIN"
    )


def _run_as_init(body: Callable[[], int], alive_reader: int) -> None:
    """Be process 1: start the body, reap what others leave behind, end with the body's code."""
    die_with_parent(signal.SIGKILL)
    # The parent lies outside our process namespace, so its id reads 0 before and after its death; the pipe that only
    # it holds open tells whether it died before the death signal was asked for.
    if select.select([alive_reader], [], [], 0)[0]:
        os._exit(1)
    mount_proc()
    body_pid = os.fork()
    if body_pid == 0:
        _run_body(body)

    def pass_on(_signal_number: int, _frame: object) -> None:
        os.kill(body_pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _name_process("nfvlab-init")
    while True:
        pid, status = os.wait()
        if pid == body_pid:
            # Everything else in the namespace is killed by the kernel now.
            os._exit(_exit_code(status))


def _run_body(body: Callable[[], int]) -> None:
    # Ctrl-C reaches the whole foreground group; only the outer process answers it, in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = 1
    try:
        code = body()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _name_process(name: str) -> None:
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
