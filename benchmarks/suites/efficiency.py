"""What a clip costs: the server's CPU-seconds at saturation against those of the engines alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.inputs import StageInputs
from benchmarks.measure import Figure, alternate, ratio
from benchmarks.server import maeum_server, send_measured
from benchmarks.suite import Run, Suite
from maeum.assembly import load_speech, load_text, load_voice
from maeum.process.cores import one_blas_thread
from maeum.process.memory import keep_freed_memory
from maeum.sentences import split_sentences
from maeum.stages import Transcript

CLIENTS = 64
CLIPS = {"embedded": 128, "production-shapes": 64}
WARM_UP_CLIPS = 16


def run(run: Run) -> list[Figure]:
    """Send clips to the server, then call the engines with full batches of the same clips."""
    settings = run.settings()
    keep_freed_memory()  # as the speech runner does
    one_blas_thread()
    speech, text, voice = load_speech(settings), load_text(settings), load_voice(settings)
    parts: dict[str, list[float]] = {}
    failures = 0
    with maeum_server(run) as server:
        clips: list[bytes] = []

        def served(number: int) -> float:
            nonlocal failures
            clips[:] = run.clips.take(run.scaled(CLIPS[run.profile]) if number >= 0 else WARM_UP_CLIPS)
            sent = send_measured(server, clips, CLIENTS)
            failures += sent.load.failures
            return sent.cpu_s_per_clip

        def alone(number: int) -> float:
            inputs = StageInputs()
            sentences: list[str] = []

            def hear() -> None:
                for start in range(0, len(clips), settings.speech_batch):
                    results = speech.transcribe(inputs.speech[start : start + settings.speech_batch])
                    texts = (result.text for result in results if isinstance(result, Transcript))
                    sentences.extend(sentence for text in texts for sentence in split_sentences(text))

            def read() -> None:
                for start in range(0, len(sentences), settings.text_batch):
                    text.classify(sentences[start : start + settings.text_batch])

            def feel() -> None:
                threads = torch.get_num_threads()
                torch.set_num_threads(1)  # as the voice runner does
                for start in range(0, len(inputs.voice), settings.voice_batch):
                    voice.classify(np.stack(inputs.voice[start : start + settings.voice_batch]))
                torch.set_num_threads(threads)

            cost = {
                "decoding and features": _cpu_seconds(lambda: inputs.collect(settings, clips)),
                "speech engine": _cpu_seconds(hear),
                "text engine": _cpu_seconds(read),
                "voice engine": _cpu_seconds(feel),
            }
            if number >= 0:
                for name, seconds in cost.items():
                    parts.setdefault(name, []).append(seconds / len(clips))
            return (sum(cost.values()) - cost["decoding and features"]) / len(clips)

        a, b = alternate([served, alone], run.rounds, report=run.say)
    whole = [engines + rest for engines, rest in zip(b, parts["decoding and features"], strict=True)]
    return [
        ratio("CPU-seconds a clip of 10 s", a, b, "s", target=1.15, better="lower"),
        ratio("the same, decoding and features counted in B", a, whole, "s", better="lower"),
        *(Figure(f"of B: {name}", statistics.median(seconds), "s") for name, seconds in parts.items()),
        Figure("requests without status 200", failures, "", target=0, better="lower"),
    ]


def _cpu_seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


SUITE = Suite(
    "efficiency",
    "the server, all processes, 64 clients",
    "the engines alone, full batches",
    run,
    rounds=2,
    profiles=("embedded", "production-shapes"),
)
