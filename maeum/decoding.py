"""Bytes to a mono 16 kHz waveform, within bounds that hold for hostile files too."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from maeum.errors import AudioTooLong, EmptyAudio, UndecodableAudio

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.audio.stream import AudioStream

SAMPLE_RATE_HZ = 16_000

_BLOCK_SAMPLES = 1 << 18  # per read, over all channels: bounds memory whatever a header claims
_RATE_RANGE_HZ = (100, 768_000)
_MAX_CHANNELS = 32
# A length in seconds does not bound the work: silence of many channels at a high rate costs nearly no bytes.
_MAX_SAMPLES_PER_S = 192_000 * 8  # over all channels, on average over the longest accepted recording
# A FLAC frame of silence has 32 bytes and decodes to a megabyte; FFmpeg decodes all frames of a packet before any is
# handed out. A container's packet holds one; in other frames' bytes the mark of a frame comes once in 32 KB by chance.
_FLAC_MARKS = (b"\xff\xf8", b"\xff\xf9")
_MAX_FLAC_MARKS, _BYTES_PER_FLAC_MARK = 16, 1 << 14
_LEAST_FRAMES = 1024  # what a packet counts for at least: it costs its decoding even if it gives little or no sound
# Float files may hold anything; past this the squares of an FFT overflow float32.
_MAX_AMPLITUDE = 1e6

# FFmpeg's demuxers for what people record and upload, and no protocol: others read playlists (concat, hls), open
# files by name or listen on the network (sdp).
_FFMPEG_OPTIONS = {
    "format_whitelist": "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dss,dts,dv,eac3,flac,flv,loas,matroska,"
    "mov,mp3,mpc,mpc8,mpeg,mpegts,ogg,qcp,rm,tak,tta,voc,w64,wav,wv",
    "protocol_whitelist": "",
}


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
    if not data:
        raise EmptyAudio("the audio file is empty")
    try:
        samples = _collect(_soundfile_blocks(data), max_duration_s)
    except soundfile.LibsndfileError:
        samples = _collect(_ffmpeg_blocks(data), max_duration_s)
    if not len(samples):
        raise EmptyAudio("the audio file holds no sound")
    return Waveform(samples)


# A block is (sample rate in Hz, samples of shape (n_frames, n_channels): int16, or floats which may not be finite).
_Block = tuple[int, NDArray[Any]]


def _soundfile_blocks(data: bytes) -> Iterator[_Block]:
    with soundfile.SoundFile(_QuietBytesIO(data)) as file:
        _check_channels(file.channels)
        frames = max(1, _BLOCK_SAMPLES // max(1, file.channels))
        # Numbers of 16 bits are read as they are: the same values in the end, in a third of the time.
        dtype = "int16" if file.subtype == "PCM_16" else "float32"
        while True:
            block = file.read(frames, dtype=dtype, always_2d=True)
            if not len(block):
                return
            yield file.samplerate, block


def _ffmpeg_blocks(data: bytes) -> Iterator[_Block]:
    import av  # here, because only files that libsndfile cannot read need FFmpeg

    try:
        with av.open(io.BytesIO(data), "r", options=_FFMPEG_OPTIONS, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise UndecodableAudio("the file has no audio track")
            codec = container.streams.audio[0].codec_context
            if codec is None:  # PyAV's types say that it cannot be
                raise UndecodableAudio("the file's audio track is of a kind that nothing here can decode")
            _check_channels(codec.channels)
            # Packed or planar, of any width, becomes packed float32: a change of format, not of rate. Of planes, from
            # 8 on PyAV 18 reads more than there are (`AudioFrame.planes`), which ends the process.
            to_float = av.AudioResampler(format="flt")
            for packet in container.demux(audio=0):
                if codec.name == "flac":
                    _check_flac(bytes(packet))
                frames = _decoded(packet)
                if not frames:
                    yield 0, np.empty((0, max(1, codec.channels)), np.float32)
                for frame in frames:
                    _check_channels(frame.layout.nb_channels)
                    for converted in to_float.resample(frame):
                        yield converted.sample_rate, converted.to_ndarray().reshape(-1, frame.layout.nb_channels)
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise UndecodableAudio("the file is not audio that can be decoded") from error


class _QuietBytesIO(io.BytesIO):
    """A file in which damaged headers may ask for a place before its start.

    soundfile calls `seek` from C, where an exception would be printed with its stack trace and then ignored.
    """

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _check_channels(n_channels: int) -> None:
    if n_channels > _MAX_CHANNELS:
        raise UndecodableAudio(f"a recording of {n_channels} channels is not supported, only up to {_MAX_CHANNELS}")


def _check_flac(packet: bytes) -> None:
    if sum(map(packet.count, _FLAC_MARKS)) > _MAX_FLAC_MARKS + len(packet) // _BYTES_PER_FLAC_MARK:
        raise UndecodableAudio("the file holds many FLAC frames in one packet, which no recorder writes")


def _decoded(packet: Packet[AudioStream]) -> list[AudioFrame]:
    """A packet's frames; one that is damaged has none and is skipped, as players do."""
    import av

    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []


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


def _collect(blocks: Iterator[_Block], max_duration_s: float) -> NDArray[np.float32]:
    """Resample block by block, so that memory is bounded by the output."""
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
