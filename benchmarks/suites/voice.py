"""From a file's bytes to the voice's probabilities: a batch against one file at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path

from threadpoolctl import ThreadpoolController

from benchmarks.inputs import analyze_together, voice_pipeline
from benchmarks.measure import Figure, alternate, ratio, seconds
from benchmarks.suite import Run, Suite
from maeum.assembly import load_voice
from maeum.pipeline import Pipeline

CLIPS = 32
DURATIONS_S = (10, 60)


def run(run: Run) -> list[Figure]:
    """Measure 32 stereo clips of each length."""
    settings = run.settings()
    pipeline = voice_pipeline(settings, load_voice(settings).classify)
    return [figure for duration_s in DURATIONS_S for figure in _measure(run, pipeline, duration_s)]


def _measure(run: Run, pipeline: Pipeline, duration_s: int) -> list[Figure]:
    original = run.original()
    files: list[bytes] = []
    ours: list[tuple[float, ...]] = []
    theirs: list[tuple[float, ...]] = []

    def together(number: int) -> float:
        files[:] = run.clips.take_stereo(CLIPS, duration_s)

        def work() -> None:
            ours.extend(tuple(analysis.voice_emotion.values()) for analysis in analyze_together(pipeline, files))

        with ThreadpoolController().select(internal_api="openblas").limit(limits=1):  # as the service does
            return seconds(work)

    def one_by_one(number: int) -> float:
        def work() -> None:
            for data in files:
                with tempfile.TemporaryDirectory() as folder:
                    theirs.append(tuple(original.hear(original.rewrite(data, Path(folder)))))

        return seconds(work)

    a, b = alternate([together, one_by_one], run.rounds, report=run.say)
    off = [max(abs(x - y) for x, y in zip(one, other, strict=True)) for one, other in zip(ours, theirs, strict=True)]
    name = f"{CLIPS} clips of {duration_s} s"
    return [
        ratio(f"{name}: times as fast", a, b, "s", target=5.0, inverse=True),
        Figure(f"{name}: largest difference", max(off), "", target=1e-3, better="lower"),
    ]


SUITE = Suite(
    "voice",
    "decode, MFCC and network, 44.1 kHz stereo",
    "librosa through a temporary file, batch of one",
    run,
    rounds=3,
)
