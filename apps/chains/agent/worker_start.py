"""Which process runs which type of network function."""

import socket

from apps.chains.agent.nf_worker import fork_worker, run_nf
from apps.chains.agent.specs import NfSpec
from apps.chains.engine.nfs.registry import make_nf


def check_nf(spec: NfSpec) -> None:
    """Make sure that a network function can be started.

    Raises:
        InvalidInputError: its type is unknown or a parameter breaks its limit.
    """
    make_nf(spec.type, spec.params)


def start_worker(spec: NfSpec, state: bytes | None) -> tuple[int, socket.socket]:
    """Start a network function's process; return its id and our end of its socket."""
    return fork_worker(lambda end: run_nf(end, spec, state))
