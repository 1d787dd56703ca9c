"""Bytes to a mono 16 kHz waveform, within bounds that hold for hostile files too."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from maeum.audio.ffmpeg_process import decode_apart
from maeum.audio.resampling import SAMPLE_RATE_HZ, Block, check_channels, collect
from maeum.errors import EmptyAudio, UndecodableAudio

# Of what is left to libsndfile: WAV in its three sizes, FLAC, Ogg, AIFF, AU, CAF, NIST's SPHERE and MP3. It knows many
# formats more, whose readers hardly anybody needs, and one of which writes to stdout.
_MAGIC = (b"RIFF", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"caff", b"NIST", b"ID3", b"\xff")
_OGG_FLAGS, _OGG_FIRST_PAGE = 5, 2  # where in a page they are, and the one of a stream's first page
_OGG_HEADER = 27  # bytes, the last of which says how many sizes follow
_MP3_HEAD, _MP3_TAGS = 1 << 20, 1 << 12  # where the first frame is, after pictures perhaps; what may follow the last
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
    more than 1. A file cut off in the middle gives what was there.

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
    if not data.startswith(_MAGIC) or _is_joined(data):
        return None
    try:
        samples = collect(_soundfile_blocks(data), max_duration_s)
    except soundfile.LibsndfileError:
        return None
    return Waveform(samples) if len(samples) else None  # a recorder that crashed may have left a length of 0


def _is_joined(data: bytes) -> bool:
    """Whether another file follows in it, as when recordings were put together: libsndfile stops before that."""
    magic = data[:4]
    if magic == b"OggS":
        return _is_chained(data)
    if magic == b"fLaC":
        return data.find(magic, 4) > 0
    if magic[:3] == b"ID3" or magic[:1] == b"\xff":
        return _has_more_than_its_header_says(data)
    return False


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
    return len(mp3) > int(start + n_bytes) + _MP3_TAGS


def decode_with_ffmpeg(data: bytes, max_duration_s: float) -> Waveform:
    """The second half, which may wait for a place, and be held by a hostile file for a minute."""
    try:
        return _waveform(decode_apart(data, max_duration_s))
    except UndecodableAudio:
        if not data.startswith(_MAGIC):
            raise
        try:  # the first of several, put together in a way that FFmpeg does not know
            return _waveform(collect(_soundfile_blocks(data), max_duration_s))
        except soundfile.LibsndfileError:
            pass
        raise


def _waveform(samples: NDArray[np.float32]) -> Waveform:
    if not len(samples):
        raise EmptyAudio("the audio file holds no sound")
    return Waveform(samples)


def _soundfile_blocks(data: bytes) -> Iterator[Block]:
    with soundfile.SoundFile(_QuietBytesIO(data)) as file:
        check_channels(file.channels)
        frames = max(1, _BLOCK_SAMPLES // max(1, file.channels))
        # Numbers of 16 bits are read as they are: the same values in the end, in a third of the time.
        dtype = "int16" if file.subtype == "PCM_16" else "float32"
        while True:
            block = file.read(frames, dtype=dtype, always_2d=True)
            if not len(block):
                return
            yield file.samplerate, block


class _QuietBytesIO(io.BytesIO):
    """A file in which damaged headers may ask for a place before its start.

    soundfile calls `seek` from C, where an exception would be printed with its stack trace and then ignored.
    """

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()
