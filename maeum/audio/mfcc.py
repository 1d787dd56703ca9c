"""MFCCs with librosa's defaults, without computing what nobody asks for.

librosa takes seconds to load and transforms the whole clip. The voice network reads the first 3.2 s; of the rest only
the loudest mel band matters, because `power_to_db` cuts at 80 dB under it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from maeum.audio.decoding import Waveform
from maeum.audio.resampling import SAMPLE_RATE_HZ

N_MFCC = 13
HOP_LENGTH = 512
_N_FFT = 2048
_N_MELS = 128
_TOP_DB = 80.0
_MIN_POWER = 1e-10
_PART_LENGTH = 128  # of a frame, whose energy is bounded part by part
_FRAMES_AT_ONCE = 64  # bounds memory, and stays in the cache

Floats = NDArray[np.float32]


def mfcc(waveform: Waveform, n_frames: int | None = None) -> Floats:
    """MFCCs as `librosa.feature.mfcc(y=..., sr=16000, n_mfcc=13)`: 2048-point FFT, hop length 512, 128 mel bands.

    `power_to_db` cuts at 80 dB under the maximum of the whole clip, so a loud end changes the first frame.

    Args:
        waveform: of any length.
        n_frames: the first so many are enough; None for all.

    Returns:
        float32, shape (n, 13), where n is 1 + n_samples // 512 or n_frames, whichever is less.
    """
    total = 1 + len(waveform.samples) // HOP_LENGTH
    wanted = np.arange(total)[:n_frames]
    mel = _mel_power(waveform.samples, wanted)
    loudest = _loudest(waveform.samples, np.arange(len(wanted), total), float(mel.max()))
    decibels = 10 * np.log10(np.maximum(mel, np.float32(_MIN_POWER)))
    floor = np.float32(10 * np.log10(max(loudest, _MIN_POWER)) - _TOP_DB)
    coefficients: Floats = np.maximum(decibels, floor) @ _dct()
    return coefficients


def _mel_power(samples: Floats, numbers: NDArray[np.intp]) -> Floats:
    """Power in each mel band of the frames with these numbers: (n, 128). Frames are centred at their hop."""
    from scipy.fft import rfft  # here, because the runners start sooner without it

    mel = np.empty((len(numbers), _N_MELS), np.float32)
    for first in range(0, len(numbers), _FRAMES_AT_ONCE):
        chosen = numbers[first : first + _FRAMES_AT_ONCE]
        frames = np.zeros((len(chosen), _N_FFT), np.float32)
        starts = chosen * HOP_LENGTH - _N_FFT // 2
        whole = (starts >= 0) & (starts + _N_FFT <= len(samples))
        if whole.any():
            frames[whole] = sliding_window_view(samples, _N_FFT)[starts[whole]]
        for place in np.flatnonzero(~whole):
            start = starts[place]
            part = samples[max(0, start) : start + _N_FFT]
            frames[place, max(0, -start) :][: len(part)] = part
        frames *= _window()
        spectrum = rfft(frames)  # SciPy's: several frames in one vector, seven times as fast as NumPy's
        mel[first : first + _FRAMES_AT_ONCE] = (spectrum.real**2 + spectrum.imag**2) @ _mel_filters()
    return mel


def _loudest(samples: Floats, numbers: NDArray[np.intp], known: float) -> float:
    """The largest mel power of the frames with these numbers, or `known` when none is larger.

    No band holds more than a frame's whole energy times the largest weight of a filter (Parseval). Frames are taken in
    the order of that bound, until it is under the largest power found.
    """
    whole = len(samples) // _PART_LENGTH
    parts = samples[: whole * _PART_LENGTH].reshape(-1, _PART_LENGTH)
    rest = samples[whole * _PART_LENGTH :].astype(np.float64)
    # Before the first sample and after the last there is silence, half a frame and a part that may be cut.
    n_parts = _N_FFT // _PART_LENGTH
    part = np.zeros(whole + 1 + n_parts)
    part[n_parts // 2 :][:whole] = np.einsum("ij,ij->i", parts, parts, dtype=np.float64)  # no copy of the recording
    part[n_parts // 2 + whole] = rest @ rest
    # The window at its largest in each part, squared.
    weights = (_window().astype(np.float64) ** 2).reshape(n_parts, -1).max(axis=1)
    energy = np.convolve(part, weights[::-1], mode="valid")[:: HOP_LENGTH // _PART_LENGTH]
    bounds = energy[numbers] * (_N_FFT / 2 * float(_mel_filters().max())) * 1.0001  # for rounding
    order = np.argsort(-bounds)
    for first in range(0, len(order), _FRAMES_AT_ONCE):
        chosen = order[first : first + _FRAMES_AT_ONCE]
        if bounds[chosen[0]] <= known:
            break
        known = max(known, float(_mel_power(samples, numbers[chosen]).max()))
    return known


@cache
def _window() -> Floats:
    """Periodic Hann window, shape (2048,)."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_N_FFT) / _N_FFT)).astype(np.float32)


@cache
def _mel_filters() -> Floats:
    """Triangles on Slaney's mel scale from 0 to 8 kHz, each of area 1, shape (1025, 128)."""
    # Linear up to 1 kHz, 15 mels; then 27 mels for each factor of 6.4.
    mels = np.linspace(0, 15 + 27 * np.log(SAMPLE_RATE_HZ / 2 / 1000) / np.log(6.4), _N_MELS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    bins = np.linspace(0, SAMPLE_RATE_HZ / 2, _N_FFT // 2 + 1)[:, np.newaxis]
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.ascontiguousarray(triangles * 2 / (edges[2:] - edges[:-2]), np.float32)


@cache
def _dct() -> Floats:
    """The first 13 columns of the orthonormal DCT-II, shape (128, 13)."""
    angles = np.pi * np.outer(np.arange(_N_MELS) + 0.5, np.arange(N_MFCC)) / _N_MELS
    scale = np.full(N_MFCC, np.sqrt(2 / _N_MELS))
    scale[0] = np.sqrt(1 / _N_MELS)
    basis: Floats = (np.cos(angles) * scale).astype(np.float32)
    return basis
