"""Blocks of samples, of any rate and number of channels, to mono at 16 kHz."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

from maeum.errors import AudioTooLong, UndecodableAudio

SAMPLE_RATE_HZ = 16_000

Block: TypeAlias = tuple[int, NDArray[Any]]
"""Sample rate in Hz, and samples of shape (n_frames, n_channels): int16, or floats which may not be finite."""

_RATE_RANGE_HZ = (100, 768_000)
_MAX_CHANNELS = 32
# A length in seconds does not bound the work: silence of many channels at a high rate costs nearly no bytes.
_MAX_SAMPLES_PER_S = 192_000 * 8  # over all channels, on average over the longest accepted recording
_LEAST_FRAMES = 1024  # what a packet counts for at least: it costs its decoding even if it gives little or no sound
# Float files may hold anything; past this the squares of an FFT overflow float32.
_MAX_AMPLITUDE = 1e6


def check_channels(n_channels: int) -> None:
    """Refuse more channels than any recorder has.

    Raises:
        UndecodableAudio: there are more.
    """
    if n_channels > _MAX_CHANNELS:
        raise UndecodableAudio(f"a recording of {n_channels} channels is not supported, only up to {_MAX_CHANNELS}")


def _mono(block: NDArray[Any]) -> NDArray[np.float32]:
    """Average the channels of samples that may not be finite; of int16, full scale becomes 1."""
    is_pcm16 = block.dtype == np.int16
    # The minimum and maximum of a block that holds no number are no numbers, and are in no range.
    if not is_pcm16 and not (block.min(initial=0.0) >= -_MAX_AMPLITUDE and block.max(initial=0.0) <= _MAX_AMPLITUDE):
        block = np.clip(np.nan_to_num(block, nan=0.0), -_MAX_AMPLITUDE, _MAX_AMPLITUDE)
    # In the order of `mean(axis=1)`, which takes twenty times as long over rows of two.
    mono = block[:, 0].astype(np.float32)
    for channel in block.T[1:]:
        mono += channel
    if is_pcm16:
        mono *= np.float32(1 / 32768)  # exact
    mono /= np.float32(block.shape[1])
    return mono


def collect(blocks: Iterator[Block], max_duration_s: float) -> NDArray[np.float32]:
    """Average channels and resample, block by block, so that memory is bounded by the output.

    Args:
        blocks: of a recording, in order.
        max_duration_s: of the recording.

    Returns:
        float32, shape (n_samples,), mono at `SAMPLE_RATE_HZ`.

    Raises:
        UndecodableAudio: a sample rate that no recorder has.
        AudioTooLong: longer than that, or of more samples than 8 channels at 192 kHz have in that time.
    """
    samples = bytearray()  # grows in place, where a list of parts would be copied whole at the end
    resampler: _Resampler | None = None
    seconds = Fraction(0)  # a sum of floats would refuse a recording of exactly the limit
    n_decoded = 0
    for rate_hz, block in blocks:
        n_decoded += max(len(block), _LEAST_FRAMES) * block.shape[1]
        if n_decoded > max_duration_s * _MAX_SAMPLES_PER_S:
            raise AudioTooLong(f"the recording has more samples than {max_duration_s:g} s of 8 channels at 192 kHz")
        if not len(block):
            continue  # a packet without sound, which has no rate either
        if not _RATE_RANGE_HZ[0] <= rate_hz <= _RATE_RANGE_HZ[1]:
            raise UndecodableAudio(f"a sample rate of {rate_hz} Hz is not supported")
        seconds += Fraction(len(block), rate_hz)
        if seconds > max_duration_s:
            raise AudioTooLong(f"the recording is longer than {max_duration_s:g} s")
        if resampler is None or resampler.rate_hz != rate_hz:
            if resampler is not None:
                samples += resampler.finish().data
            resampler = _Resampler(rate_hz)
        samples += resampler.push(_mono(block)).data
    if resampler is not None:
        samples += resampler.finish().data
    return np.frombuffer(samples, np.float32)


class _Resampler:
    """soxr's HQ to 16 kHz over blocks; the sum of the parts is as long as librosa's one-shot result."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._stream = (
            None
            if rate_hz == SAMPLE_RATE_HZ
            else soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        )
        self._n_in = self._n_out = 0

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._stream is None:
            return block
        self._n_in += len(block)
        out: NDArray[np.float32] = self._stream.resample_chunk(block)
        self._n_out += len(out)
        return out

    def finish(self) -> NDArray[np.float32]:
        if self._stream is None:
            return np.zeros(0, np.float32)
        rest: NDArray[np.float32] = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        # librosa's order of operations: with odd rates, another one rounds to another length.
        missing = math.ceil(self._n_in * (SAMPLE_RATE_HZ / self.rate_hz)) - self._n_out - len(rest)
        return np.pad(rest, (0, missing)) if missing > 0 else rest[: len(rest) + missing]
