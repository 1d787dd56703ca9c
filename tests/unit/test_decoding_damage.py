from __future__ import annotations

import io
import socket
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import maeum.audio.ffmpeg
from maeum.audio.decoding import decode, decode_here
from maeum.audio.resampling import SAMPLE_RATE_HZ
from maeum.errors import AudioTooLong, EmptyAudio, UndecodableAudio
from tests.audio_files import Samples, encode_with_ffmpeg, sound, write

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


@pytest.mark.parametrize("name", maeum.audio.ffmpeg._OPTIONS["format_whitelist"].split(","))
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
    assert decode(bytes(data)).duration_s == pytest.approx(10 / 32_000 if claimed == 10 else 1.0, abs=1e-3)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "FLOAT", "ULAW"])
def test_a_big_endian_wav_that_libsndfile_reads_nothing_of_is_refused(subtype: str) -> None:
    data = bytearray(write(sound(16_000), subtype=subtype, endian="BIG"))
    struct.pack_into(">I", data, data.index(b"data") + 4, 0)
    with pytest.raises(UndecodableAudio, match="big-endian"):
        decode(bytes(data))


@pytest.mark.parametrize("container", ["FLAC", "MP3", "OGG"])
def test_of_recordings_that_were_put_together_all_is_heard(container: str) -> None:
    data = write(sound(32_000), container=container)
    assert decode(data + data).duration_s == pytest.approx(2 * decode(data).duration_s, abs=0.2)


def test_of_recordings_of_two_kinds_the_first_is_heard() -> None:
    vorbis = write(sound(32_000), container="OGG", subtype="VORBIS")
    opus = write(sound(32_000), container="OGG", subtype="OPUS")
    assert decode(vorbis + opus).duration_s >= 2.0


def without_header(mp3: bytes) -> bytes:
    (start,) = (found for name in (b"Xing", b"Info") if (found := mp3.find(name)) >= 0)
    return mp3[mp3.index(mp3[:2], start) :]


def mp3_without_header(samples: Samples, bitrate_mode: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, 16_000, format="MP3", bitrate_mode=bitrate_mode, compression_level=0.5)
    return without_header(stream.getvalue())


def test_an_mp3_after_which_another_without_a_header_comes_is_heard_to_its_end() -> None:
    data = write(sound(32_000), container="MP3")
    assert decode(data + without_header(data)).duration_s > 1.8 * decode(data).duration_s


def test_an_mp3_is_heard_past_its_gaps() -> None:
    data = write(sound(320_000), container="MP3")
    whole = decode(data).duration_s
    for start in range(2_000, len(data) - 2_000, len(data) // 16):
        damaged = data[:start] + bytes(500) + data[start + 500 :]
        assert decode(damaged).duration_s == pytest.approx(whole, abs=0.7)


def test_of_an_mp3_cut_off_after_a_gap_what_was_there_is_heard() -> None:
    data = write(sound(320_000), container="MP3")
    half = len(data) // 2
    for start in range(2_000, half - 2_000, len(data) // 8):
        damaged = data[:start] + bytes(500) + data[start + 500 : half]
        assert decode(damaged).duration_s == pytest.approx(decode(data[:half]).duration_s, abs=0.7)


def test_an_mp3_without_a_header_is_heard_to_its_end_whatever_its_first_frames_promise() -> None:
    # It grows quieter, and its frames smaller: at the size of the first ones there would be few.
    fading = sound(320_000) * np.geomspace(1, 1e-4, 320_000, dtype=np.float32)[:, None]
    assert decode(mp3_without_header(fading, "VARIABLE")).duration_s == pytest.approx(20.0, abs=0.2)


def test_what_follows_an_mp3_and_is_no_sound_changes_nothing() -> None:
    data = mp3_without_header(sound(160_000), "CONSTANT")
    rest = b"APETAGEX" + np.random.default_rng(1).bytes(50_000)  # such as a picture
    assert decode_here(data + rest, 600.0) is None
    assert np.array_equal(decode(data + rest).samples, decode(data).samples)  # libsndfile's


def test_the_end_of_a_damaged_ogg_file_is_heard_once() -> None:
    data = write(sound(160_000), container="OGG")
    middle = len(data) // 2
    waveform = decode(data[:middle] + bytes(500) + data[middle + 500 :])
    assert 8.0 < waveform.duration_s < 9.5  # a page is lost
    assert waveform.samples[-16_000:] == pytest.approx(decode(data).samples[-16_000:], abs=1e-6)


def test_pages_that_are_none_are_passed_over_at_once() -> None:
    with pytest.raises((EmptyAudio, UndecodableAudio)):
        decode(b"OggS" * 5_000_000)


def test_a_damaged_packet_of_a_phones_recording_is_skipped() -> None:
    data = encode_with_ffmpeg(sound(48_000), 16_000, "mp4", "aac")
    start = data.index(b"mdat") + 4
    size = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    whole = decode(data).duration_s
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        damaged[start + int(rng.integers(size))] ^= int(rng.integers(1, 256))
        assert decode(bytes(damaged)).duration_s > whole - 0.5


def test_formats_that_nobody_records_are_not_read(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(write(sound(16_000), container="SDS"))
    data[5_000:5_100] = bytes(100)  # of whose damage libsndfile tells on stdout
    with pytest.raises(UndecodableAudio):
        decode(bytes(data))
    assert capfd.readouterr().out == ""


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
