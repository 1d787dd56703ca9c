from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import av
import numpy as np
import psutil
import pytest

from maeum.audio import ffmpeg_process
from maeum.audio.decoders import decode_upload
from maeum.audio.decoding import Waveform
from maeum.audio.ffmpeg_process import decode_apart
from maeum.audio.resampling import SAMPLE_RATE_HZ
from maeum.errors import AudioTooLong, UndecodableAudio
from maeum.room import Room, SoundRoom
from maeum.settings import PROJECT_DIR
from tests.audio_files import encode_with_ffmpeg, sound, write


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[ffmpeg_process._Pool]:
    pool = ffmpeg_process._Pool()
    monkeypatch.setattr(ffmpeg_process, "_pool", pool)
    yield pool
    pool.end()


def m4a(seconds: float = 1.0) -> bytes:
    return encode_with_ffmpeg(sound(round(seconds * SAMPLE_RATE_HZ)), SAMPLE_RATE_HZ, "ipod", "aac")


def packed_flac(n_frames: int) -> bytes:
    """Silence of eight channels whose FLAC frames, 32 bytes each, all are in one packet."""
    encoder: Any = av.CodecContext.create("flac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "7.1", "s16"
    encoder.open()
    silence = av.AudioFrame.from_ndarray(np.zeros((1, encoder.frame_size * 8), np.int16), format="s16", layout="7.1")
    silence.sample_rate = 48_000
    frames = b"".join(bytes(packet) for _ in range(n_frames) for packet in encoder.encode(silence))
    stream = io.BytesIO()
    with av.open(stream, mode="w", format="matroska") as output:
        track: Any = output.add_stream("flac", rate=48_000, layout="7.1")
        packet = av.Packet(frames)
        packet.stream, packet.pts, packet.dts, packet.time_base = track, 0, 0, Fraction(1, 1_000)
        output.mux(packet)
    return stream.getvalue()


def test_the_memory_that_a_file_takes_is_bounded(pool: ffmpeg_process._Pool) -> None:
    # FFmpeg decodes all frames of a packet before any is handed out: 3 GB here, and 200 GB for a file of 25 MB.
    data = packed_flac(40_000)
    assert len(data) < 2_000_000

    with pytest.raises(UndecodableAudio):
        decode_apart(data, 600.0)

    (process,) = pool._idle  # it lives, and hears the next file
    assert psutil.Process(process._process.pid).memory_info().vms < 2e9
    assert len(decode_apart(m4a(), 600.0)) == pytest.approx(SAMPLE_RATE_HZ, rel=0.1)
    assert pool._idle == [process]


def test_a_few_frames_in_a_packet_are_no_harm(pool: ffmpeg_process._Pool) -> None:
    assert len(decode_apart(packed_flac(10), 600.0)) == 10 * 4_608 // 3


def hold_up(pool: ffmpeg_process._Pool) -> None:
    """Stop the processes that wait, as if FFmpeg went round in circles."""
    for process in pool._idle:
        process._process.send_signal(signal.SIGSTOP)


def test_a_file_that_takes_too_long_is_refused(
    pool: ffmpeg_process._Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decode_apart(m4a(), 600.0)
    (first,) = pool._idle
    hold_up(pool)
    monkeypatch.setattr(ffmpeg_process, "_LEAST_TIMEOUT_S", 1)

    with pytest.raises(UndecodableAudio, match="within 1 s"):
        decode_apart(m4a(), 1.0)

    assert "event=decoder_died late=True" in caplog.text
    assert not first.alive
    monkeypatch.undo()
    assert len(decode_apart(m4a(), 600.0)) > 0


def test_one_that_nobody_waits_for_any_more_ends_itself(pool: ffmpeg_process._Pool) -> None:
    process = ffmpeg_process._Process()
    try:
        # The announced file never comes, and the pipe stays open.
        process._requests.write(ffmpeg_process._REQUEST.pack(1_000, 600.0, 1))
        process._requests.flush()
        assert process._process.wait(timeout=30) == -signal.SIGALRM
    finally:
        process.end()


def test_files_that_hold_ffmpeg_up_hold_up_none_that_need_no_ffmpeg(
    pool: ffmpeg_process._Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = m4a()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: decode_apart(data, 600.0), range(16)))
    hold_up(pool)
    monkeypatch.setattr(ffmpeg_process, "_LEAST_TIMEOUT_S", 2)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            # More than there are threads for anything else.
            room = SoundRoom()
            held_up = [group.create_task(decode_upload(data, 10.0, room)) for _ in range(40)]
            await asyncio.sleep(0.1)
            for _ in range(20):
                assert (await decode_upload(write(sound(1_600)), 10.0, room)).duration_s == 0.1
            assert not any(task.done() for task in held_up)
            for task in held_up:
                task.cancel()

    asyncio.run(main())


def test_a_decoder_that_nobody_waits_for_any_more_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else clients that hang up could have any number at work."""
    done, lock, under_way, most = threading.Event(), threading.Lock(), 0, 0

    def decode_slowly(data: bytes, max_duration_s: float) -> Waveform:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        done.wait(30)
        with lock:
            under_way -= 1
        return Waveform(np.zeros(1_600, np.float32))

    monkeypatch.setattr("maeum.audio.decoders.decode_here", decode_slowly)

    async def main() -> None:
        room = SoundRoom()
        room.decoders = Room(2)
        for _ in range(5):
            tasks = [asyncio.create_task(decode_upload(b"", 10.0, room)) for _ in range(2)]
            await asyncio.sleep(0.05)
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)  # at once
        done.set()
        await room.decoders.take(2)  # both are free again

    asyncio.run(main())
    assert (most, under_way) == (2, 0)


def test_it_is_told_no_secrets(pool: ffmpeg_process._Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-private")
    monkeypatch.setenv("HF_TOKEN", "hf-private")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://user:private@localhost")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:private@localhost")
    decode_apart(m4a(), 600.0)
    (process,) = pool._idle
    told = psutil.Process(process._process.pid).environ()
    assert "private" not in " ".join(told.values())
    assert "PATH" in told


def test_a_process_that_died_meanwhile_is_replaced(pool: ffmpeg_process._Pool) -> None:
    decode_apart(m4a(), 600.0)
    (first,) = pool._idle
    first._process.kill()
    first._process.wait()

    assert len(decode_apart(m4a(), 600.0)) > 0
    assert pool._idle != [first]


def test_an_error_comes_back_as_itself_and_the_process_stays(pool: ffmpeg_process._Pool) -> None:
    with pytest.raises(AudioTooLong, match=r"longer than 0\.5 s"):
        decode_apart(m4a(2.0), 0.5)
    with pytest.raises(UndecodableAudio, match="not audio"):
        decode_apart(b"no audio at all", 600.0)
    assert len(pool._idle) == 1


def test_threads_get_their_own_answers(pool: ffmpeg_process._Pool) -> None:
    files = [m4a(seconds) for seconds in (0.5, 1.0, 1.5, 2.0)] * 4
    expected = [len(decode_apart(data, 600.0)) for data in files[:4]] * 4

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda data: len(decode_apart(data, 600.0)), files))

    assert found == expected
    assert 1 <= len(pool._idle) <= (os.cpu_count() or 1)


_SCRIPT = """
import os, sys, time
from maeum.audio import ffmpeg_process
data = open(sys.argv[1], "rb").read()
n = len(ffmpeg_process.decode_apart(data, 600.0))
child = os.fork()
again = len(ffmpeg_process.decode_apart(data, 600.0))
if child == 0:
    ffmpeg_process._end_pool()
    os._exit(0 if again == n else 1)
status = os.waitpid(child, 0)[1]
print(n == again, status, ffmpeg_process._pool._idle[0]._process.pid, flush=True)
time.sleep(60)
"""


def test_a_fork_has_its_own_processes_and_none_outlives_its_parent(tmp_path: Any) -> None:
    (tmp_path / "a.m4a").write_bytes(m4a())
    parent = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(tmp_path / "a.m4a")], cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    try:
        same, status, pid = parent.stdout.readline().split()
        assert (same, status) == ("True", "0")
        assert psutil.pid_exists(int(pid))
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(int(pid)) and psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it outlived its parent"
        time.sleep(0.05)
