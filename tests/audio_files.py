"""Sounds, and audio files of them as libsndfile and FFmpeg write them."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def sound(n_samples: int, channels: int = 1, rate_hz: int = 16_000, seed: int = 0) -> Samples:
    """Chirps under noise, shape (n_samples, channels), peak under 0.7."""
    random = np.random.default_rng(seed)
    time_s = np.arange(n_samples)[:, None] / rate_hz
    tones = np.sin(2 * np.pi * (200 + 150 * np.arange(1, channels + 1)) * time_s * (1 + time_s))
    return np.asarray(0.5 * tones + 0.02 * random.standard_normal((n_samples, channels)), np.float32).clip(-0.7, 0.7)


def write(
    samples: NDArray[Any],
    rate_hz: int = 16_000,
    container: str = "WAV",
    subtype: str | None = None,
    endian: str | None = None,
) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate_hz, format=container, subtype=subtype, endian=endian)
    return stream.getvalue()


def encode_with_ffmpeg(samples: Samples, rate_hz: int, container: str, codec: str) -> bytes:
    """Write mono samples, shape (n, 1), as FFmpeg does, in any container and codec it knows."""
    stream = io.BytesIO()
    with av.open(stream, mode="w", format=container) as output:
        track: Any = output.add_stream(codec, rate=rate_hz, layout="mono")
        track.bit_rate = 96_000
        if codec == "flac":  # which has to be told
            track.codec_context.format = "s16"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(track.format, "mono", rate_hz, track.codec_context.frame_size or None)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            output.mux(track.encode(part))
        output.mux([packet for packet in track.encode(None) if packet.size])  # FLAC's last one has none
    return stream.getvalue()


def in_matroska(samples: Samples, rate_hz: int, packet_samples: int = 1_024, damage: bool = False) -> bytes:
    """Write samples of shape (n, channels) as PCM packets of `packet_samples`, or as packets too short to decode."""
    stream = io.BytesIO()
    with av.open(stream, mode="w", format="matroska") as output:
        track: Any = output.add_stream("pcm_f32le", rate=rate_hz, layout=f"{samples.shape[1]}C")
        for start in range(0, len(samples), packet_samples):
            packet = av.Packet(b"\0" if damage else samples[start : start + packet_samples].tobytes())
            packet.stream, packet.pts, packet.dts, packet.time_base = track, start, start, Fraction(1, rate_hz)
            output.mux(packet)
    return stream.getvalue()
