"""Loops over bytes, compiled to machine code at their first call and kept for the next start."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of numbers and arrays; it then runs without holding the interpreter's lock.

    The machine code is kept beside the source, or in the user's cache directory where the checkout is read-only;
    where neither can be written each process compiles anew. What is kept is thrown away when the *file* of the function
    changes: a compiled function must call only compiled functions of its own file.
    """
    try:
        return cast(Callable[P, R], njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # no place to keep machine code
        return cast(Callable[P, R], njit(nogil=True, error_model="numpy")(function))
