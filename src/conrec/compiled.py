"""Loops as machine code, kept on disk for the next process where there is a place to keep it."""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Function], Function]:
    """Compile a function with numba when it is first called; it holds no lock. options: others of `numba.njit`.

    numba refuses where it cannot keep the code (a read-only image): there each process compiles for itself.
    """

    def decorate(function: Function) -> Function:
        try:
            return njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:
            return njit(nogil=True, **options)(function)

    return decorate
