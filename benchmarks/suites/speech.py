"""Eight recordings in one batch against one after the other."""

from __future__ import annotations

import io
import statistics
import time

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from benchmarks.apart import OriginalApart, original_apart
from benchmarks.measure import SETTLE_S, Figure, alternate, ratio, seconds
from benchmarks.suite import Run, Suite
from maeum.assembly import load_speech
from maeum.audio.decoding import Waveform
from maeum.audio.resampling import SAMPLE_RATE_HZ
from maeum.engines.speech import SpeechEngine
from maeum.process.memory import keep_freed_memory
from maeum.stages import SpeechItem, Transcript

CLIPS = 8
SIZES = ("tiny", "base", "small")


def run(run: Run) -> list[Figure]:
    """Measure the profile's speech models."""
    keep_freed_memory()  # as the speech runner does
    if run.profile == "embedded":
        return _measure(run, "embedded", "tiny")
    return [figure for size in SIZES for figure in _measure(run, f"whisper-{size} shape", size)]


def _measure(run: Run, name: str, size: str) -> list[Figure]:
    settings = run.settings(speech_size=size)
    with original_apart(settings, run.device) as original:
        return _compare(run, name, load_speech(settings), original)


def _compare(run: Run, name: str, engine: SpeechEngine, original: OriginalApart) -> list[Figure]:
    language = min(engine.languages)
    items: list[SpeechItem] = []
    same: list[bool] = []
    same_without: list[bool] = []
    texts: list[str] = []

    def together(number: int) -> float:
        items[:] = [SpeechItem(_pcm16(data), language) for data in run.clips.take(CLIPS)]
        texts.clear()

        def work() -> None:
            texts.extend(r.text if isinstance(r, Transcript) else r.code for r in engine.transcribe(items))

        time.sleep(SETTLE_S)
        return seconds(work)

    def one_by_one(number: int) -> float:
        recordings = [_samples(item) for item in items]
        time.sleep(SETTLE_S)
        duration_s, heard = original.transcribe(recordings, language, word_times=True)
        same.extend(one == other for one, other in zip(texts, heard, strict=True))
        _, plain = original.transcribe(recordings, language, word_times=False)
        same_without.extend(one == other for one, other in zip(texts, plain, strict=True))
        return duration_s

    a, b = alternate([together, one_by_one], run.rounds, report=run.say)
    target = 4.0 if run.device == "cuda" else 2.0
    return [
        ratio(f"{name}, {CLIPS} clips of 10 s: times as fast", a, b, "s", target=target, inverse=True),
        Figure(f"{name}: same text", statistics.mean(same), "", target=1.0),
        Figure(f"{name}: same text, where B computes no word times", statistics.mean(same_without), "", target=1.0),
    ]


def _pcm16(data: bytes) -> bytes:
    samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32")
    return Waveform(soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ)).to_pcm16()


def _samples(item: SpeechItem) -> NDArray[np.float32]:
    return np.frombuffer(item.pcm16, "<i2").astype(np.float32) / np.float32(32768)


SUITE = Suite(
    "speech",
    "8 clips from 8 requests in one batch",
    "one after the other, word times computed, in a process of its own",
    run,
    rounds=4,
    profiles=("embedded", "production-shapes"),
)
