"""The sentence rule of the original."""

from __future__ import annotations

import re

_BOUNDARY = re.compile(r"[.?!\r\n\u0085\u2028\u2029]")


def split_sentences(text: str) -> list[str]:
    """Split at `.`, `?`, `!` and line breaks; empty pieces drop out.

    Args:
        text: a transcript, NFC-normalised.

    Returns:
        Stripped sentences in order; none when nothing but punctuation was written.
    """
    pieces = [piece for part in _BOUNDARY.split(text) if (piece := part.strip())]
    if not any(character.isalnum() for piece in pieces for character in piece):
        return []
    return pieces
