"""Loops over bytes, compiled to machine code at their first call and kept for the next start."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")

# Neither holds the interpreter's lock nor counts references: such a function makes no objects.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}

_INLINED: dict[str, Any] = _OPTIONS | {
    "forceinline": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of numbers and arrays that Python calls.

    The machine code is kept beside the source, or in the user's cache directory where the checkout is read-only;
    where neither can be written each process compiles anew. What is kept is thrown away when the *file* of the function
    changes: a compiled function must call only inlined functions of its own file.
    """
    try:
        return cast(Callable[P, R], njit(cache=True, **_OPTIONS)(function))
    except RuntimeError:  # no place to keep machine code
        return cast(Callable[P, R], njit(**_OPTIONS)(function))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function that becomes part of the compiled ones that call it; Python itself cannot call it then."""
    return cast(Callable[P, R], njit(**_INLINED)(function))
