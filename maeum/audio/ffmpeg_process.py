"""FFmpeg in processes of its own: a hostile file may crash it, hold it for ever or ask for all the memory there is.

They start when they are needed, are used again, and end with this one. One that dies, or takes too long, takes one
answer with it. They know no keys, and what they held when they died is written nowhere.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, BinaryIO

import numpy as np
import psutil
from numpy.typing import NDArray

from maeum.audio.resampling import SAMPLE_RATE_HZ, collect
from maeum.errors import AudioTooLong, EmptyAudio, MaeumError, UndecodableAudio
from maeum.process.cores import available_cores
from maeum.settings import PROJECT_DIR, environment_without_secrets

_LEAST_TIMEOUT_S = 60
"""A ten-minute recording takes one or two."""
_TIMES_REAL_TIME = 10
"""At least as fast a longer one is decoded."""
_GRACE_S = 5
_MEMORY_BYTES = 512 * 2**20
"""What decoding takes at most beside the file and its sound."""
_READY = b"+"
# Bytes of the file that follows, longest recording in seconds, seconds after which nobody waits any more.
_REQUEST = struct.Struct("<QdI")
_ANSWER = struct.Struct(
    "<BQ"
)  # 0 for samples or 1 + the index of an error, bytes of the samples or message that follow
_ERRORS: tuple[type[MaeumError], ...] = (EmptyAudio, UndecodableAudio, AudioTooLong)

_log = logging.getLogger(__name__)


def decode_apart(data: bytes, max_duration_s: float) -> NDArray[np.float32]:
    """Decode a file with FFmpeg in another process; safe to call from several threads.

    Args:
        data: the file.
        max_duration_s: longest accepted recording in seconds.

    Returns:
        float32, shape (n_samples,), mono at 16 kHz.

    Raises:
        UndecodableAudio: not audio, or it crashed the decoder, or took more time or memory than a recording may.
        AudioTooLong: as `maeum.audio.resampling.collect`.
    """
    return _pool.decode(data, max_duration_s)


def threads() -> ThreadPoolExecutor:
    """Threads to call `decode_apart` on: one that waits for a process must not keep others from their work."""
    return _pool.threads


class _Died(Exception):
    """The process ended before it had answered."""


class _TookTooLong(_Died):
    """It was ended."""


class _Process:
    """One process with FFmpeg, for one file at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "maeum.audio.ffmpeg_process"],
            cwd=PROJECT_DIR,
            env=environment_without_secrets(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        if self._answers.read(len(_READY)) != _READY:
            raise RuntimeError("the process that decodes does not start")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def decode(self, data: bytes, max_duration_s: float, timeout_s: int) -> NDArray[np.float32]:
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(timeout_s, end)
        timer.daemon = True
        timer.start()
        try:
            # Its own clock ends it a little later, should this process not be there any more.
            self._requests.write(_REQUEST.pack(len(data), max_duration_s, timeout_s + _GRACE_S))
            self._requests.write(data)
            self._requests.flush()
            kind, size = _ANSWER.unpack(_read(self._answers, _ANSWER.size))
            answer = _read(self._answers, size)
        except (BrokenPipeError, _Died) as error:
            raise (_TookTooLong if late.is_set() else _Died) from error
        finally:
            timer.cancel()
        if kind:
            raise _ERRORS[kind - 1](answer.decode())
        return np.frombuffer(answer, np.float32)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with suppress(BrokenPipeError):
                pipe.close()


class _Pool:
    """As many processes as there are cores, at most."""

    def __init__(self) -> None:
        self._idle: list[_Process] = []
        self._places = threading.Semaphore(available_cores())
        self.threads = ThreadPoolExecutor(available_cores(), thread_name_prefix="maeum-ffmpeg")

    def decode(self, data: bytes, max_duration_s: float) -> NDArray[np.float32]:
        timeout_s = max(_LEAST_TIMEOUT_S, math.ceil(max_duration_s / _TIMES_REAL_TIME))
        with self._places:
            process = self._take()
            try:
                samples = process.decode(data, max_duration_s, timeout_s)
            except MaeumError:
                self._idle.append(process)
                raise
            except _Died as error:
                process.end()
                late = isinstance(error, _TookTooLong)
                _log.warning("event=decoder_died late=%s bytes=%d", late, len(data))
                if late:
                    raise UndecodableAudio(f"the file could not be decoded within {timeout_s} s") from error
                raise UndecodableAudio("the file is not audio that can be decoded") from error
            except BaseException:  # it may still be answering
                process.end()
                raise
            self._idle.append(process)
            return samples

    def _take(self) -> _Process:
        while True:
            try:
                process = self._idle.pop()
            except IndexError:
                return _Process()
            if process.alive:
                return process
            process.end()

    def end(self) -> None:
        while self._idle:
            self._idle.pop().end()


_pool = _Pool()
_inherited: list[_Pool] = []


def _end_pool() -> None:
    _pool.end()


def _leave_pool() -> None:
    """A forked child must not talk to the processes of its parent; they stay referenced, or they would be ended."""
    global _pool
    _inherited.append(_pool)
    _pool = _Pool()


atexit.register(_end_pool)
os.register_at_fork(after_in_child=_leave_pool)


def _read(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise _Died
    return data


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Decode what comes, until nothing comes any more."""
    from maeum.audio.ffmpeg import ffmpeg_blocks

    used = psutil.Process().memory_info().vms
    answers.write(_READY)
    answers.flush()
    while header := requests.read(_REQUEST.size):
        size, max_duration_s, timeout_s = _REQUEST.unpack(header)
        signal.alarm(timeout_s)
        sound_bytes = int(max_duration_s * SAMPLE_RATE_HZ) * 4
        _limit_memory(used + _MEMORY_BYTES + 2 * size + 3 * sound_bytes)
        data = _read(requests, size)
        kind = 0
        try:
            answer = collect(ffmpeg_blocks(data), max_duration_s).tobytes()
        except MaeumError as error:
            kind, answer = 1 + _ERRORS.index(type(error)), error.message.encode()
        except MemoryError:
            kind = 1 + _ERRORS.index(UndecodableAudio)
            answer = b"decoding the file takes more memory than a recording may"
        answers.write(_ANSWER.pack(kind, len(answer)))
        answers.write(answer)
        answers.flush()
        del data, answer  # nothing is kept until the next file comes
        signal.alarm(0)


def _limit_memory(n_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (n_bytes if hard == resource.RLIM_INFINITY else min(n_bytes, hard), hard))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What anything prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with suppress(_Died, BrokenPipeError):  # the other side has gone
        _serve(sys.stdin.buffer, answers)
