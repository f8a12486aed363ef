"""Tie a child process to the life of the process that starts it."""

import ctypes
import signal
from collections.abc import Callable

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def tether(death_signal: signal.Signals) -> Callable[[], None]:
    """Return a ``preexec_fn`` that makes the kernel send ``death_signal`` when the starting thread ends."""

    def tie() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)

    return tie
