"""How the process gets its memory from the system."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_KEPT = 32 * 2**20
"""Bytes; glibc takes no more."""


def keep_freed_memory() -> None:
    """Let the C library keep what is freed instead of giving it back to the system and asking for it again.

    A gradient step makes and drops arrays of megabytes; the system clears each page anew that it hands out, which took
    up to a quarter of QMIX's time, according to the machine's load. Without glibc nothing happens.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, LARGEST_KEPT)
        set_option(M_TRIM_THRESHOLD, 2**31 - 1)
