"""Files that hold what somebody said are for their owner alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def private(path: str | os.PathLike[str], flags: int) -> int:
    """An `opener` of `open`: a file that it makes is its owner's; one that is there stays as it is."""
    return os.open(path, flags, 0o600)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file of its owner's alone that takes another's place once it is written whole; until then that one stays.

    Raises:
        OSError: the folder cannot be written, or its disk is full.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(draft, "wb", opener=private) as stream:
            yield stream
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
