"""Loops over bytes, compiled to machine code at their first call and kept for the next start."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar, cast

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")

WATCHED: Final = (
    "*_kernel.py",
    "compiling.py",
    "evidence.py",
    "frame_counts.py",
    "records.py",
    "subflow_layout.py",
    "sweep.py",
    "values.py",
)
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
    where neither can be written each process compiles anew. What is kept is thrown away when the file of the function
    changes, or one of those that ``WATCHED`` matches: what a compiled function calls, or takes constants from, must be
    in one of these.
    """
    try:
        dispatcher = njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no place to keep machine code
        return cast(Callable[P, R], njit(**_OPTIONS)(function))
    # Of itself numba looks at the function's own file only.
    if hasattr(dispatcher, "_cache"):
        dispatcher._cache._cache_file._source_stamp = _stamp(function.__code__.co_filename)
    return cast(Callable[P, R], dispatcher)


def watched_files() -> list[Path]:
    """Return the files whose change makes all kept machine code stale."""
    return sorted({path for pattern in WATCHED for path in Path(__file__).parent.glob(pattern)})


@cache
def _stamp(own: str) -> tuple[tuple[str, int, int], ...]:
    states = [(path.name, path.stat()) for path in (*watched_files(), Path(own))]
    return tuple((name, state.st_mtime_ns, state.st_size) for name, state in states)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function that becomes part of the compiled ones that call it; Python itself cannot call it then."""
    return cast(Callable[P, R], njit(**_INLINED)(function))
