"""Whether a file holds more than libsndfile reads of it; FFmpeg reads all."""

from __future__ import annotations

import struct

_OGG_FLAGS, _OGG_FIRST_PAGE = 5, 2  # where in a page they are, and the one of a stream's first page
_OGG_HEADER = 27  # bytes, the last of which says how many sizes follow
_MP3_HEAD, _MP3_TAGS = 1 << 20, 1 << 12  # where the first frame is, after pictures perhaps; what may follow the last


def is_joined(data: bytes) -> bool:
    """Whether another file of its kind follows in an Ogg, FLAC or MP3 file."""
    magic = data[:4]
    if magic == b"OggS":
        return _is_chained(data)
    if magic == b"fLaC":
        return data.find(magic, 4) > 0
    return _is_mp3(data) and _has_more_than_its_header_says(data)


def goes_on(data: bytes, end: int) -> bool:
    """Whether an MP3 goes on, by more than tags take, after the bytes that libsndfile has read.

    It takes some damage for the end, and stops at the length that it expects: without Xing's header, of as many frames
    as there would be if all were of the first one's size.
    """
    return _is_mp3(data) and len(data) > end + _MP3_TAGS


def _is_mp3(data: bytes) -> bool:
    return data.startswith((b"ID3", b"\xff"))


def _is_chained(ogg: bytes) -> bool:
    """Whether a stream begins after others have gone on."""
    has_gone_on, start = False, 0
    while start >= 0 and len(ogg) >= start + _OGG_HEADER:
        is_first = bool(ogg[start + _OGG_FLAGS] & _OGG_FIRST_PAGE)
        if is_first and has_gone_on:
            return True
        has_gone_on = has_gone_on or not is_first
        sizes = ogg[start + _OGG_HEADER : start + _OGG_HEADER + ogg[start + _OGG_HEADER - 1]]
        start = ogg.find(b"OggS", start + _OGG_HEADER + len(sizes) + sum(sizes))
    return False


def _has_more_than_its_header_says(mp3: bytes) -> bool:
    """Whether an MP3 goes on after the bytes that its first frame counts, by more than tags take; see Xing's format."""
    start = max(mp3.find(name, 0, _MP3_HEAD) for name in (b"Xing", b"Info"))
    if start < 0:
        return False
    flags, *numbers = struct.unpack(">3I", mp3[start + 4 : start + 16].ljust(12, b"\0"))
    if not flags & 2:  # it does not count them
        return False
    n_bytes = numbers[flags & 1]  # after the number of frames, where there is one
    return goes_on(mp3, int(start + n_bytes))
