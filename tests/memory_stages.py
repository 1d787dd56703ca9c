"""The pipeline over stages of memory, which hold no model."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import soundfile
from numpy.typing import NDArray

from maeum.pipeline import Analysis, Pipeline
from maeum.stages import Failure, Probabilities, Segment, SpeechItem, Stages, Transcript
from maeum.summary import Summary

T = TypeVar("T")
KIND = Summary("ok", "좋은 하루를 보내셨군요.", None)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; a deadlock fails instead of hanging."""

    async def bounded() -> T:
        async with asyncio.timeout(120):
            return await work

    return asyncio.run(bounded())


def wav(samples: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, 16_000, format="WAV")
    return stream.getvalue()


SILENCE = wav(np.zeros(32_000, np.float32))


def by_label(analysis: Analysis) -> dict[str, float]:
    return dict(zip(analysis.labels, analysis.probabilities, strict=True))


class Hear:
    """A speech stage that heard a given text."""

    def __init__(self, text: str = "오늘은 좋았다. 고마웠다.", **evidence: Any) -> None:
        self.text = text
        self.evidence = evidence
        self.items: list[SpeechItem] = []

    async def run(self, items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
        self.items += items
        return [Transcript(self.text, (Segment(0, 1, self.text),), **self.evidence) for _ in items]


class Read:
    """A text stage that gives every sentence the same label."""

    def __init__(self, label: int = 0) -> None:
        self.label = label
        self.sentences: list[str] = []

    async def run(self, items: Sequence[str]) -> list[Probabilities | Failure]:
        self.sentences += items
        return [tuple(0.5 if index == self.label else 0.1 for index in range(6)) for _ in items]


class Listen:
    """A voice stage that is sure of one label."""

    def __init__(self, label: int = 3) -> None:
        self.label = label
        self.shapes: list[tuple[int, ...]] = []

    async def run(self, items: NDArray[np.float32]) -> list[Probabilities | Failure]:
        self.shapes.append(items.shape)
        return [tuple(float(index == self.label) for index in range(6)) for _ in items]


class Tell:
    """A summary that is always the same."""

    model = "teller"

    def __init__(self) -> None:
        self.transcripts: list[str] = []

    async def summarize(self, transcript: str) -> Summary:
        self.transcripts.append(transcript)
        return KIND


def flow(pipeline: Pipeline, speech: Any = None, text: Any = None, voice: Any = None, summary: Any = None) -> Pipeline:
    """The pipeline with stages of memory instead of models."""
    stages = Stages(speech or Hear(), text or Read(), voice or Listen())
    return replace(pipeline, stages=stages, summarizer=summary or Tell())
