"""The few kernel calls the lab needs that Python 3.11 does not have: namespaces, mounts, death signals, ioctls."""

import ctypes
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_MS_REC_PRIVATE = 0x4000 | 0x40000
_MS_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8
_PR_SET_PDEATHSIG = 1
_PR_SET_TIMERSLACK = 29
_SIOCETHTOOL = 0x8946
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
# ethtool commands: receive and transmit checksums, scatter-gather, TSO, GSO, GRO. Checksums go last: the kernel
# refuses to end scatter-gather's helpers in the other order on some drivers.
_ETHTOOL_OFFLOADS = (0x1F, 0x24, 0x2C, 0x19, 0x17, 0x15)

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the given namespaces for new ones of our own.

    Raises:
        OSError: the kernel forbids it.
    """
    _check(_libc.unshare(flags), "unshare")


def enter_network(namespace_fd: int) -> None:
    """Move this thread into a network namespace."""
    _check(_libc.setns(namespace_fd, CLONE_NEWNET), "setns")


def open_network() -> int:
    """Return a descriptor of this thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def new_network() -> int:
    """Return a descriptor of a new, empty network namespace; this thread stays where it is."""
    here = open_network()
    try:
        unshare(CLONE_NEWNET)
        return open_network()
    finally:
        enter_network(here)
        os.close(here)


@contextmanager
def inside_network(namespace_fd: int) -> Iterator[None]:
    """Run the body in a network namespace. Only this thread moves; sockets made inside stay there."""
    here = open_network()
    try:
        enter_network(namespace_fd)
        yield
    finally:
        enter_network(here)
        os.close(here)


def make_mounts_private() -> None:
    """Keep our mounts from the rest of the machine."""
    _check(_libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None), "mount --make-rprivate /")


def mount_proc() -> bool:
    """Show the processes of our own namespace in /proc; False where the kernel forbids it (masked /proc)."""
    return bool(_libc.mount(b"proc", b"/proc", b"proc", _MS_NOSUID_NODEV_NOEXEC, None) == 0)


def die_with_parent(signal_number: int = signal.SIGKILL, parent_pid: int | None = None) -> None:
    """Ask for a signal when the parent dies; ends this process if it died already.

    Args:
        parent_pid: the parent this process was started by, to notice that it died before the call; ``None`` where
            that cannot be known (parent in another process namespace).
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0), "prctl")
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(1)


def wait_precisely() -> None:
    """Let timed waits of this thread end within a microsecond of their time instead of 50."""
    _check(_libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0), "prctl")


def schedule_realtime(priority: int) -> bool:
    """Put this process into SCHED_RR; False where that is not permitted."""
    try:
        # Children (agents' commands, exec) must not inherit it by accident.
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except PermissionError:
        return False
    return True


def offloads_off(interface: str) -> None:
    """Turn off segmentation and checksum offloads of an interface of this network namespace.

    With them on, one "frame" of 64 kB crosses the veth without checksum and nothing measured means anything.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in _ETHTOOL_OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack("II", command, 0), 8)
            request = struct.pack("16sP", interface.encode(), ctypes.addressof(value)) + bytes(16)
            # A driver that has no such offload answers EOPNOTSUPP: nothing to turn off.
            with suppress(OSError):
                fcntl.ioctl(control, _SIOCETHTOOL, request)


def set_interface_up(interface: str, is_up: bool) -> None:
    """Bring an interface of this network namespace up or down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH22x", interface.encode(), 0)
        flags = struct.unpack_from("H", fcntl.ioctl(control, _SIOCGIFFLAGS, request), 16)[0]
        flags = flags | _IFF_UP if is_up else flags & ~_IFF_UP
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", interface.encode(), flags))


def write_sysctls(settings: dict[str, str]) -> None:
    """Write kernel settings of this network namespace, e.g. ``{"net/ipv4/ip_forward": "1"}``.

    A setting the kernel does not have is passed over: it is then not on either.
    """
    for name, value in settings.items():
        with suppress(FileNotFoundError):
            Path("/proc/sys", name).write_text(value)
