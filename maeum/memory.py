"""What becomes of freed memory."""

from __future__ import annotations

import ctypes
import sys

# <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_KEPT_BYTES = 2**31 - 1
_PAD_BYTES = 64 * 2**20


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for the next batch.

    glibc gives large blocks back to the kernel at once and gets them anew, page by page and each page zeroed: of the
    CPU time of Whisper's encoder that took a third. Does nothing where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another libc
        return
    for parameter, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _KEPT_BYTES), (_M_TOP_PAD, _PAD_BYTES)):
        mallopt(parameter, value)
