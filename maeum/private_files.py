"""Files that hold what somebody said are for their owner alone."""

from __future__ import annotations

import os


def private(path: str | os.PathLike[str], flags: int) -> int:
    """An `opener` of `open`: a file that it makes is its owner's; one that is there stays as it is."""
    return os.open(path, flags, 0o600)
