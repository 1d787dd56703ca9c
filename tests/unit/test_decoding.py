from __future__ import annotations

import io
import socket
import struct
import sys
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import av
import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import maeum.ffmpeg
from maeum.decoding import Waveform, decode
from maeum.errors import AudioTooLong, EmptyAudio, UndecodableAudio
from maeum.resampling import SAMPLE_RATE_HZ

Samples = NDArray[np.float32]


def sound(n_samples: int, channels: int = 1, rate_hz: int = 16_000, seed: int = 0) -> Samples:
    """Chirps under noise, shape (n_samples, channels), peak under 0.7."""
    random = np.random.default_rng(seed)
    time_s = np.arange(n_samples)[:, None] / rate_hz
    tones = np.sin(2 * np.pi * (200 + 150 * np.arange(1, channels + 1)) * time_s * (1 + time_s))
    return np.asarray(0.5 * tones + 0.02 * random.standard_normal((n_samples, channels)), np.float32).clip(-0.7, 0.7)


def write(samples: NDArray[Any], rate_hz: int = 16_000, container: str = "WAV", subtype: str | None = None) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate_hz, format=container, subtype=subtype)
    return stream.getvalue()


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


# parity with librosa


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"]
)
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_every_width_equals_librosa(subtype: str, rate_hz: int) -> None:
    assert_equals_librosa(write(sound(12_345, 2, rate_hz), rate_hz, subtype=subtype))


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


# damaged and hostile files


@pytest.mark.parametrize("data", [b"", write(np.zeros((0, 1), np.float32))])
def test_a_file_without_samples_is_empty(data: bytes) -> None:
    with pytest.raises(EmptyAudio):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"RIFF",
        b"RIFF\xff\xff\xff\xffWAVE",
        b"ID3\x04\x00\x00\x00\x00\x00\x00",
        b"OggS" + bytes(60),
        b"fLaC" + b"\xff" * 100,
        b"<html><body>404</body></html>",
        "오늘은 즐거웠다.".encode(),
        b"%PDF-1.7\n" + bytes(range(256)) * 20,
        b"PK\x03\x04" + bytes(200),
        b"#EXTM3U\nhttp://127.0.0.1:9/secret.wav\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        np.random.default_rng(3).bytes(50_000),
        bytes(100_000),
    ],
)
def test_what_is_no_audio_is_refused(data: bytes) -> None:
    with pytest.raises((UndecodableAudio, EmptyAudio)) as caught:
        decode(data)
    assert "/" not in caught.value.message


def test_a_playlist_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("secret.wav").write_bytes(write(sound(16_000)))
    with pytest.raises(UndecodableAudio):
        decode(b"ffconcat version 1.0\nfile secret.wav\n")


def test_a_session_description_listens_to_no_network() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1] & ~1  # RTP's ports are even
    decoded = threading.Event()

    def speak() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
            for number in count():
                if decoded.wait(0.001):
                    return
                # 20 ms of μ-law under the header of RFC 3550.
                header = struct.pack(">BBHII", 0x80, 0, number & 0xFFFF, number * 160, 1)
                with suppress(ConnectionRefusedError):
                    caller.sendto(header + bytes(160), ("127.0.0.1", port))

    session = f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        with pytest.raises(UndecodableAudio):  # not AudioTooLong, which what it hears would be
            decode(session.encode(), max_duration_s=1.0)
    finally:
        decoded.set()
        speaker.join()


@pytest.mark.parametrize("name", maeum.ffmpeg._OPTIONS["format_whitelist"].split(","))
def test_ffmpeg_has_every_format_that_is_let_in(name: str) -> None:
    demuxer = av.ContainerFormat(name, "r")
    assert demuxer.is_input
    assert not demuxer.no_file  # one that opens its input by itself: a device, a pattern of file names, the network


@pytest.mark.parametrize("container", ["WAV", "FLAC", "MP3", "OGG", "AIFF"])
def test_a_file_cut_in_the_middle_gives_what_was_there(container: str) -> None:
    data = write(sound(64_000), container=container)
    waveform = decode(data[: len(data) // 2])
    assert 0.5 < waveform.duration_s < 4.0
    if container == "WAV":
        half = (len(data) // 2 - 44) // 2
        assert waveform.samples == pytest.approx(decode(data).samples[:half], abs=1e-6)


@pytest.mark.parametrize("claimed", [0, 10, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_header_that_lies_about_the_size_does_no_harm(claimed: int) -> None:
    data = bytearray(write(sound(16_000)))
    at = data.index(b"data") + 4
    struct.pack_into("<I", data, at, claimed)
    try:
        assert decode(bytes(data)).duration_s <= 1.0
    except EmptyAudio:
        assert claimed < 16_000


def test_a_damaged_file_prints_no_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    # Without its sound chunk libsndfile seeks to byte -1 of an AIFF.
    with suppress(EmptyAudio, UndecodableAudio):
        decode(write(sound(1_000), container="AIFF").replace(b"SSND", b"XXXX"))
    assert printed == []


def with_rate(rate_hz: int) -> bytes:
    data = bytearray(write(sound(1_000)))
    struct.pack_into("<II", data, 24, rate_hz, (rate_hz * 2) & 0xFFFFFFFF)
    return bytes(data)


@pytest.mark.parametrize("rate_hz", [1, 99, 768_001, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_rate_that_no_recorder_has_is_refused(rate_hz: int) -> None:
    with pytest.raises(UndecodableAudio):
        decode(with_rate(rate_hz))


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises((UndecodableAudio, EmptyAudio)):
        decode(with_rate(0))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_numbers_that_are_no_sound_become_finite(subtype: str, rate_hz: int) -> None:
    samples = sound(5_000, 2, rate_hz).astype(np.float64)
    bad: list[Any] = [
        np.nan,
        np.inf,
        -np.inf,
        (np.inf, -np.inf),
        (np.nan, 0.5),
        3e38,
        -3e38,
        1e300 if subtype == "DOUBLE" else 0,
    ]
    for index, value in enumerate(bad):
        samples[10 * index] = value
    decoded = decode(write(samples, rate_hz, subtype=subtype)).samples
    assert np.isfinite(decoded).all()
    assert np.isfinite(np.square(decoded)).all()
    if rate_hz == SAMPLE_RATE_HZ:
        assert decoded[100:] == pytest.approx(samples[100:].mean(axis=1), abs=1e-6)


# length


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


# mutations


@cache
def valid_files() -> tuple[bytes, ...]:
    samples = sound(8_000, 2)
    return (
        write(samples),
        write(samples, subtype="FLOAT"),
        write(samples, subtype="MS_ADPCM"),
        write(samples, container="FLAC"),
        write(samples, container="MP3"),
        write(samples, container="OGG"),
        write(samples, container="AIFF"),
        encode_with_ffmpeg(samples[:, :1], 16_000, "ipod", "aac"),
        encode_with_ffmpeg(samples[:, :1], 48_000, "webm", "libopus"),
    )


def flip(data: bytes, at: float, value: int) -> bytes:
    position = int(at * len(data))
    return data[:position] + bytes([value]) + data[position + 1 :]


def flip_header(data: bytes, at: float, value: int) -> bytes:
    return flip(data[:128], at, value) + data[128:]


def cut(data: bytes, at: float, value: int) -> bytes:
    return data[: int(at * len(data))]


def drop(data: bytes, at: float, value: int) -> bytes:
    position = int(at * len(data))
    return data[:position] + data[position + value :]


def insert(data: bytes, at: float, value: int) -> bytes:
    position = int(at * len(data))
    return data[:position] + bytes([value]) * value + data[position:]


def repeat(data: bytes, at: float, value: int) -> bytes:
    position = int(at * len(data))
    return data[:position] + data[max(0, position - value * 8) :]


Mutation = tuple[Callable[[bytes, float, int], bytes], float, int]
mutations = st.lists(
    st.tuples(
        st.sampled_from([flip, flip_header, cut, drop, insert, repeat]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=8,
)


@example(7, [(flip, 0.935546875, 0)])  # a codec that FFmpeg has no decoder for
@given(st.integers(0, 8), mutations)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_mutated_file_gives_sound_or_one_of_three_errors(which: int, changes: list[Mutation]) -> None:
    data = valid_files()[which]
    for change, at, value in changes:
        data = change(data, at, value) or b"\x00"
    try:
        waveform = decode(data, max_duration_s=30.0)
    except (EmptyAudio, UndecodableAudio, AudioTooLong):
        return
    assert len(waveform.samples)
    assert waveform.duration_s <= 30.01
    assert np.isfinite(waveform.samples).all()


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_random_bytes_give_one_of_three_errors_or_sound(data: bytes) -> None:
    with suppress(EmptyAudio, UndecodableAudio, AudioTooLong):
        assert len(decode(data).samples)


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
