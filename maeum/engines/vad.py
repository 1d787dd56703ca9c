"""Where speech is in a recording: faster-whisper's voice activity detection, in bounded memory and once.

`get_speech_timestamps` computes the probabilities of a whole recording at once, which takes 175 MB for ten minutes, and
again for each set of options. Here they are computed a stretch at a time, and kept.
"""

from __future__ import annotations

from types import FunctionType

import numpy as np
from faster_whisper import vad
from faster_whisper.vad import VadOptions
from numpy.typing import NDArray

from maeum.audio.resampling import SAMPLE_RATE_HZ

FRAME = 512
SPEECH = VadOptions().threshold  # from this probability on
_CONTEXT = 64  # samples of the frame before that the model hears too
_STATE = (1, 1, 128)
_FRAMES_AT_ONCE = 512  # 16 s


def speech_probabilities(pcm16: NDArray[np.int16]) -> NDArray[np.float32]:
    """Probability of speech in each frame of 512 samples, as `faster_whisper.vad.SileroVADModel` gives them.

    Args:
        pcm16: mono, 16 kHz, shape (n_samples,).

    Returns:
        float32, shape (n_samples // 512 + 1,); the last frame is filled up with zeros.
    """
    session = vad.get_vad_model().session
    n_frames = len(pcm16) // FRAME + 1
    hidden, cell = np.zeros(_STATE, np.float32), np.zeros(_STATE, np.float32)
    context = np.zeros(_CONTEXT, np.float32)
    parts: list[NDArray[np.float32]] = []
    for start in range(0, n_frames, _FRAMES_AT_ONCE):
        count = min(_FRAMES_AT_ONCE, n_frames - start)
        piece = to_float(pcm16[start * FRAME : (start + count) * FRAME])
        samples = np.concatenate([context, piece, np.zeros(count * FRAME - len(piece), np.float32)])
        if start + count == n_frames:
            samples[-_CONTEXT:] = 0  # as there
        frames = np.lib.stride_tricks.sliding_window_view(samples, _CONTEXT + FRAME)[::FRAME]
        out, hidden, cell = session.run(None, {"input": np.ascontiguousarray(frames), "h": hidden, "c": cell})
        parts.append(out.reshape(-1))
        context = samples[-_CONTEXT:]
    return np.concatenate(parts)


def speech_chunks(probabilities: NDArray[np.float32], n_samples: int, options: VadOptions) -> list[dict[str, int]]:
    """Stretches of speech, as `faster_whisper.vad.get_speech_timestamps` finds them from these probabilities.

    Args:
        probabilities: from `speech_probabilities`.
        n_samples: of the recording, at 16 kHz.
        options: thresholds and lengths.

    Returns:
        `start` and `end` of each in samples, in order.
    """
    # The library's own function, which asks a model for the probabilities: its namespace has one that knows them.
    known = {**vars(vad), "get_vad_model": lambda: lambda audio: probabilities}
    find = FunctionType(vad.get_speech_timestamps.__code__, known)
    silence = np.zeros(n_samples, np.bool_)  # only its length is read
    chunks: list[dict[str, int]] = find(silence, options, SAMPLE_RATE_HZ)
    return chunks


def to_float(pcm16: NDArray[np.int16]) -> NDArray[np.float32]:
    """Samples of 16 bits as float32 in [-1, 1)."""
    return np.multiply(pcm16, np.float32(1 / 32768), dtype=np.float32)
