"""The windows that Whisper hears a recording in: where they are cut, and how far each is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maeum.audio.resampling import SAMPLE_RATE_HZ
from maeum.stages import Segment

WINDOW_S = 30
_HOP_LENGTH = 160
_WINDOW_FRAMES = WINDOW_S * SAMPLE_RATE_HZ // _HOP_LENGTH
# Speech that ends closer to the end of a piece than this, in samples, may go on in the next one.
_EDGE = SAMPLE_RATE_HZ
# Unpadded windows are filled up with silence, at least so much of it, to one of a few lengths: what is decoded in one
# call has one length, and a recording's must not depend on the others' in its batch.
_SILENT_FRAMES = 100
_FRAMES_STEP = 300


@dataclass(slots=True, eq=False)
class Window:
    """A stretch of at most 30 s of speech, silence cut out, and how far it is decoded."""

    recording: NDArray[np.int16]
    chunks: list[dict[str, int]]  # where its speech lies in the recording, in samples
    language: str
    features: NDArray[np.float32] | None = None  # (n_mels, content_frames + 1) while it is decoded
    padded: bool = True  # to 30 s, as Whisper was trained
    seek: int = 0
    passes: int = 0
    segments: list[Segment] = field(default_factory=list)
    language_probs: dict[str, float] = field(default_factory=dict)

    @property
    def content_frames(self) -> int:
        """Frames of speech in it."""
        return sum(chunk["end"] - chunk["start"] for chunk in self.chunks) // _HOP_LENGTH

    @property
    def pcm16(self) -> NDArray[np.int16]:
        """Its speech alone."""
        return np.concatenate([self.recording[chunk["start"] : chunk["end"]] for chunk in self.chunks])

    @property
    def left(self) -> int:
        """Frames that are not decoded yet, at most."""
        return min(_WINDOW_FRAMES, self.content_frames - self.seek)

    @property
    def encoded_frames(self) -> int:
        """Frames that the encoder gets for what is left."""
        if self.padded:
            return _WINDOW_FRAMES
        return min(_WINDOW_FRAMES, -(-(self.left + _SILENT_FRAMES) // _FRAMES_STEP) * _FRAMES_STEP)


@dataclass(frozen=True, slots=True)
class Plan:
    """The windows of a recording or a piece, up to which sample they reach, and whether the next piece begins there."""

    windows: list[Window]
    end: int
    more: bool = False


def pack(chunks: Sequence[dict[str, int]]) -> list[list[dict[str, int]]]:
    """Group speech chunks, in order, into windows of at most 30 s of speech."""
    groups: list[list[dict[str, int]]] = []
    filled = 0
    for chunk in chunks:
        length = chunk["end"] - chunk["start"]
        if not groups or filled + length > WINDOW_S * SAMPLE_RATE_HZ:
            groups.append([])
            filled = 0
        groups[-1].append(chunk)
        filled += length
    return groups


def keep_back(groups: list[list[dict[str, int]]], n_samples: int) -> int:
    """Take out of a piece what is better decoded with the next one; returns the sample at which that begins.

    The last window is rarely full, and its last word may go on in the next piece. A piece with a single window keeps
    what ends before the piece does.
    """
    if len(groups) > 1:
        return groups.pop()[0]["start"]
    if groups and groups[0][-1]["end"] > n_samples - _EDGE and groups[0][-1]["start"] > 0:
        last = groups[0].pop()
        if not groups[0]:
            groups.pop()
        return last["start"]
    return n_samples
