"""Bytes to a mono 16 kHz waveform, within bounds that hold for hostile files too."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from maeum.audio.ffmpeg_process import decode_apart
from maeum.audio.joined import goes_on, is_joined
from maeum.audio.resampling import SAMPLE_RATE_HZ, Block, check_channels, collect
from maeum.errors import EmptyAudio, UndecodableAudio

# Of what is left to libsndfile: WAV in its three sizes and big-endian, FLAC, Ogg, AIFF, AU, CAF, NIST's SPHERE and MP3.
# It knows many formats more, whose readers hardly anybody needs, and one of which writes to stdout.
_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"caff", b"NIST", b"ID3", b"\xff")
_BLOCK_SAMPLES = 1 << 18  # per read, over all channels: bounds memory whatever a header claims


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """Mono audio at `SAMPLE_RATE_HZ`.

    Args:
        samples: float32, shape (n_samples,), finite, nominally in [-1, 1].
    """

    samples: NDArray[np.float32]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE_HZ

    def to_pcm16(self) -> bytes:
        """Little-endian signed 16-bit PCM, clipped to full scale."""
        pcm = np.empty(len(self.samples), "<i2")
        for start in range(0, len(pcm), _BLOCK_SAMPLES):
            block = slice(start, start + _BLOCK_SAMPLES)
            pcm[block] = np.clip(np.rint(self.samples[block] * 32768.0), -32768, 32767)
        return pcm.tobytes()


def decode(data: bytes, max_duration_s: float = 600.0) -> Waveform:
    """Decode an audio file, average its channels and resample to 16 kHz with soxr's HQ.

    libsndfile reads what it can; the rest goes to FFmpeg, which only decodes: its resampler moves single MFCCs by
    more than 1. A file cut off in the middle gives what was there, and a damaged MP3 what follows the damage too.

    Args:
        data: the file's bytes: wav, flac, mp3, ogg, opus, aiff, m4a, wma, webm, …
        max_duration_s: longest accepted recording in seconds.

    Raises:
        EmptyAudio: no bytes, or no samples in them.
        UndecodableAudio: not audio, damaged beyond reading, or of a rate or number of channels that no recorder has.
        AudioTooLong: longer than `max_duration_s`, or of more samples than 8 channels at 192 kHz have in that time.
    """
    waveform = decode_here(data, max_duration_s)
    return decode_with_ffmpeg(data, max_duration_s) if waveform is None else waveform


def decode_here(data: bytes, max_duration_s: float) -> Waveform | None:
    """The first half of `decode`: None when FFmpeg is to read the file."""
    if not data:
        raise EmptyAudio("the audio file is empty")
    if is_joined(data):
        return None
    samples, end = _read_with_libsndfile(data, max_duration_s)
    if not len(samples) or goes_on(data, end):  # a recorder that crashed may have left a length of 0
        return None
    return Waveform(samples)


def decode_with_ffmpeg(data: bytes, max_duration_s: float) -> Waveform:
    """The second half, which may wait for a place, and be held by a hostile file for a minute.

    What libsndfile hears counts where FFmpeg hears no more: of files that are damaged, or put together, in a way that
    FFmpeg does not know, or whose rest is no sound.
    """
    refusal: UndecodableAudio | None = None
    samples = np.empty(0, np.float32)
    try:
        samples = decode_apart(data, max_duration_s)
    except UndecodableAudio as error:
        refusal = error
    samples = max(_read_with_libsndfile(data, max_duration_s)[0], samples, key=len)
    if not len(samples):
        raise refusal or EmptyAudio("the audio file holds no sound")
    return Waveform(samples)


def _read_with_libsndfile(data: bytes, max_duration_s: float) -> tuple[NDArray[np.float32], int]:
    """The samples, none if it cannot read the file, and how many of its bytes it had read when they were over."""
    if data.startswith(_MAGIC):
        file = _QuietBytesIO(data)
        with suppress(soundfile.LibsndfileError):
            return collect(_soundfile_blocks(file), max_duration_s), file.tell()
    return np.empty(0, np.float32), 0


def _soundfile_blocks(stream: io.BytesIO) -> Iterator[Block]:
    with soundfile.SoundFile(stream) as file:
        check_channels(file.channels)
        frames = max(1, _BLOCK_SAMPLES // max(1, file.channels))
        # Numbers of 16 bits are read as they are: the same values in the end, in a third of the time.
        dtype = "int16" if file.subtype == "PCM_16" else "float32"
        while True:
            block = file.read(frames, dtype=dtype, always_2d=True)
            if len(block):
                yield file.samplerate, block
            if len(block) < frames:  # the end: of a damaged file, soundfile would go on from an earlier place
                return


class _QuietBytesIO(io.BytesIO):
    """A file in which damaged headers may ask for a place before its start.

    soundfile calls `seek` from C, where an exception would be printed with its stack trace and then ignored.
    """

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()
