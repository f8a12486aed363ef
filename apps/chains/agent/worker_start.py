"""Which process runs which type of network function."""

import socket

from apps.chains.agent.foreign_worker import run_foreign
from apps.chains.agent.nf_worker import fork_worker, run_nf
from apps.chains.agent.specs import NfSpec
from apps.chains.engine.foreign import FOREIGN, STATELESS, foreign_check
from apps.chains.engine.nfs.registry import make_nf


def check_nf(spec: NfSpec) -> None:
    """Make sure that a network function can be started.

    Raises:
        InvalidInputError: its type is unknown or a parameter breaks its limit.
    """
    if spec.type in FOREIGN:
        foreign_check(spec.type, spec.params)
    else:
        make_nf(spec.type, spec.params)


def is_recoverable(spec: NfSpec) -> bool:
    """Whether state and log bring its process back: of foreign functions, only what has no state."""
    return spec.type not in FOREIGN or spec.type in STATELESS


def start_worker(spec: NfSpec, state: bytes | None) -> tuple[int, socket.socket]:
    """Start a network function's process; return its id and our end of its socket."""
    if spec.type in FOREIGN:
        return fork_worker(lambda end: run_foreign(end, spec))
    return fork_worker(lambda end: run_nf(end, spec, state))
