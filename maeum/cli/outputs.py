"""What a command writes to `--out`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from maeum.errors import InvalidField


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of a path that cannot be written why, in place of an `OSError`.

    Raises:
        InvalidField: there was one (code `unwritable_output`).
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InvalidField(f"{path} cannot be written: {reason}", code="unwritable_output") from None


def check_replaceable(path: Path, what: str, keys: Collection[str]) -> None:
    """Keep a command from writing over anything but what it wrote before: `--out *.wav` names a recording.

    Args:
        path: where it will write.
        what: it writes, for the message.
        keys: that its JSON objects hold.

    Raises:
        InvalidField: there is something else than an empty file or such an object (code `unwritable_output`).
    """
    with writing(path):
        if not path.exists():
            return
        if not path.is_file():
            raise OSError("it is no file")
        content = path.read_bytes()
        if content and not _is_object_with(content, keys):
            raise OSError(f"it holds something else than {what}; name another file")


def _is_object_with(content: bytes, keys: Collection[str]) -> bool:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() >= set(keys)
