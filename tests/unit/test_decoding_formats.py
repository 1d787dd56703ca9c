from __future__ import annotations

import io
import struct
from typing import Any

import av
import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maeum.audio.decoding import Waveform, decode
from maeum.audio.resampling import SAMPLE_RATE_HZ
from maeum.errors import UndecodableAudio
from tests.audio_files import Samples, encode_with_ffmpeg, in_matroska, sound, write


def as_librosa(data: bytes) -> Samples:
    """The reference's step 1, by the libraries it names."""
    samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    mono = librosa.to_mono(samples.T)
    return np.asarray(librosa.resample(mono, orig_sr=rate_hz, target_sr=16_000, res_type="soxr_hq"))


def assert_equals_librosa(data: bytes) -> None:
    waveform = decode(data)
    expected = as_librosa(data)
    assert waveform.samples.dtype == np.float32
    assert waveform.samples.shape == expected.shape
    assert waveform.samples == pytest.approx(expected, abs=1e-6)


# parity with librosa


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"]
)
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_every_width_equals_librosa(subtype: str, rate_hz: int, endian: str) -> None:
    assert_equals_librosa(write(sound(12_345, 2, rate_hz), rate_hz, subtype=subtype, endian=endian))


@pytest.mark.parametrize(
    "rate_hz", [1_000, 4_000, 7_350, 11_025, 12_000, 15_999, 16_001, 22_050, 24_000, 32_000, 48_000, 96_000, 192_000]
)
@pytest.mark.parametrize("n_samples", [1, 777, 48_000])
def test_every_rate_equals_librosa(rate_hz: int, n_samples: int) -> None:
    assert_equals_librosa(write(sound(n_samples, 1, rate_hz), rate_hz))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 8])
def test_channels_are_averaged_as_librosa_does(channels: int) -> None:
    assert_equals_librosa(write(sound(9_999, channels, 22_050), 22_050, subtype="PCM_24"))


def test_a_long_file_in_many_blocks_equals_librosa() -> None:
    assert_equals_librosa(write(sound(44_100 * 20, 2, 44_100), 44_100))


@given(st.integers(1, 5_000), st.integers(500, 200_000))
@example(415, 830)  # librosa's float product lies a hair above the whole number
@settings(max_examples=20, deadline=None)
def test_the_length_equals_librosas(n_samples: int, rate_hz: int) -> None:
    assert_equals_librosa(write(sound(n_samples, 1, rate_hz), rate_hz))


@pytest.mark.parametrize(
    ("container", "subtype", "rate_hz"),
    [
        ("FLAC", "PCM_16", 16_000),
        ("FLAC", "PCM_24", 48_000),
        ("OGG", "VORBIS", 44_100),
        ("OGG", "OPUS", 48_000),
        ("MP3", "MPEG_LAYER_III", 44_100),
        ("MP3", "MPEG_LAYER_III", 16_000),
        ("AIFF", "PCM_16", 22_050),
        ("CAF", "PCM_16", 22_050),
        ("AU", "ULAW", 8_000),
        ("W64", "PCM_16", 16_000),
        ("RF64", "PCM_16", 16_000),
        ("WAVEX", "PCM_24", 44_100),
    ],
)
def test_what_libsndfile_reads_equals_librosa(container: str, subtype: str, rate_hz: int) -> None:
    assert_equals_librosa(write(sound(rate_hz, 2, rate_hz), rate_hz, container, subtype))


# what only FFmpeg reads


@pytest.mark.parametrize(
    ("container", "codec", "rate_hz", "delay_s"),
    [
        ("ipod", "aac", 44_100, 0.05),  # .m4a
        ("mp4", "aac", 16_000, 0.1),
        ("adts", "aac", 48_000, 0.05),
        ("webm", "libopus", 48_000, 0.03),
        ("matroska", "pcm_s16le", 44_100, 0.001),
        ("asf", "wmav2", 44_100, 0.1),
        ("mov", "alac", 44_100, 0.001),
        ("matroska", "flac", 48_000, 0.001),
    ],
)
def test_what_ffmpeg_reads_sounds_the_same(container: str, codec: str, rate_hz: int, delay_s: float) -> None:
    original = sound(rate_hz * 2, 1, rate_hz)
    data = encode_with_ffmpeg(original, rate_hz, container, codec)
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(io.BytesIO(data))
    decoded = decode(data).samples
    expected = librosa.resample(original[:, 0], orig_sr=rate_hz, target_sr=16_000, res_type="soxr_hq")
    assert abs(len(decoded) - len(expected)) <= delay_s * 2 * SAMPLE_RATE_HZ
    # An encoder may start late; with its delay taken out, lossy audio still follows the original closely.
    correlation = np.correlate(np.pad(decoded, 2_000), expected[2_000:12_000], mode="valid")
    shift = int(correlation.argmax()) - 4_000
    assert abs(shift) <= delay_s * SAMPLE_RATE_HZ
    heard = decoded[2_000 + shift : 12_000 + shift]
    assert np.corrcoef(heard, expected[2_000 : 2_000 + len(heard)])[0, 1] > 0.95


@pytest.mark.parametrize("channels", [1, 2, 6, 7, 8, 9, 16, 32])
def test_channels_from_ffmpeg_are_averaged_too(channels: int) -> None:
    samples = sound(5_000, channels)
    decoded = decode(in_matroska(samples, 16_000)).samples
    assert decoded == pytest.approx(samples.mean(axis=1), abs=1e-6)


def test_ffmpegs_samples_are_resampled_by_soxr() -> None:
    original = np.rint(sound(44_100, 1, 44_100) * 32768) / np.float32(32768)
    data = encode_with_ffmpeg(np.asarray(original, np.float32), 44_100, "matroska", "pcm_s16le")
    assert decode(data).samples == pytest.approx(as_librosa(write(original, 44_100)), abs=1e-6)


def test_a_recording_whose_rate_changes_on_the_way_is_read_to_its_end() -> None:
    # as when a phone goes over to another microphone
    parts = [encode_with_ffmpeg(sound(rate_hz), rate_hz, "adts", "aac") for rate_hz in (44_100, 16_000, 48_000)]
    lengths = [decode(part).duration_s for part in parts]
    assert decode(b"".join(parts)).duration_s == pytest.approx(sum(lengths), abs=0.1)


def test_one_that_changes_it_again_and_again_is_refused() -> None:
    parts = [encode_with_ffmpeg(sound(3_000), rate_hz, "adts", "aac") for rate_hz in (44_100, 16_000)]
    with pytest.raises(UndecodableAudio, match="again and again"):
        decode(b"".join(parts * 40))


def test_a_video_gives_its_sound_and_one_without_sound_is_refused() -> None:
    def video(with_sound: bool) -> bytes:
        stream = io.BytesIO()
        with av.open(stream, mode="w", format="mp4") as output:
            picture: Any = output.add_stream("mpeg4", rate=10)
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
            tone: Any = output.add_stream("aac", rate=16_000, layout="mono") if with_sound else None
            for _ in range(5):
                output.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
            output.mux(picture.encode(None))
            if tone is not None:
                for start in range(0, 8_192, 1_024):
                    frame = av.AudioFrame.from_ndarray(
                        np.ascontiguousarray(sound(1_024, seed=start).T), format="fltp", layout="mono"
                    )
                    frame.sample_rate, frame.pts = 16_000, start
                    output.mux(tone.encode(frame))
                output.mux(tone.encode(None))
        return stream.getvalue()

    assert decode(video(with_sound=True)).duration_s > 0.4
    with pytest.raises(UndecodableAudio, match="no audio track"):
        decode(video(with_sound=False))


# Waveform


def test_duration_is_in_seconds() -> None:
    assert Waveform(np.zeros(24_000, np.float32)).duration_s == 1.5


def test_pcm16_is_little_endian_rounded_and_clipped() -> None:
    samples = np.array([0, 0.5, -0.5, 1, -1, 7, -7, 1 / 32768, 0.6 / 32768], np.float32)
    expected = [0, 16384, -16384, 32767, -32768, 32767, -32768, 1, 1]
    assert Waveform(samples).to_pcm16() == struct.pack("<9h", *expected)


@given(st.lists(st.integers(-32768, 32767), max_size=50))
def test_pcm16_survives_the_way_there_and_back(values: list[int]) -> None:
    samples = np.array(values, np.float32) / np.float32(32768)
    assert np.frombuffer(Waveform(samples).to_pcm16(), "<i2").tolist() == values
