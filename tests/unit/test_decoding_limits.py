from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
import soundfile

from maeum.audio.decoding import decode
from maeum.errors import AudioTooLong, UndecodableAudio
from tests.audio_files import encode_with_ffmpeg, in_matroska, sound, write


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 44_100, 48_000])
def test_a_recording_of_exactly_the_limit_is_accepted(rate_hz: int) -> None:
    data = write(np.zeros((rate_hz * 30, 1), np.float32), rate_hz, "FLAC")
    assert decode(data, max_duration_s=30.0).duration_s == 30.0


def test_one_sample_more_than_the_limit_is_refused() -> None:
    with pytest.raises(AudioTooLong, match="longer than 2 s"):
        decode(write(sound(32_001)), max_duration_s=2.0)


def test_ten_minutes_are_the_default_limit() -> None:
    minutes_10 = np.zeros((8_000 * 600, 1), np.float32)
    assert decode(write(minutes_10, 8_000, "FLAC")).duration_s == 600
    with pytest.raises(AudioTooLong, match="longer than 600 s"):
        decode(write(np.concatenate([minutes_10, np.zeros((1, 1), np.float32)]), 8_000, "FLAC"))


def test_an_hour_of_silence_in_a_small_file_does_not_fill_the_memory() -> None:
    stream = io.BytesIO()
    with soundfile.SoundFile(stream, "w", 48_000, 1, format="FLAC", subtype="PCM_16") as file:
        second = np.zeros(48_000, np.float32)
        for _ in range(3600):
            file.write(second)
    data = stream.getvalue()
    assert len(data) < 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(AudioTooLong):
            decode(data, max_duration_s=60.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40_000_000  # a minute at 16 kHz is 4 MB; an hour at 48 kHz would be 690 MB


@pytest.mark.parametrize("container", ["WAV", "OGG", "CAF"])
def test_32_channels_are_the_most(container: str) -> None:
    assert decode(write(np.zeros((1_600, 32), np.float32), container=container)).duration_s == 0.1
    with pytest.raises(UndecodableAudio, match="33 channels"):
        decode(write(np.zeros((1_600, 33), np.float32), container=container))


def test_ffmpegs_files_have_32_channels_at_most() -> None:
    with pytest.raises(UndecodableAudio, match="33 channels"):
        decode(in_matroska(np.zeros((1_600, 33), np.float32), 16_000))


# 5 s, of as many samples as 10 s of 8 channels at 192 kHz have, and one sample more.
@pytest.mark.parametrize(("rate_hz", "channels"), [(96_000, 32), (192_000, 16)])
def test_many_channels_at_a_high_rate_are_too_long_before_their_time_is_up(rate_hz: int, channels: int) -> None:
    samples = np.zeros((5 * rate_hz + 1, channels), np.float32)
    decode(write(samples[:-1], rate_hz), max_duration_s=10.0)
    with pytest.raises(AudioTooLong, match="more samples than 10 s of 8 channels"):
        decode(write(samples, rate_hz), max_duration_s=10.0)


def test_ffmpegs_files_of_many_samples_are_too_long_too() -> None:
    with pytest.raises(AudioTooLong, match="more samples than 1 s of 8 channels"):
        decode(in_matroska(np.zeros((96_000, 32), np.float32), 192_000), max_duration_s=1.0)


@pytest.mark.parametrize("damage", [False, True])
def test_packets_cost_more_than_they_sound(damage: bool) -> None:
    # 4,000 packets of a sample each, whether they can be decoded or not
    data = in_matroska(np.zeros((4_000, 1), np.float32), 16_000, packet_samples=1, damage=damage)
    with pytest.raises(AudioTooLong, match="more samples than 2 s of 8 channels"):
        decode(data, max_duration_s=2.0)


def test_ffmpegs_files_keep_the_limit_too() -> None:
    data = encode_with_ffmpeg(np.zeros((160_000, 1), np.float32), 16_000, "ipod", "aac")
    with pytest.raises(AudioTooLong):
        decode(data, max_duration_s=5.0)
