"""How the process keeps its memory."""

from __future__ import annotations

import ctypes

_ARENA_MAX = -8
"""glibc's `M_ARENA_MAX` (malloc.h)."""

_MMAP_THRESHOLD = -3
"""glibc's `M_MMAP_THRESHOLD`."""

_LARGE_BYTES = 128 * 1024


def share_one_heap() -> None:
    """Let all threads take memory from one heap, and give large pieces back to the system.

    glibc gives each thread a heap of its own, and what one of them has freed is of no use to the others: with threads
    that seal messages side by side a delivery to thousands cost a quarter more. Large pieces (the body of a request, a
    page of rows) it takes from the heap as well once a few were freed, and the heap, with small things between them,
    grows with the time that a delivery takes. Elsewhere than on glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
