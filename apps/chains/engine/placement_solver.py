"""The solver, quiet: HiGHS 1.16 greets on the process's standard output when it is first made, whatever its options.

Who prints JSON there must not find two lines of greeting in it, so the first one is made while descriptor 1 leads
nowhere. That touches the process once, and only this module knows of it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import highspy


def quiet_solver() -> highspy.Highs:
    """Return a new solver that says nothing and uses one thread, so that equal input gives equal answers."""
    _greeted()
    solver = highspy.Highs()  # type: ignore[no-untyped-call]  # highspy's own
    solver.silent()
    solver.setOptionValue("threads", 1)
    return solver


@cache
def _greeted() -> None:
    with _nowhere():
        highspy.Highs()  # type: ignore[no-untyped-call]  # highspy's own


@contextmanager
def _nowhere() -> Iterator[None]:
    try:
        saved = os.dup(1)
    except OSError:  # closed: nobody reads it
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(nowhere)
