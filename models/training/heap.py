"""Keeps the memory that a training has freed from staying with the process."""

import ctypes
import sys
from collections.abc import Callable

LARGE_BLOCK = 8 << 20
"""Bytes from which on a block goes back to the system as soon as it is freed. It is more than the arrays of a batch
take, which are made anew all the time."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of glibc's malloc.h


def share_heap() -> None:
    """Makes all threads use one heap, and large blocks go back when they are freed. Does nothing but with glibc."""
    set_option = _function("mallopt")
    if set_option:
        for option, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, LARGE_BLOCK), (_TRIM_THRESHOLD, 4 * LARGE_BLOCK)):
            set_option(option, value)


def trim_heap() -> None:
    """Gives back what is free in the heap. Worth its time when a stage is done. Does nothing but with glibc."""
    trim = _function("malloc_trim")
    if trim:
        trim(0)


def _function(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
