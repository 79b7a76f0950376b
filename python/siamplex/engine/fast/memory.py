"""Keep freed memory in the process, since every iteration allocates and frees large tensors."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's mallopt parameters


def keep_freed_memory() -> bool:
    """Let glibc reuse large blocks instead of mapping fresh pages each time.

    Fresh pages are filled with zeros by the kernel; for stage 2 that cost a third of the time.
    Returns False on another C library, where nothing is changed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        libc = ctypes.CDLL(None)
        return bool(libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
    except (OSError, AttributeError):
        return False
