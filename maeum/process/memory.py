"""What becomes of freed memory, and what the garbage collector looks at."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -3, -4, -8
_KEPT_BYTES = 2**31 - 1
_PAD_BYTES = 64 * 2**20
_LARGE_BYTES = 4 * 2**20  # a minute of sound as float32


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for the next batch.

    glibc gives large blocks back to the kernel at once and gets them anew, page by page and each page zeroed: of the
    CPU time of Whisper's encoder that took a third. Does nothing where there is no glibc.
    """
    # One arena: what one thread has freed, another can use.
    _tune({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _KEPT_BYTES, _M_TOP_PAD: _PAD_BYTES, _M_ARENA_MAX: 1})


def give_back_large_memory() -> None:
    """Let this process give a long recording's memory back as soon as it is freed, and keep what short ones need.

    Left alone, glibc learns from the first large block that large blocks are worth keeping, and then keeps up to 64 MB.
    """
    _tune({_M_MMAP_THRESHOLD: _LARGE_BYTES, _M_TRIM_THRESHOLD: 2 * _LARGE_BYTES})


def _tune(parameters: dict[int, int]) -> None:
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another libc
        return
    for parameter, value in parameters.items():
        mallopt(parameter, value)


@contextmanager
def loading() -> Iterator[None]:
    """Take everything that is loaded by the end of the block out of the garbage collector's sight.

    A full collection looks at every object that is alive, also at the 250,000 to 450,000 that BentoML, torch and
    transformers leave behind: 100 to 500 ms in the middle of somebody's request. What is loaded stays anyway, so that
    collections while it loads are not worth their time either.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
