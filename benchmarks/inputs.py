"""What the pipeline hands to its models, without the models: decoding and features alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.assembly import build_pipeline
from maeum.batching import batching_stages
from maeum.labels import read_voice_labels
from maeum.models import resolve
from maeum.pipeline import Analysis, Pipeline
from maeum.settings import Settings
from maeum.stages import Failure, Probabilities, SpeechItem, Transcript

VoiceCall = Callable[[NDArray[np.float32]], list[Probabilities | Failure]]


async def _hear_nothing(items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
    return [Transcript("") for _ in items]


async def _read_nothing(sentences: Sequence[str]) -> list[Probabilities | Failure]:
    raise AssertionError("a transcript without text has no sentence")


def voice_pipeline(settings: Settings, voice: VoiceCall) -> Pipeline:
    """The pipeline with a speech model that hears nothing, so that only the voice's way is left.

    Args:
        settings: name the models, whose labels and baselines are read.
        voice: computes a batch; called on a thread.
    """

    async def call(items: Any) -> list[Probabilities | Failure]:
        return await asyncio.to_thread(voice, items)

    return build_pipeline(settings, batching_stages(_hear_nothing, _read_nothing, call, settings))


def analyze_together(pipeline: Pipeline, files: Sequence[bytes]) -> list[Analysis]:
    """Analyse all files at once, as a server does that many requests reach together."""

    async def together() -> list[Analysis]:
        options = pipeline.options(lang=min(pipeline.languages))
        return await asyncio.gather(*(pipeline.analyze(data, options) for data in files))

    return asyncio.run(together())


@dataclass(slots=True)
class StageInputs:
    """Collects what reaches the models.

    Attributes:
        speech: one item a recording.
        voice: float32 windows of shape (100, 13), at least one a recording.
    """

    speech: list[SpeechItem] = field(default_factory=list)
    voice: list[NDArray[np.float32]] = field(default_factory=list)

    def collect(self, settings: Settings, files: Sequence[bytes]) -> None:
        """Decode files and compute their features; recordings are in no particular order afterwards."""
        n_labels = len(read_voice_labels(resolve("voice", settings).path))

        async def hear(items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
            self.speech.extend(items)
            return await _hear_nothing(items)

        async def feel(items: NDArray[np.float32]) -> list[Probabilities | Failure]:
            self.voice.extend(items)
            return [(1 / n_labels,) * n_labels for _ in items]

        analyze_together(build_pipeline(settings, batching_stages(hear, _read_nothing, feel, settings)), files)
