"""How the process keeps its memory."""

from __future__ import annotations

import ctypes

_ARENA_MAX = -8
"""glibc's `M_ARENA_MAX` (malloc.h)."""


def share_one_heap() -> None:
    """Let all threads take memory from one heap.

    glibc gives each thread a heap of its own, and what one of them has freed is of no use to the others: with threads
    that seal messages side by side a delivery to thousands cost a quarter more. Elsewhere than on glibc nothing
    happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(-3, 131072)
