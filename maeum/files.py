"""Writing files: for their owner alone where they hold what somebody said, and whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def private(path: str | os.PathLike[str], flags: int) -> int:
    """An `opener` of `open`: a file that it makes is its owner's; one that is there stays as it is."""
    return os.open(path, flags, 0o600)


def as_text(path: str) -> str:
    """A path as text that UTF-8 can carry: bytes of it that are none are written out."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


@contextmanager
def replacing(path: Path, opener: Callable[[str, int], int] | None = None) -> Iterator[BinaryIO]:
    """A file that takes another's place once it is written whole: a reader sees the old one or the new one.

    Args:
        path: of both.
        opener: as of `open`; `private` for what nobody else may read.

    Raises:
        OSError: the folder cannot be written, or its disk is full.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(draft, "wb", opener=opener) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
